"""Claims as a picture: each figure with its runs and its interval, over where it should lie."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.claims.result import CANDIDATE, CONTRADICTED, HOLDS, ClaimResult, StudyClaims
from orchestrator.claims.sentences import figure_text
from orchestrator.report.plots import COLOURS, FAINT, INK, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TONES = {HOLDS: "gain", CONTRADICTED: "harm"}
MOST_ROWS = 24


def plot_claims(claims: StudyClaims, path: Path) -> Path | None:
    """A row a claim, each on its own scale. None, and no file, without any figure."""
    shown = [one for one in claims.claims if one.value is not None][:MOST_ROWS]
    if not shown:
        return None
    figure = new_figure(8.5, 0.5 + 0.75 * len(shown))
    axes = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axis, one in zip(axes, shown, strict=True):
        _row(axis, one)
    return save(figure, path)


def _row(axis: Axes, one: ClaimResult) -> None:
    assert one.value is not None
    colour = COLOURS[TONES.get(one.label.removeprefix(f"{CANDIDATE}: "), "unsure")]
    face = "white" if one.label.startswith(CANDIDATE) else colour
    points = [r.value for r in one.figures if r.value is not None and math.isfinite(r.value)]
    found = [v for v in (one.value, one.low, one.high, *points) if v is not None]
    found += [edge for edge in one.expected if edge is not None]
    room = 0.06 * (max(found) - min(found)) or 0.05
    left, right = min(found) - room, max(found) + room
    low, high = one.expected
    axis.axvspan(
        left if low is None else low, right if high is None else high,
        color=COLOURS["gain"], alpha=0.12, linewidth=0,
    )  # fmt: skip
    for edge in one.expected:
        if edge is not None:
            axis.axvline(edge, color=COLOURS["gain"], linewidth=0.8, linestyle="dotted")
    if one.statistic != "runs":
        axis.plot(points, [0] * len(points), "|", color=FAINT, markersize=9, alpha=0.7)
    if one.low is not None and one.high is not None:
        axis.plot([one.low, one.high], [0, 0], color=colour, linewidth=2.4, solid_capstyle="butt")
    axis.plot([one.value], [0], "o", color=colour, markersize=6, markerfacecolor=face)
    axis.set_xlim(left, right)
    axis.set_ylim(-1, 1)
    axis.set_yticks([])
    axis.set_title(
        f"{one.name}: {figure_text(one)}, {one.label}", fontsize=8.5, loc="left", color=INK
    )
    axis.tick_params(labelsize=7)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
