"""Pictures of alarms as PNG files: when runs alarm, what signals do, and what a threshold costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.alarms.result import ArmAlarms, Roc, RunAlarm, StudyAlarms
from orchestrator.report.curve_pictures import INKS, MARKERS
from orchestrator.report.plots import FAINT, INK, new_figure, save
from orchestrator.report.rows import level

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS = 9
MOST_LINES = len(INKS)
LANES = 7
"""Heights at which dots of one row are drawn, so that equal steps do not cover each other."""
NEVER = "never"
LOGARITHMIC = 50.0
"""Largest value of a panel over the least, both positive, from which its axis is logarithmic."""


def plot_timeline(alarms: StudyAlarms, path: Path) -> Path | None:
    """A row an arm and signal, a dot a run: where it alarms, hollow before its onset; those that
    never do stand at the right. None, and no file, without any run."""
    arms = [arm.arm for arm in alarms.arms]
    rows = [
        (arm, one.signal)
        for arm in (*arms, alarms.unseen)
        for one in alarms.thresholds
        if one.threshold is not None
        and any(run.arm == arm and run.signal == one.signal for run in alarms.runs)
    ]
    if not rows or not alarms.steps:
        return None
    last, span = alarms.steps[-1], max(1, alarms.steps[-1] - alarms.steps[0])
    never = last + 0.08 * span
    synthetic = {arm.arm for arm in alarms.arms if arm.synthetic}
    figure = new_figure(9.0, 1.2 + 0.42 * len(rows))
    axis = figure.subplots()
    names = []
    for y, (arm, signal) in enumerate(rows):
        runs = [run for run in alarms.runs if run.arm == arm and run.signal == signal]
        _dots(axis, y, runs, _colour(alarms, signal), never)
        mark = " (healthy, unseen)" if arm == alarms.unseen else ""
        names.append(f"{arm}{' (synthetic signal)' if arm in synthetic else mark}: {signal}")
    axis.axvline(last + 0.04 * span, color=FAINT, linewidth=0.8, linestyle="dotted")
    axis.set_yticks(range(len(rows)), names, fontsize=8)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlim(alarms.steps[0] - 0.02 * span, last + 0.22 * span)
    _whole_steps(axis, last)
    axis.text(never, -0.62, NEVER, ha="center", va="bottom", fontsize=8, color=FAINT)
    axis.set_xlabel(
        "step of the first alarm; | onset of the fault, hollow: a false alarm before it",
        fontsize=9, color=INK,
    )  # fmt: skip
    _plain(axis)
    axis.tick_params(axis="y", length=0)
    return save(figure, path)


def _dots(axis: Axes, y: int, runs: Sequence[RunAlarm], colour: str, never: float) -> None:
    taken: dict[float, int] = {}

    def height(x: float) -> float:
        taken[x] = taken.get(x, -1) + 1
        lane = taken[x] % LANES
        return y + 0.08 * ((lane + 1) // 2) * (-1 if lane % 2 else 1)

    def drawn(steps: Sequence[float], **style: Any) -> None:
        heights = [height(x) for x in steps]
        axis.plot(steps, heights, "o", color=colour, markersize=4, **style)

    onsets = sorted({run.onset for run in runs if run.onset is not None})
    axis.vlines(onsets, y - 0.34, y + 0.34, color=FAINT, linewidth=1.0, zorder=1)
    found = [float(run.alarm_step) for run in runs if run.alarm_step is not None]
    early = [float(run.before_onset) for run in runs if run.before_onset is not None]
    drawn(found, alpha=0.75, markeredgewidth=0)
    drawn(early, markerfacecolor="white")
    silent = len(runs) - len(found)
    drawn([never] * silent, alpha=0.25, markeredgewidth=0)
    if silent:
        axis.annotate(
            f"{silent} of {len(runs)}", (never, y), xytext=(10, 0), textcoords="offset points",
            va="center", fontsize=7.5, color=FAINT,
        )  # fmt: skip


def plot_trajectories(alarms: StudyAlarms, path: Path) -> Path | None:
    """A panel a signal: the mean of each arm, over the band outside which a step alarms."""
    shown = [
        one for one in alarms.thresholds if any(t.signal == one.signal for t in alarms.trajectories)
    ][:MOST_PANELS]
    if not shown or not alarms.steps:
        return None
    synthetic = {arm.arm for arm in alarms.arms if arm.synthetic}
    figure = new_figure(8.5, 0.5 + 3.0 * len(shown))
    axes = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axis, one in zip(axes, shown, strict=True):
        lines = [t for t in alarms.trajectories if t.signal == one.signal and any(t.runs)]
        band = [
            (step, low, mean, high)
            for step, low, mean, high in zip(
                alarms.steps, _filled(one.low, len(alarms.steps)),
                _filled(one.mean, len(alarms.steps)), _filled(one.high, len(alarms.steps)),
                strict=True,
            )
            if mean is not None
        ]  # fmt: skip
        found = [v for t in lines for v in t.mean if v is not None]
        found += [mean for _, _, mean, _ in band]
        if not found:
            continue
        least, most = min(found), max(found)
        room = 0.08 * (most - least) or 0.5
        x = [float(step) for step, *_ in band]
        axis.fill_between(
            x,
            [least - 9 * room if low is None else low for _, low, _, _ in band],
            [most + 9 * room if high is None else high for *_, high in band],
            color=FAINT, alpha=0.22, linewidth=0, label="no alarm",
        )  # fmt: skip
        axis.plot(x, [mean for _, _, mean, _ in band], color=FAINT, linewidth=1.2, label="healthy")
        for i, line in enumerate(drawn_trajectories(alarms, lines)):
            style = "dashed" if line.arm in synthetic else "solid"
            values = [math.nan if v is None else v for v in line.mean]
            axis.plot(
                alarms.steps, values, color=INKS[i % MOST_LINES], linewidth=1.4, linestyle=style,
                label=line.arm + (" (synthetic signal)" if line.arm in synthetic else ""),
            )  # fmt: skip
        if least > 0 and most / least >= LOGARITHMIC:
            axis.set_yscale("log")
        else:
            axis.set_ylim(least - room, most + room)
        axis.set_ylabel(f"{one.signal} ({one.column})", fontsize=9, color=INK)
        axis.set_xlim(alarms.steps[0] - 0.5, alarms.steps[-1] + 0.5)
        _whole_steps(axis, alarms.steps[-1])
        _plain(axis)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7.5, frameon=False, ncols=3, loc="outside upper center")
    axes[-1].set_xlabel("step", fontsize=9, color=INK)
    return save(figure, path)


def drawn_trajectories(alarms: StudyAlarms, lines: Sequence[Any]) -> list[Any]:
    """Trajectories of the arms that are asked about, in their order."""
    by_arm = {line.arm: line for line in lines}
    return [by_arm[arm.arm] for arm in alarms.arms if arm.arm in by_arm]


def plot_roc(alarms: StudyAlarms, path: Path) -> Path | None:
    """A panel an arm: the share of its runs that alarm against that of unseen healthy runs."""
    arms = [arm for arm in alarms.arms if any(drawable(one, arm) for one in alarms.roc)]
    if not arms:
        return None
    grid = _Grid(min(len(arms), MOST_PANELS))
    for axis, arm in zip(grid.panels, arms, strict=False):
        lines = [one for one in alarms.roc if drawable(one, arm)]
        for place, one in enumerate(lines):
            area = one.area
            told = f"{one.signal}: {area.value:.3f}" if area.value is not None else one.signal
            if area.low is not None and area.high is not None:
                told += f" [{area.low:.3f}, {area.high:.3f}]"
            axis.step(
                one.false_alarms, one.detected, where="post",
                linewidth=1.4 + 1.6 * (len(lines) - 1 - place),  # lines that coincide are all seen
                color=_colour(alarms, one.signal), label=told,
            )  # fmt: skip
        axis.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle="dotted")
        axis.axvline(alarms.rate, color=FAINT, linewidth=0.8, linestyle="dashed")
        axis.set_xlim(-0.02, 1.02)
        axis.set_ylim(-0.02, 1.04)
        _titled(axis, arm)
        axis.set_xlabel("unseen healthy runs that alarm", fontsize=8, color=INK)
        axis.legend(fontsize=7, frameon=False, loc="lower right", title="area", title_fontsize=7)
    grid.panels[0].set_ylabel("runs that alarm", fontsize=8, color=INK)
    return save(grid.figure, path)


def drawable(one: Roc, arm: ArmAlarms) -> bool:
    """Whether it is a curve of that arm, with any corner."""
    return one.arm == arm.arm and bool(one.detected)


def plot_by_rate(alarms: StudyAlarms, path: Path) -> Path | None:
    """A panel an arm: the share of runs in which each signal is first, by rate of false alarms."""
    arms = [arm for arm in alarms.arms if any(one.first.rate is not None for one in arm.by_rate)]
    if not arms:
        return None
    grid = _Grid(min(len(arms), MOST_PANELS))
    for axis, arm in zip(grid.panels, arms, strict=False):
        for name, of in ((alarms.first, "first"), (alarms.than, "than")):
            known = [(one.rate, getattr(one, of)) for one in arm.by_rate]
            known = [(x, rate) for x, rate in known if rate.rate is not None]
            x = [rate for rate, _ in known]
            colour = _colour(alarms, name)
            axis.fill_between(
                x, [r.low for _, r in known], [r.high for _, r in known],
                color=colour, alpha=0.13, linewidth=0,
            )  # fmt: skip
            axis.plot(
                x, [r.rate for _, r in known], color=colour, linewidth=1.5, markersize=3,
                marker=MARKERS[0 if of == "first" else 1], label=f"{name} first",
            )  # fmt: skip
        axis.axvline(alarms.rate, color=FAINT, linewidth=0.8, linestyle="dashed")
        axis.set_ylim(-0.03, 1.03)
        _titled(axis, arm)
        axis.set_xlabel("false alarms per run", fontsize=8, color=INK)
        axis.legend(fontsize=7, frameon=False)
    sure = level(alarms.confidence)
    grid.panels[0].set_ylabel(f"share of runs, {sure} pointwise", fontsize=8, color=INK)
    return save(grid.figure, path)


class _Grid:
    """Panels of one picture, three in a row."""

    def __init__(self, count: int) -> None:
        columns = min(3, count)
        rows = math.ceil(count / columns)
        self.figure = new_figure(0.6 + 3.4 * columns, 0.4 + 3.0 * rows)
        axes = self.figure.subplots(rows, columns, squeeze=False)
        flat = list(axes.ravel())
        for spare in flat[count:]:
            spare.set_visible(False)
        self.panels: list[Axes] = flat[:count]


def _titled(axis: Axes, arm: ArmAlarms) -> None:
    mark = " (synthetic signal)" if arm.synthetic else ""
    axis.set_title(f"{arm.arm}{mark}", fontsize=9, color=INK)
    _plain(axis)
    axis.tick_params(labelsize=7)


def _colour(alarms: StudyAlarms, signal: str) -> str:
    names = [one.signal for one in alarms.thresholds]
    return INKS[names.index(signal) % len(INKS)]


def _filled(values: Sequence[float | None], count: int) -> Sequence[float | None]:
    return values if len(values) == count else [None] * count


def _whole_steps(axis: Axes, last: float) -> None:
    """Whole numbers up to the last step: beyond it stand the runs that never alarm."""
    from matplotlib.ticker import MaxNLocator

    low, high = axis.get_xlim()
    ticks = MaxNLocator(nbins=9, integer=True).tick_values(low, high)
    axis.set_xticks([tick for tick in ticks if low <= tick <= last])


def _plain(axis: Axes) -> None:
    axis.grid(color="#e6e8eb", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
