"""Intervals as rows of one plot: names at the left, labels at the right, numbers on hovering."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from orchestrator.report.interactive.plot import (
    DASHES,
    FAINT,
    INK,
    PAPER,
    SOFT,
    SYMBOLS,
    TONES,
    hover,
    new_figure,
    plain,
    see_through,
    short,
    span,
)
from orchestrator.verdict.numbers import MISSING

ROW_PX, NARROW_ROW_PX = 34, 48
LETTER_PX = 7.2
MOST_BESIDE_PX = 230


@dataclass(frozen=True)
class Row:
    """An interval with its name, its label, and the lines that hovering shows beneath the name.

    `dots`: single values that it is made from, such as one a seed.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    tone: str
    label: str
    said: tuple[str, ...]
    dots: tuple[float, ...] = ()


@dataclass(frozen=True)
class Line:
    """A value across all rows."""

    at: float
    name: str
    kind: str = "line"


@dataclass(frozen=True)
class Range:
    """A shaded range of values across all rows; None is without an end."""

    low: float | None
    high: float | None
    tone: str = "none"
    strength: float = 0.12


def forest(
    groups: Sequence[tuple[str, Sequence[Row]]],
    axis: str,
    lines: Sequence[Line] = (),
    ranges: Sequence[Range] = (),
    place: Callable[[float], float] = float,
    ticks: Mapping[float, str] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figure, and what of its layout is other where it is narrow.

    Args:
        axis: what its title is; a line break in it counts where the figure is narrow.
        place: where a value is drawn, for an axis that is not linear; `ticks` then are its labels
            by value.
    """
    drawn = [(name, rows) for name, rows in groups if rows]
    rows, titles, y = _laid(drawn)
    beside = min(MOST_BESIDE_PX, LETTER_PX * max((len(r.label) for _, r in rows), default=0) + 16)
    figure = new_figure(int(ROW_PX * y + 76), showlegend=bool(lines))
    figure.update_layout(margin={"r": int(beside)})
    ends = [v for _, r in rows for v in (r.value, r.low, r.high, *r.dots)]
    ends += [line.at for line in lines]
    ends += [edge for one in ranges for edge in (one.low, one.high) if len(ranges) == 1]
    low, high = span([None if v is None else place(v) for v in ends])
    for one in ranges:
        start = low if one.low is None else max(low, min(high, place(one.low)))
        end = high if one.high is None else max(low, min(high, place(one.high)))
        figure.add_shape(
            type="rect", x0=start, x1=end, y0=0, y1=1, yref="paper", layer="below", line_width=0,
            fillcolor=TONES[one.tone], opacity=one.strength,
        )  # fmt: skip
    for line in lines:
        at = place(line.at)
        figure.add_scatter(
            x=[at, at], y=[0.6, -y], mode="lines", name=escape(line.name), hoverinfo="name",
            line={"color": FAINT if line.kind != "band" else TONES["gain"], "width": 1.5,
                  "dash": DASHES[line.kind]},
            meta="skip",
        )  # fmt: skip
    _add_rows(figure, rows, place)
    figure.update_xaxes(
        range=[low, high], title_text=escape(" ".join(axis.split("\n"))), showline=True,
        ticks="outside", nticks=7,
    )  # fmt: skip
    if ticks is not None:
        figure.update_xaxes(tickvals=[place(one) for one in ticks], ticktext=list(ticks.values()))
    figure.update_yaxes(
        range=[-y + 0.4, 0.7], showgrid=False, showline=False, fixedrange=True,
        tickvals=[at for at, _ in rows],
        ticktext=[escape(short(row.name)) for _, row in rows], tickfont={"color": INK},
    )  # fmt: skip
    made = plain(figure)
    made["layout"]["annotations"] = [*_titles(titles), *_labels(rows), *_missing(rows, low, high)]
    narrow = {
        "yaxis.showticklabels": False,
        "margin.r": 12,
        "xaxis.title.text": "<br>".join(map(escape, axis.split("\n"))),
        "height": int(NARROW_ROW_PX * y + 80),
        "annotations": [
            *_titles(titles),
            *_labels_above(rows),
            *_missing(rows, low, high),
        ],
    }
    return made, narrow


def _laid(
    groups: Sequence[tuple[str, Sequence[Row]]],
) -> tuple[list[tuple[float, Row]], list[tuple[float, str]], float]:
    """Rows and titles from above with their heights, and how many rows all of it takes."""
    rows: list[tuple[float, Row]] = []
    titles: list[tuple[float, str]] = []
    y = 0.0
    for name, group in groups:
        if name:
            titles.append((-y, name))
            y += 1
        for row in group:
            rows.append((-y, row))
            y += 1
    return rows, titles, y


def _add_rows(
    figure: Any, rows: Sequence[tuple[float, Row]], place: Callable[[float], float]
) -> None:
    known = [(y, row, row.value) for y, row in rows if row.value is not None]
    dots = [(place(dot), y) for y, row, _ in known for dot in row.dots]
    if dots:
        figure.add_scatter(
            x=[x for x, _ in dots], y=[y for _, y in dots], mode="markers", hoverinfo="skip",
            marker={"symbol": "line-ns-open", "size": 9, "color": FAINT}, showlegend=False,
            meta="skip",
        )  # fmt: skip
    for tone in dict.fromkeys(row.tone for _, row, _ in known):
        some = [one for one in known if one[1].tone == tone]
        at = [place(value) for _, _, value in some]
        highs = [0.0 if r.high is None else place(r.high) - place(v) for _, r, v in some]
        lows = [0.0 if r.low is None else place(v) - place(r.low) for _, r, v in some]
        figure.add_scatter(
            x=at, y=[y for y, _, _ in some], mode="markers", showlegend=False,
            error_x={"type": "data", "symmetric": False, "array": highs, "arrayminus": lows,
                     "color": TONES[tone], "thickness": 2, "width": 5},
            marker={"color": TONES[tone], "symbol": SYMBOLS[tone], "size": 11, "line_width": 2},
            hovertext=[_said(row) for _, row, _ in some], hoverinfo="text",
        )  # fmt: skip
    ends = [(place(end), y, row) for y, row, _ in known for end in (row.low, row.high)
            if end is not None]  # fmt: skip
    if ends:  # so that an interval answers along its whole length
        figure.add_scatter(
            x=[x for x, _, _ in ends], y=[y for _, y, _ in ends], mode="markers",
            marker={"size": 14, "opacity": 0}, hovertext=[_said(row) for _, _, row in ends],
            hoverinfo="text", showlegend=False, meta="skip",
        )  # fmt: skip


def _said(row: Row) -> str:
    return hover(row.name, *row.said, row.label)


def _titles(titles: Sequence[tuple[float, str]]) -> list[dict[str, Any]]:
    return [_text(0, y, f"<b>{escape(name)}</b>", SOFT, "left", 12) for y, name in titles]


def _labels(rows: Sequence[tuple[float, Row]]) -> list[dict[str, Any]]:
    most = int(MOST_BESIDE_PX / LETTER_PX) - 1
    return [
        {**_text(1, y, escape(short(row.label, most)), TONES[row.tone], "left", 12), "xshift": 8}
        for y, row in rows
    ]


def _labels_above(rows: Sequence[tuple[float, Row]]) -> list[dict[str, Any]]:
    """Name and label over the row: at its sides there is no room."""
    made = []
    for y, row in rows:
        room = max(14, 44 - len(row.label))
        made.append({**_text(0, y, f"<b>{escape(short(row.name, room))}</b>", INK, "left", 12),
                     "yshift": 15})  # fmt: skip
        label = escape(short(row.label, 30))
        made.append({**_text(1, y, label, TONES[row.tone], "right", 12), "yshift": 15})
    return made


def _missing(rows: Sequence[tuple[float, Row]], low: float, high: float) -> list[dict[str, Any]]:
    middle = (low + high) / 2
    return [
        {**_text(middle, y, MISSING, SOFT, "center", 12), "xref": "x"}
        for y, row in rows
        if row.value is None
    ]


def _text(x: float, y: float, text: str, colour: str, anchor: str, size: int) -> dict[str, Any]:
    return {
        "x": x, "xref": "paper", "xanchor": anchor, "y": y, "yref": "y", "text": text,
        "showarrow": False, "font": {"color": colour, "size": size},
        "bgcolor": see_through(PAPER, 0.8), "borderpad": 1,
    }  # fmt: skip


def faded(colour: str) -> str:
    """For the band around a line."""
    return see_through(colour, 0.16)
