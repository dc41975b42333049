"""The plots of curves: means with bands, the fit, and where it crosses."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from orchestrator.curves.curve import Curve, CurveAnswer, StudyCurves
from orchestrator.curves.words import crossing_text, width_text
from orchestrator.report.curve_pictures import (
    LOGARITHMIC,
    MOST_LINES,
    MOST_PANELS,
    is_measured,
    pair_of,
)
from orchestrator.report.curves import mean_text
from orchestrator.report.interactive.forest import faded
from orchestrator.report.interactive.plot import FAINT, INKS, Plot, hover, new_figure, plain
from orchestrator.report.rows import level
from orchestrator.report.sections import ShownTable


def arm_plots(curves: StudyCurves, arm: str) -> tuple[Plot, ...]:
    """Every path of an arm, a few to a plot."""
    chosen = [one for one in curves.curves if one.arm == arm and is_measured(one)]
    groups: list[list[Curve]] = []
    for along in dict.fromkeys(one.along for one in chosen):
        some = [one for one in chosen if one.along == along]
        groups += [some[i : i + MOST_LINES] for i in range(0, len(some), MOST_LINES)]
    groups = groups[:MOST_PANELS]
    return tuple(
        _plot(f"{arm}: {', '.join(one.path for one in group)}", group, [one.path for one in group],
              curves)
        for group in groups
    )  # fmt: skip


def pair_plot(curves: StudyCurves, answer: CurveAnswer) -> Plot | None:
    """The two curves of a question; None where one has no mean."""
    pair = pair_of(curves, answer)
    if len(pair) < 2:
        return None
    return _plot(f"{answer.name}: {answer.label}", pair, (answer.curve, answer.than), curves)


def _plot(title: str, group: Sequence[Curve], names: Sequence[str], curves: StudyCurves) -> Plot:
    figure = new_figure(430)
    for i, (one, name) in enumerate(zip(group, names, strict=True)):
        _add(figure, one, name, INKS[i % len(INKS)], i)
    for height, dash in ((curves.level, "dash"), (curves.low, "dot"), (curves.high, "dot")):
        figure.add_hline(y=height, line={"color": FAINT, "width": 1, "dash": dash}, layer="below")
    values = [point.value for one in group for point in one.points]
    along = " / ".join(dict.fromkeys(one.along for one in group))
    log = min(values) > 0 and max(values) / min(values) >= LOGARITHMIC
    unit = f" ({group[0].unit})" if group[0].unit else ""
    figure.update_xaxes(title_text=escape(along), type="log" if log else "linear")
    figure.update_yaxes(title_text=escape(f"{curves.metric}{unit}"))
    note = (
        f"Bands are {level(curves.confidence)} intervals over examples; dotted lines the isotonic "
        f"fit; across: {curves.low:g}, {curves.level:g} and {curves.high:g}. "
        + " ".join(
            f"{name}: threshold {crossing_text(one.threshold, one)}, width {width_text(one.width)}."
            for one, name in zip(group, names, strict=True)
        )
    )
    return Plot(title, note, plain(figure), _table(title, group, names), {"height": 400})


def _add(figure: Any, one: Curve, name: str, colour: str, place: int) -> None:
    known = [(point, point.mean) for point in one.points if point.mean is not None]
    x = [point.value for point, _ in known]
    low = [mean if point.low is None else point.low for point, mean in known]
    high = [mean if point.high is None else point.high for point, mean in known]
    figure.add_scatter(
        x=[*x, *x[::-1]], y=[*high, *low[::-1]], fill="toself", fillcolor=faded(colour),
        mode="none", hoverinfo="skip", showlegend=False, legendgroup=str(place), meta="skip",
    )  # fmt: skip
    fit = [(point.value, point.fit) for point in one.points if point.fit is not None]
    if fit:
        figure.add_scatter(
            x=[value for value, _ in fit], y=[value for _, value in fit], mode="lines",
            line={"color": colour, "width": 1, "dash": "dot"}, hoverinfo="skip", showlegend=False,
            legendgroup=str(place), meta="skip",
        )  # fmt: skip
    said = [
        hover(
            name, f"{one.along} {point.value:g}", f"{one.metric} {mean_text(point)}",
            f"mean of {point.draws} random draws" if point.draws > 1 else "",
            f"{one.examples} examples" if one.examples else "",
        )
        for point, _ in known
    ]  # fmt: skip
    figure.add_scatter(
        x=x, y=[mean for _, mean in known], mode="lines+markers", name=escape(name),
        line={"color": colour, "width": 2}, marker={"size": 7, "symbol": place},
        hovertext=said, hoverinfo="text", legendgroup=str(place), showlegend=True,
    )  # fmt: skip


def _table(title: str, group: Sequence[Curve], names: Sequence[str]) -> ShownTable:
    values = sorted({point.value for one in group for point in one.points})
    found = [{point.value: mean_text(point) for point in one.points} for one in group]
    rows = tuple((f"{value:g}", *(texts.get(value, "") for texts in found)) for value in values)
    head = (" / ".join(dict.fromkeys(one.along for one in group)), *names)
    return ShownTable(title, head, rows, frozenset(range(len(head))))
