"""The plots of alarms: when runs alarm, what signals do, and what a threshold costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from orchestrator.alarms.result import ArmAlarms, Roc, RunAlarm, StudyAlarms, Threshold
from orchestrator.report.alarm_pictures import (
    LANES,
    LOGARITHMIC,
    MOST_PANELS,
    drawable,
    drawn_trajectories,
)
from orchestrator.report.alarms import area_text, median_text, rate_text
from orchestrator.report.interactive.forest import faded
from orchestrator.report.interactive.plot import (
    FAINT,
    INK,
    INKS,
    SOFT,
    Plot,
    hover,
    new_figure,
    plain,
    short,
    span,
)
from orchestrator.report.rows import level
from orchestrator.report.sections import ShownTable
from orchestrator.verdict.numbers import MISSING

NAME = 52
"""Letters of an arm with its signal."""
MOST_CORNERS = 24
"""Rows of the table of a curve or of a trajectory; all of them are in the files beside the page."""


def timeline_plot(alarms: StudyAlarms) -> Plot | None:
    """A row an arm and signal, a dot a run; None without any run."""
    rows = _timeline_rows(alarms)
    if not rows or not alarms.steps:
        return None
    last, reach = alarms.steps[-1], max(1, alarms.steps[-1] - alarms.steps[0])
    never = last + 0.08 * reach
    synthetic = {arm.arm for arm in alarms.arms if arm.synthetic}
    figure = new_figure(90 + 40 * len(rows), showlegend=False)
    names, table = [], []
    for y, (arm, signal) in enumerate(rows):
        runs = [run for run in alarms.runs if run.arm == arm and run.signal == signal]
        mark = " (healthy, unseen)" if arm == alarms.unseen else ""
        names.append(f"{arm}{' (synthetic)' if arm in synthetic else mark}: {signal}")
        _add_runs(figure, -y, runs, _colour(alarms, signal), never)
        table.append((names[-1], *_told(alarms, arm, signal, runs)))
    figure.add_vline(x=last + 0.04 * reach, line={"color": FAINT, "width": 1, "dash": "dot"})
    steps = [one for one in alarms.steps if one <= last]
    some = steps[:: max(1, len(steps) // 7)]
    figure.update_xaxes(
        title_text="step of the alarm", tickvals=[*some, never],
        ticktext=[*map(str, some), "never"],
        range=[alarms.steps[0] - 0.03 * reach, never + 0.05 * reach],
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=[-y for y in range(len(names))], ticktext=[escape(short(n, NAME)) for n in names],
        tickfont={"color": INK}, range=[-len(names) + 0.4, 0.6], showgrid=False,
    )  # fmt: skip
    above = [
        {"x": 0, "xref": "paper", "xanchor": "left", "y": -y, "yshift": 20, "showarrow": False,
         "text": f"<b>{escape(short(name, NAME))}</b>", "font": {"size": 12, "color": INK}}
        for y, name in enumerate(names)
    ]  # fmt: skip
    narrow = {"yaxis.showticklabels": False, "annotations": above, "height": 90 + 56 * len(rows),
              "yaxis.range": [-len(names) + 0.5, 0.8]}  # fmt: skip
    title = "Steps at which each run alarms, by arm and signal"
    note = "A dot is a run; hollow: a false alarm before its onset; at the right: never."
    head = ("arm and signal", "runs", "alarms", "median step", "median delay", "before onset")
    figures = ShownTable(title, head, tuple(table), frozenset({1, 2, 3, 4, 5}))
    return Plot(title, note, plain(figure), figures, narrow)


def _timeline_rows(alarms: StudyAlarms) -> list[tuple[str, str]]:
    there = {(run.arm, run.signal) for run in alarms.runs}
    arms = [arm.arm for arm in alarms.arms]
    return [
        (arm, one.signal)
        for arm in (*arms, alarms.unseen)
        for one in alarms.thresholds
        if one.threshold is not None and (arm, one.signal) in there
    ]


def _add_runs(figure: Any, y: float, runs: Sequence[RunAlarm], colour: str, never: float) -> None:
    points = [(float(r.alarm_step), r, "circle", 0.75) for r in runs if r.alarm_step is not None]
    points += [(float(r.before_onset), r, "circle-open", 1.0) for r in runs
               if r.before_onset is not None]  # fmt: skip
    points += [(never, r, "circle", 0.3) for r in runs if r.alarm_step is None]
    taken: dict[float, int] = {}
    heights = []
    for x, *_ in points:
        taken[x] = taken.get(x, -1) + 1
        lane = taken[x] % LANES
        heights.append(y + 0.08 * ((lane + 1) // 2) * (-1 if lane % 2 else 1))
    figure.add_scatter(
        x=[x for x, *_ in points], y=heights, mode="markers", hoverinfo="text",
        hovertext=[_run(run) for _, run, _, _ in points],
        marker={"color": colour, "size": 8, "symbol": [symbol for *_, symbol, _ in points],
                "opacity": [share for *_, share in points]},
    )  # fmt: skip
    for onset in sorted({run.onset for run in runs if run.onset is not None}):
        figure.add_shape(type="line", x0=onset, x1=onset, y0=y - 0.36, y1=y + 0.36, layer="below",
                         line={"color": SOFT, "width": 1.5})  # fmt: skip


def _run(run: RunAlarm) -> str:
    told = "never alarms" if run.alarm_step is None else f"alarms at step {run.alarm_step}"
    delay = "" if run.delay is None else f", {run.delay} after the onset"
    early = "" if run.before_onset is None else f"false alarm at step {run.before_onset}"
    largest = "" if run.largest is None else f"largest deviation {run.largest:.3g}"
    name = f"{run.arm}, seed {run.seed}: {run.signal}"
    return hover(name, told + delay, early, largest)


def _told(
    alarms: StudyAlarms, arm: str, signal: str, runs: Sequence[RunAlarm]
) -> tuple[str, str, str, str, str]:
    known = alarms.find(arm)
    times = known.times(signal) if known is not None else None
    early = str(sum(run.before_onset is not None for run in runs))
    if times is None:
        count = sum(run.alarm_step is not None for run in runs)
        return str(len(runs)), f"{count} of {len(runs)}", MISSING, MISSING, early
    return (
        str(len(runs)),
        rate_text(times.detected),
        median_text(times.step),
        median_text(times.delay),
        early,
    )


def trajectory_plots(alarms: StudyAlarms) -> tuple[Plot, ...]:
    """A plot a signal: the mean of each arm over the band outside which a step alarms."""
    there = {one.signal for one in alarms.trajectories}
    shown = [one for one in alarms.thresholds if one.signal in there][:MOST_PANELS]
    return tuple(plot for one in shown if (plot := _trajectories(alarms, one)) is not None)


def _trajectories(alarms: StudyAlarms, one: Threshold) -> Plot | None:
    lines = drawn_trajectories(
        alarms, [t for t in alarms.trajectories if t.signal == one.signal and any(t.runs)]
    )
    means = [v for line in lines for v in line.mean] + list(one.mean)
    known = [v for v in means if v is not None]
    if not known:
        return None
    low, high = span(known, 0.08)
    log = min(known) > 0 and max(known) / min(known) >= LOGARITHMIC
    figure = new_figure(380)
    _add_band(figure, alarms, one, low if not log else min(known) / 10, high * (10 if log else 1))
    synthetic = {arm.arm for arm in alarms.arms if arm.synthetic}
    for i, line in enumerate(lines):
        name = line.arm + (" (synthetic signal)" if line.arm in synthetic else "")
        colour, dash = INKS[i % len(INKS)], "dash" if line.arm in synthetic else "solid"
        said = [
            hover(name, f"step {step}", f"{one.signal} {mean:.4g}, mean of {runs} runs")
            if mean is not None else ""
            for step, mean, runs in zip(alarms.steps, line.mean, line.runs, strict=True)
        ]  # fmt: skip
        figure.add_scatter(
            x=list(alarms.steps), y=list(line.mean), mode="lines", name=escape(name),
            line={"color": colour, "width": 2, "dash": dash},
            hovertext=said, hoverinfo="text",
        )  # fmt: skip
    figure.update_xaxes(title_text="step")
    figure.update_yaxes(title_text=escape(f"{one.signal} ({one.column})"))
    figure.update_yaxes(type="log") if log else figure.update_yaxes(range=[low, high])
    title = f"{one.signal} by step: mean of each arm"
    head = ("step", "healthy", "no alarm within", *(line.arm for line in lines))
    places = range(0, len(alarms.steps), max(1, -(-len(alarms.steps) // MOST_CORNERS)))
    rows = tuple(
        (
            str(alarms.steps[i]),
            _number(_at(one.mean, i)),
            f"{_end(_at(one.low, i), 'any')} to {_end(_at(one.high, i), 'any')}",
            *(_number(line.mean[i]) for line in lines),
        )
        for i in places
    )
    note = "Grey: values of healthy runs that do not alarm, and their mean."
    figures = ShownTable(title, head, rows, frozenset(range(len(head))))
    return Plot(title, note, plain(figure), figures, wide=False)


def _add_band(figure: Any, alarms: StudyAlarms, one: Threshold, low: float, high: float) -> None:
    at = [i for i in range(len(alarms.steps)) if _at(one.mean, i) is not None]
    x = [alarms.steps[i] for i in at]
    lows = [low if (v := _at(one.low, i)) is None else v for i in at]
    highs = [high if (v := _at(one.high, i)) is None else v for i in at]
    figure.add_scatter(
        x=[*x, *x[::-1]], y=[*highs, *lows[::-1]], fill="toself", fillcolor=faded(FAINT),
        mode="none", name="no alarm", hoverinfo="skip", meta="skip",
    )  # fmt: skip
    figure.add_scatter(
        x=x, y=[_at(one.mean, i) for i in at], mode="lines", name="healthy",
        line={"color": FAINT, "width": 1.5}, hoverinfo="skip", meta="skip",
    )  # fmt: skip


def roc_plots(alarms: StudyAlarms) -> tuple[Plot, ...]:
    """A plot an arm: the share of its runs that alarm against that of unseen healthy runs."""
    arms = [arm for arm in alarms.arms if any(drawable(one, arm) for one in alarms.roc)]
    return tuple(_roc(alarms, arm) for arm in arms[:MOST_PANELS])


def _roc(alarms: StudyAlarms, arm: ArmAlarms) -> Plot:
    lines = [one for one in alarms.roc if drawable(one, arm)]
    figure = new_figure(360)
    for place, one in enumerate(lines):
        said = [
            hover(f"{one.signal}, area {area_text(one.area)}", f"{false:.1%} of healthy runs alarm",
                  f"{found:.1%} of {arm.arm} alarm")
            for false, found in zip(one.false_alarms, one.detected, strict=True)
        ]  # fmt: skip
        figure.add_scatter(
            x=list(one.false_alarms), y=list(one.detected), mode="lines", hovertext=said,
            hoverinfo="text", name=escape(f"{one.signal}: area {area_text(one.area)}"),
            line={"color": _colour(alarms, one.signal), "shape": "hv",
                  "width": 2 + 2 * (len(lines) - 1 - place)},
        )  # fmt: skip
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", hoverinfo="skip", showlegend=False, meta="skip",
        line={"color": FAINT, "width": 1, "dash": "dot"},
    )  # fmt: skip
    figure.add_vline(x=alarms.rate, line={"color": FAINT, "width": 1, "dash": "dash"})
    figure.update_xaxes(title_text="unseen healthy runs that alarm", range=[-0.02, 1.02])
    figure.update_yaxes(title_text="runs that alarm", range=[-0.02, 1.04])
    mark = " (synthetic signal)" if arm.synthetic else ""
    title = f"{arm.arm}{mark}: runs that alarm against false alarms"
    note = f"Dashed: the study's rate of {alarms.rate:g}. " + "; ".join(
        f"{one.signal}: area {area_text(one.area)}" for one in lines
    )
    rows = tuple(_corners(lines))
    head = ("signal", "healthy runs that alarm", "runs that alarm")
    figures = ShownTable(title, head, rows, frozenset({1, 2}))
    return Plot(title, f"{note}.", plain(figure), figures, wide=False)


def _corners(lines: Sequence[Roc]) -> Iterator[tuple[str, str, str]]:
    for one in lines:
        corners = list(zip(one.false_alarms, one.detected, strict=True))
        each = max(1, -(-len(corners) // MOST_CORNERS))
        for false, found in corners[::each]:
            yield one.signal, f"{false:.3f}", f"{found:.3f}"


def rate_plots(alarms: StudyAlarms) -> tuple[Plot, ...]:
    """A plot an arm: the share of runs in which each signal is first, by rate of false alarms."""
    arms = [arm for arm in alarms.arms if any(one.first.rate is not None for one in arm.by_rate)]
    return tuple(_by_rate(alarms, arm) for arm in arms[:MOST_PANELS])


def _by_rate(alarms: StudyAlarms, arm: ArmAlarms) -> Plot:
    figure = new_figure(360)
    for name, of in ((alarms.first, "first"), (alarms.than, "than")):
        known = [(one.rate, getattr(one, of)) for one in arm.by_rate]
        known = [(x, rate) for x, rate in known if rate.rate is not None]
        x, colour = [at for at, _ in known], _colour(alarms, name)
        figure.add_scatter(
            x=[*x, *x[::-1]], y=[*(r.high for _, r in known), *(r.low for _, r in known[::-1])],
            fill="toself", fillcolor=faded(colour), mode="none", hoverinfo="skip", showlegend=False,
            meta="skip",
        )  # fmt: skip
        figure.add_scatter(
            x=x, y=[r.rate for _, r in known], mode="lines+markers", name=escape(f"{name} first"),
            hovertext=[hover(f"{name} first", f"{at:.3g} false alarms per run", rate_text(r))
                       for at, r in known],
            hoverinfo="text", line={"color": colour, "width": 2}, marker_size=5,
        )  # fmt: skip
    figure.add_vline(x=alarms.rate, line={"color": FAINT, "width": 1, "dash": "dash"})
    figure.update_xaxes(title_text="false alarms per run")
    figure.update_yaxes(title_text="share of runs", range=[-0.03, 1.03])
    mark = " (synthetic signal)" if arm.synthetic else ""
    title = f"{arm.arm}{mark}: who is first, by the rate of false alarms"
    each = max(1, -(-len(arm.by_rate) // MOST_CORNERS))
    rows = tuple(
        (f"{one.rate:.3g}", rate_text(one.first), rate_text(one.than), str(one.ties),
         str(one.neither))
        for one in arm.by_rate[::each]
    )  # fmt: skip
    head = ("rate", f"{alarms.first} first", f"{alarms.than} first", "same step", "neither")
    figures = ShownTable(title, head, rows, frozenset(range(5)))
    note = f"{level(alarms.confidence)} intervals, pointwise; dashed: the study's rate."
    return Plot(title, note, plain(figure), figures, wide=False)


def _colour(alarms: StudyAlarms, signal: str) -> str:
    names = [one.signal for one in alarms.thresholds]
    return INKS[names.index(signal) % len(INKS)] if signal in names else INKS[0]


def _at(values: Sequence[float | None], place: int) -> float | None:
    return values[place] if place < len(values) else None


def _number(value: float | None) -> str:
    return MISSING if value is None or value != value else f"{value:.4g}"


def _end(value: float | None, missing: str) -> str:
    return missing if value is None else _number(value)
