"""A plot that answers to a pointer and to keys, with the table of its figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.report.sections import ShownTable

INK, SOFT, FAINT, LINE, PAPER = "#1f2328", "#59636e", "#8a919b", "#d5d9de", "#ffffff"
TONES = {
    "gain": "#0b7a57",
    "harm": "#b3261e",
    "broken": "#b3261e",
    "none": "#59636e",
    "unsure": "#2f5d9b",
    "plain": "#1f2328",
}
INKS = ("#2f5d9b", "#0b7a57", "#b3261e", "#8a5a00", "#6b3fa0")
"""Of lines, in their order."""
DARK = {
    INK: "#e7eaed",
    SOFT: "#a3acb6",
    FAINT: "#7d8791",
    LINE: "#3a4149",
    PAPER: "#14171a",
    "#0b7a57": "#4cc79a",
    "#b3261e": "#ff8a80",
    "#2f5d9b": "#8ab4f0",
    "#8a5a00": "#e0b050",
    "#6b3fa0": "#c3a3f0",
}
"""What each colour is on a dark page: plots are made for a light one."""
SYMBOLS = {
    "gain": "circle",
    "harm": "triangle-down",
    "broken": "x",
    "none": "circle-open",
    "unsure": "circle-open",
    "plain": "square",
}
DASHES = {"dashed": "dash", "dotted": "dot", "dashdot": "dashdot", "line": "solid", "band": "dot"}


@dataclass(frozen=True)
class Plot:
    """One plot of a page.

    Attributes:
        title: what it shows; also its name to a screen reader.
        note: how to read it, in a sentence or two.
        figure: `data` and `layout` as plotly has them.
        figures: every number that the plot shows.
        narrow: keys of the layout, dotted, that are other in a column narrower than a tablet.
        wide: whether it takes the whole width of a page.
    """

    title: str
    note: str
    figure: Mapping[str, Any]
    figures: ShownTable
    narrow: Mapping[str, Any] = field(default_factory=dict)
    wide: bool = True

    def to_json(self) -> str:
        """For a script: no text in it can end the element that holds it."""
        data = {**self.figure, "narrow": self.narrow}
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.replace("<", "\\u003c").replace("\u2028", "").replace("\u2029", "")


def new_figure(height: int, **layout: Any) -> Any:
    """An empty plotly figure in the colours of the page, without a grid across."""
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 12, "r": 12, "t": 16, "b": 46, "pad": 4},
        paper_bgcolor=PAPER,
        plot_bgcolor=PAPER,
        font={"color": INK, "size": 13, "family": "system-ui, sans-serif"},
        hoverlabel={"bgcolor": PAPER, "bordercolor": SOFT, "font": {"color": INK}, "align": "left"},
        hovermode="closest",
        hoverdistance=40,
        legend={
            "orientation": "h", "x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom",
            "font": {"color": SOFT, "size": 12}, "bgcolor": "rgba(0,0,0,0)",
        },
        **layout,
    )  # fmt: skip
    axis = {
        "gridcolor": LINE, "zeroline": False, "linecolor": LINE, "automargin": True,
        "tickfont": {"color": SOFT, "size": 12},
        "title": {"font": {"color": SOFT, "size": 13}, "standoff": 10},
    }  # fmt: skip
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure


def plain(figure: Any) -> dict[str, Any]:
    """A plotly figure as plain data; what is not a number is null."""
    made: dict[str, Any] = json.loads(figure.to_json())
    return {"data": made["data"], "layout": made["layout"]}


def see_through(colour: str, share: float) -> str:
    """The colour with an alpha, in eight digits."""
    return f"{colour}{round(255 * share):02x}"


def hover(name: str, *lines: str) -> str:
    """What a point says of itself: its name, then a line each; empty lines are left out."""
    from html import escape

    return "<br>".join([f"<b>{escape(name)}</b>", *(escape(one) for one in lines if one)])


def short(text: str, most: int = 34) -> str:
    """A name that fits beside an axis; the whole of it is in the hover and the table."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def span(values: Sequence[float | None], room: float = 0.05) -> tuple[float, float]:
    """The range that shows all of these, with room beside them."""
    known = [value for value in values if value is not None and value - value == 0.0]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    beside = room * (high - low) or 0.5 * abs(high) or 0.5
    return low - beside, high + beside
