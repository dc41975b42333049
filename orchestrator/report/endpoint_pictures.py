"""Endpoints as a picture: every difference with its seeds and its interval, over the margin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.endpoints.result import (
    CANDIDATE,
    HIGHER,
    IDENTICAL,
    LOWER,
    NO_EFFECT,
    Comparison,
)
from orchestrator.endpoints.sentences import difference_text
from orchestrator.report.plots import COLOURS, FAINT, HOLLOW, INK, MARKERS, new_figure, save
from orchestrator.verdict.numbers import MISSING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TONES = {HIGHER: "gain", LOWER: "harm", NO_EFFECT: "plain", IDENTICAL: "plain"}
"""Higher and lower have unlike colours and markers; neither is better."""
MOST_ROWS = 160
ROW_IN = 0.2
TITLE_ROWS = 2.7
FAR = 12.0
"""A panel that reaches so many margins out is logarithmic beyond the margin, so that the margin and
what lies within can still be seen."""


def plot_endpoints(groups: Sequence[Sequence[Comparison]], path: Path) -> Path | None:
    """A panel an endpoint, each on its own scale. None, and no file, without any difference."""
    shown = [list(group) for group in groups if any(one.value is not None for one in group)]
    while sum(map(len, shown)) > MOST_ROWS and len(shown) > 1:
        shown.pop()
    if not shown:
        return None
    rows = [len(group) for group in shown]  # axes alone: titles and ticks take their own room
    figure = new_figure(9.5, 0.4 + ROW_IN * (sum(rows) + TITLE_ROWS * len(rows)))
    axes = figure.subplots(len(shown), 1, squeeze=False, gridspec_kw={"height_ratios": rows})[:, 0]
    for axis, group in zip(axes, shown, strict=True):
        draw_panel(axis, group)
    return save(figure, path)


def draw_panel(axis: Axes, group: Sequence[Comparison]) -> None:
    """The comparisons of one endpoint, a row each."""
    first = group[0]
    limit = _limit(group)
    axis.axvspan(-first.margin, first.margin, color=FAINT, alpha=0.16, linewidth=0)
    for edge in (-first.margin, first.margin):
        axis.axvline(edge, color=FAINT, linewidth=0.8, linestyle=":")
    axis.axvline(0.0, color=INK, linewidth=1)
    far = limit > FAR * first.margin
    if far:
        axis.set_xscale("symlog", linthresh=first.margin, linscale=1.0)
    axis.set_xlim(-limit, limit)
    for y, one in enumerate(group):
        _row(axis, y, one)
    axis.set_yticks(
        range(len(group)),
        [f"{one.arm} (control)" if one.control else one.arm for one in group],
        fontsize=8.5,
    )
    axis.set_ylim(len(group) - 0.4, -0.6)
    unit = f" ({first.unit})" if first.unit else ""
    kind = "" if first.primary else ", secondary"
    axis.set_title(
        f"{first.endpoint}{kind}: {first.column} of {first.split}, minus {first.against}{unit}; "
        f"grey: ±{first.margin:g}{', logarithmic beyond' if far else ''}",
        fontsize=8.5,
        loc="left",
        color=INK,
    )
    axis.tick_params(axis="x", labelsize=7)
    axis.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _limit(group: Sequence[Comparison]) -> float:
    """Half the width of a panel."""
    ends = [end for one in group for end in (one.value, one.low, one.high)]
    ends += [seed.value for one in group for seed in one.differences]
    return 1.08 * max(group[0].margin, *(abs(end) for end in ends if end is not None))


def _row(axis: Axes, y: int, one: Comparison) -> None:
    kind = TONES.get(one.label.removeprefix(f"{CANDIDATE} "), "unsure")
    colour = COLOURS[kind]
    _beside(axis, y, one, colour)
    if one.value is None:
        axis.text(0.0, y, MISSING, color=FAINT, va="center", ha="center", fontsize=8)
        return
    seeds = [seed.value for seed in one.differences if seed.value is not None]
    axis.plot(seeds, [y] * len(seeds), "|", color=FAINT, markersize=7, alpha=0.8)
    if one.low is not None and one.high is not None:
        ends = [one.low, one.high]
        axis.plot(ends, [y, y], "|-", color=colour, linewidth=2, markersize=6)
    face = "white" if kind in HOLLOW else colour
    axis.plot(
        [one.value], [y], marker=MARKERS[kind], markersize=6, color=colour, markerfacecolor=face,
        markeredgewidth=1.4, linestyle="none",
    )  # fmt: skip


def _beside(axis: Axes, y: int, one: Comparison, colour: str) -> None:
    for offset_pt, text, tint in ((10, difference_text(one), INK), (190, one.label, colour)):
        axis.annotate(
            text, (1.0, y), xycoords=axis.get_yaxis_transform(), xytext=(offset_pt, 0),
            textcoords="offset points", va="center", fontsize=8, color=tint,
        )  # fmt: skip
