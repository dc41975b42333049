"""Plots of intervals in plain HTML and CSS: they fit any width, print, and follow dark mode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class StripRow:
    """One row of a plot: an interval with what is written beside it."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    numbers: str
    label: str
    tone: str
    description: str


@dataclass(frozen=True)
class Mark:
    """A line across all rows of a plot, or with `until` a shaded range."""

    at: float
    name: str
    kind: str = "line"
    until: float | None = None


def strip_plot(
    caption: str, groups: Sequence[tuple[str, Sequence[StripRow]]], marks: Sequence[Mark]
) -> str:
    """A figure of rows; each row's strip is an image to a screen reader, described in words."""
    rows = [row for _, group in groups for row in group]
    low, high = _domain(rows, marks)
    lines = "".join(_mark(mark, low, high) for mark in marks)
    body = []
    for name, group in groups:
        if name:
            body.append(f'<div class="strip-group">{escape(name)}</div>')
        body += [_row(row, low, high, lines) for row in group]
    legend = "".join(
        f'<li><span class="key {mark.kind}"></span>{escape(mark.name)}</li>'
        for mark in marks
        if mark.name and mark.until is None
    )
    measured = any(row.value is not None for row in rows)
    axis = "".join(
        f'<span style="left:{_percent(tick, low, high)}">{tick:g}</span>'
        for tick in (ticks(low, high) if measured else ())
    )
    return (
        f'<figure class="strips"><figcaption>{escape(caption)}</figcaption>'
        f'<ul class="legend">{legend}</ul>{"".join(body)}'
        '<div class="strip-row axis" aria-hidden="true"><span></span>'
        f'<div class="ticks">{axis}</div></div></figure>'
    )


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers within the range, 1, 2 or 5 times a power of ten apart."""
    span = high - low
    step = 10.0 ** math.floor(math.log10(span / most))
    while span / step > most:
        step *= 2.5 if round(step / 10 ** math.floor(math.log10(step))) == 2 else 2
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _row(row: StripRow, low: float, high: float, lines: str) -> str:
    inside = lines
    if row.value is None:
        inside += '<span class="missing">n/a</span>'
    else:
        if row.low is not None and row.high is not None:
            left, right = _fraction(row.low, low, high), _fraction(row.high, low, high)
            width = (right - left) * 100
            inside += f'<span class="ci" style="left:{left * 100:.2f}%;width:{width:.2f}%"></span>'
        inside += f'<span class="dot" style="left:{_percent(row.value, low, high)}"></span>'
    return (
        f'<div class="strip-row {row.tone}"><span class="name">{escape(row.name)}</span>'
        f'<div class="strip" role="img" aria-label="{escape(row.description)}">{inside}</div>'
        f'<span class="numbers">{escape(row.numbers)}</span>'
        f'<span class="label">{escape(row.label)}</span></div>'
    )


def _mark(mark: Mark, low: float, high: float) -> str:
    left = _fraction(mark.at, low, high)
    if mark.until is None:
        return f'<span class="mark {mark.kind}" style="left:{left * 100:.2f}%"></span>'
    start, end = sorted((left, _fraction(mark.until, low, high)))
    width = (end - start) * 100
    return f'<span class="range" style="left:{start * 100:.2f}%;width:{width:.2f}%"></span>'


def _domain(rows: Sequence[StripRow], marks: Sequence[Mark]) -> tuple[float, float]:
    found = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    found += [mark.at for mark in marks if mark.until is None]
    if not found:
        return 0.0, 1.0
    low, high = min(found), max(found)
    room = 0.04 * (high - low) or 0.5
    return low - room, high + room


def _fraction(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _percent(value: float, low: float, high: float) -> str:
    return f"{_fraction(value, low, high) * 100:.2f}%"
