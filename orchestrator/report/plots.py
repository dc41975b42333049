"""Pictures of a verdict as PNG files: means by arm, differences by arm, and the factor grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.report.rows import delta_text, family_text, level, mean_text, places, tone
from orchestrator.verdict.numbers import MISSING, shown
from orchestrator.verdict.result import ArmVerdict, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "gain": "#0b7a57",
    "harm": "#b3261e",
    "broken": "#b3261e",
    "none": "#6b7280",
    "unsure": "#2f5d9b",
    "plain": "#1f2328",
}
MARKERS = {"gain": "o", "harm": "v", "broken": "X", "none": "o", "unsure": "o", "plain": "s"}
HOLLOW = {"unsure", "none"}
INK, FAINT = "#1f2328", "#8a919b"


def new_figure(width_in: float, height_in: float) -> Figure:
    """A figure that touches no global state and no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG at 150 dpi; the same figure gives the same bytes."""
    figure.savefig(path, dpi=150, bbox_inches="tight", pad_inches=0.15, metadata={"Software": None})
    return path


def plot_means(verdict: Verdict, path: Path) -> Path:
    """Mean by arm with its interval; controls apart; lines for comparator, floor and reference."""
    groups = [(name, arms) for name, arms in _groups(verdict) if arms]
    rows = [len(arms) for _, arms in groups]
    figure = new_figure(9.5, 1.5 + 0.34 * sum(rows) + 0.3 * len(rows))
    axes = figure.subplots(
        len(groups), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": rows}
    )[:, 0]
    for axis, (name, arms) in zip(axes, groups, strict=True):
        for _, value, style in reference_lines(verdict):
            axis.axvline(value, color=FAINT, linewidth=1, linestyle=style, zorder=0)
        digits = places(verdict)
        for y, arm in enumerate(arms):
            _point(axis, y, arm, arm.mean, arm.ci_low, arm.ci_high)
            _beside(axis, y, arm, mean_text(arm, digits))
        _rows(axis, arms)
        axis.set_ylabel(name, fontsize=9, color=FAINT)
    figure.align_ylabels(list(axes))
    if all(arm.mean is None for _, arms in groups for arm in arms):
        axes[-1].set_xticks([])
    _name_lines(axes[0], verdict)
    axes[-1].set_xlabel(
        f"{verdict.metric} ({verdict.unit}), mean with {level(verdict.confidence)} interval; "
        f"{verdict.direction} is better"
    )
    return save(figure, path)


def plot_differences(verdict: Verdict, path: Path) -> Path:
    """Difference to the comparator by arm, with simultaneous intervals over the bands."""
    arms = [arm for arm in verdict.arms if arm.arm != verdict.comparator]
    figure = new_figure(9.5, 1.7 + 0.34 * max(1, len(arms)))
    axis = figure.subplots()
    digits = places(verdict)
    sign = 1.0 if verdict.direction == "higher" else -1.0
    for y, arm in enumerate(arms):
        _point(axis, y, arm, arm.delta, arm.delta_ci_low, arm.delta_ci_high)
        _beside(axis, y, arm, delta_text(arm, digits))
    low, high = axis.get_xlim()
    reach = max([edge for edge, _ in verdict.bands[:1]] + [0.0]) * 1.4
    low, high = min(low, -reach), max(high, reach)
    axis.set_xlim(low, high)
    axis.axvline(0.0, color=INK, linewidth=1)
    for i, (edge, name) in enumerate(verdict.bands):
        if not low <= sign * edge <= high:
            continue
        outer = sign * verdict.bands[i + 1][0] if i + 1 < len(verdict.bands) else sign * 1e12
        span = sorted((sign * edge, min(max(outer, low), high)))
        axis.axvspan(*span, color=COLOURS["gain"], alpha=0.05 + 0.05 * i, linewidth=0)
        axis.axvline(sign * edge, color=COLOURS["gain"], linewidth=0.8, linestyle=":")
        _above(axis, sign * edge, f"{edge:g}\n{name}", align="left" if sign > 0 else "right")
    axis.set_xlim(low, high)
    _rows(axis, arms)
    axis.set_xlabel(
        f"{verdict.metric} minus {verdict.comparator} ({verdict.unit}), {family_text(verdict)}"
    )
    return save(figure, path)


def _groups(verdict: Verdict) -> list[tuple[str, tuple[ArmVerdict, ...]]]:
    return [("Arms", verdict.arms), ("Controls, never ranked", verdict.controls)]


def reference_lines(verdict: Verdict) -> list[tuple[str, float, str]]:
    """(name, value, style) of the lines across a plot of means."""
    lines = []
    comparator = verdict.find(verdict.comparator)
    if comparator is not None and comparator.mean is not None:
        lines.append((verdict.comparator, comparator.mean, "dashed"))
    gate = verdict.gate
    if gate is not None and gate.floor is not None:
        lines.append((f"floor: {gate.floor_arm}", gate.floor, "dotted"))
    if gate is not None and gate.reference is not None and gate.reference_value is not None:
        lines.append((gate.reference, gate.reference_value, "dashdot"))
    return lines


def _name_lines(axis: Axes, verdict: Verdict) -> None:
    """Names above the lines, on as many levels as it takes for none to cover another."""
    low, high = axis.get_xlim()
    taken: list[float] = []
    for name, value, _ in sorted(reference_lines(verdict), key=lambda line: line[1]):
        text = f"{name} {shown(value, places(verdict))}"
        half = 0.0065 * len(text) * (high - low)
        free = [i for i, end in enumerate(taken) if value - half > end]
        level = free[0] if free else len(taken)
        taken[level : level + 1] = [value + half]
        _above(axis, value, text + "\n" * level, align="center")


def _point(
    axis: Axes,
    y: int,
    arm: ArmVerdict,
    value: float | None,
    low: float | None,
    high: float | None,
) -> None:
    kind = tone(arm)
    colour = COLOURS[kind]
    if value is None:
        axis.text(0.5, y, MISSING, transform=axis.get_yaxis_transform(), color=FAINT, va="center")
        return
    if low is not None and high is not None:
        axis.plot([low, high], [y, y], color=colour, linewidth=2, solid_capstyle="butt")
        for end in (low, high):
            axis.plot([end, end], [y - 0.16, y + 0.16], color=colour, linewidth=1.4)
    face = "white" if kind in HOLLOW else colour
    axis.plot(
        [value], [y], marker=MARKERS[kind], markersize=7, color=colour, markerfacecolor=face,
        markeredgewidth=1.6, linestyle="none",
    )  # fmt: skip


def _beside(axis: Axes, y: int, arm: ArmVerdict, numbers: str) -> None:
    """Numbers and label to the right of the row, in columns that line up."""
    weight = "normal" if tone(arm) == "plain" else "bold"
    columns = ((10, numbers, INK, "normal"), (132, arm.label, COLOURS[tone(arm)], weight))
    for offset_pt, text, colour, weight in columns:
        axis.annotate(
            text, (1.0, y), xycoords=axis.get_yaxis_transform(), xytext=(offset_pt, 0),
            textcoords="offset points", va="center", fontsize=8.5, color=colour, fontweight=weight,
        )  # fmt: skip


def _above(axis: Axes, x: float, text: str, align: str) -> None:
    from matplotlib.transforms import blended_transform_factory

    place: Any = blended_transform_factory(axis.transData, axis.transAxes)
    axis.text(x, 1.0, text, transform=place, va="bottom", ha=align, fontsize=7.5, color=FAINT)


def _rows(axis: Axes, arms: Sequence[ArmVerdict]) -> None:
    axis.set_yticks(range(len(arms)), [arm.arm for arm in arms], fontsize=9)
    axis.set_ylim(len(arms) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color="#e6e8eb", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
