"""One page with every curve, every metric and its interval: interactive, and works offline."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from workloads.dtdr.summary.naming import (
    LABELS,
    METRICS,
    arms_of,
    by_along,
    label_of,
    paths_of,
    wide,
)
from workloads.views import CurveView, Estimate, StudyView

COLOURS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd",
    "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
)  # fmt: skip
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def write_page(study: StudyView, path: Path) -> Path:
    """A chart for each key that curves go along; a menu chooses the metric, a click in the legend
    hides a curve. The program that draws is part of the file. Gives `path`."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>{escape(study.name)}: curves</title>",
        "<style>body{font-family:sans-serif;max-width:1100px;margin:2em auto}</style></head><body>",
        f"<h1>{escape(study.name)}</h1><p>{escape(study.question)}</p>",
        f"<p><b>{escape(study.answer)}</b></p>",
    ]
    for number, (along, curves) in enumerate(by_along(study.curves).items()):
        parts.append(f"<h2>Along the {escape(along)}</h2>")
        parts.append(_chart(curves, along, whole=number == 0))
    parts.append("</body></html>")
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def _chart(curves: Sequence[CurveView], along: str, whole: bool) -> str:
    """A chart as HTML. `whole`: with the program that draws it; charts below it share that."""
    import plotly.graph_objects as go

    names = [name for name in METRICS if any(name in curve.metrics for curve in curves)]
    figure = go.Figure()
    owner: list[tuple[str, CurveView]] = []
    for name in names:
        for curve in curves:
            for trace in _traces(go, curve, name, *_look(curve, curves)):
                trace.visible = _visible(curve, curves) if name == names[0] else False
                figure.add_trace(trace)
                owner.append((name, curve))
    buttons = [
        {
            "label": METRICS[name],
            "method": "update",
            "args": [
                {
                    "visible": [
                        _visible(curve, curves) if of == name else False for of, curve in owner
                    ]
                },
                {"yaxis.title.text": METRICS[name]},
            ],
        }
        for name in names
    ]
    figure.update_layout(
        template="plotly_white",
        height=560,
        xaxis_title=LABELS.get(along, along),
        yaxis_title=METRICS[names[0]] if names else "",
        updatemenus=[{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.14}],
        legend={"groupclick": "togglegroup"},
    )
    values = [value for curve in curves for value in curve.values]
    if along != "fraction" and wide(values):
        figure.update_xaxes(type="log")
    html: str = figure.to_html(full_html=False, include_plotlyjs=whole)
    return html


def _look(curve: CurveView, curves: Sequence[CurveView]) -> tuple[str, str]:
    """Colour and dash: a path keeps its colour and an arm its dashes; arms of a single path differ
    in colour, too."""
    arms, paths = arms_of(curves), paths_of(curves)
    number = paths.index(curve.path) if len(paths) > 1 else arms.index(curve.arm)
    return COLOURS[number % len(COLOURS)], DASHES[arms.index(curve.arm) % len(DASHES)]


def _visible(curve: CurveView, curves: Sequence[CurveView]) -> bool | str:
    """Before any is clicked all paths of the first arm are shown, and its first path in all arms;
    the others wait in the legend."""
    first = curves[0]
    return True if curve.arm == first.arm or curve.path == first.path else "legendonly"


def _traces(go: Any, curve: CurveView, name: str, colour: str, dash: str) -> list[Any]:
    """A band, where there is one, and the line over it."""
    levels: Sequence[Estimate] = curve.metrics.get(name, ())
    known = [
        (v, one) for v, one in zip(curve.values, levels, strict=False) if one.value is not None
    ]
    title = f"{label_of(curve)}, {curve.path}"
    traces = []
    banded = [(v, one) for v, one in known if one.low is not None and one.high is not None]
    if banded:
        there = [v for v, _ in banded]
        traces.append(
            go.Scatter(
                x=there + there[::-1],
                y=[one.high for _, one in banded] + [one.low for _, one in banded[::-1]],
                fill="toself",
                fillcolor=colour,
                opacity=0.15,
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                legendgroup=title,
            )
        )
    traces.append(
        go.Scatter(
            x=[v for v, _ in known],
            y=[one.value for _, one in known],
            mode="lines+markers",
            name=title,
            legendgroup=title,
            line={"color": colour, "dash": dash},
        )
    )
    return traces
