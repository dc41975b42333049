"""Pictures of effects: the matrix as a heat map, and interactions as a graph and a heat map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.effects.effect import HARMS, HELPS, INTERFERENCE, SYNERGY, EffectTable
from orchestrator.report.plots import COLOURS, FAINT, INK, new_figure, save
from orchestrator.verdict.numbers import shown, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NAMED = 8
"""Rows or columns that are named, and cells that hold their number: of more there is no room."""
MOST_DRAWN = 10
"""Factors of a heat map: 32 x 32 cells."""
PAIRS = ("sii", "interaction")
FOUND = frozenset({HELPS, HARMS, SYNERGY, INTERFERENCE})
"""Labels of figures that are drawn filled and solid."""


def plot_matrix(table: EffectTable, path: Path) -> Path | None:
    """The mean of every coalition: the first half of the factors down, the second half across.

    None, and no file, without any value or with more factors than can be drawn.
    """
    factors = table.factors
    known = [cell.value for cell in table.coalitions if cell.value is not None]
    if not known or not factors or len(factors) > MOST_DRAWN:
        return None
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    down, across = factors[: len(factors) // 2], factors[len(factors) // 2 :]
    rows, columns = states(down), states(across)
    figure = new_figure(2.6 + 0.85 * min(len(columns), 14), 1.8 + 0.5 * min(len(rows), 14))
    axis = figure.subplots()
    low, high = min(known), max(known)
    scale = Normalize(low, high if high > low else low + 1)
    colours = colormaps["cividis"]
    values = {cell.on: cell.value for cell in table.coalitions}
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            value = values.get(tuple(name for name in factors if name in (*row, *column)))
            _square(axis, x, y, value, scale, colours, len(columns) <= MOST_NAMED)
    _named(axis, rows, columns)
    bar = figure.colorbar(ScalarMappable(scale, colours), ax=axis, shrink=0.9)
    bar.set_label(f"{table.metric}{f' ({table.unit})' if table.unit else ''}")
    told = "trained with" if table.question == "causal effect" else "switched on"
    axis.set_title(f"{table.question}, {table.about}: what is {told}", fontsize=9, color=FAINT)
    return save(figure, path)


def plot_interactions(table: EffectTable, path: Path) -> Path | None:
    """Factors on a circle, as large as their Shapley value; lines are Shapley interactions.

    A line is dashed, and a circle hollow, where the label is no finding. None, and no file, without
    Shapley values.
    """
    shapley = {name: table.find("shapley", name) for name in table.factors}
    sizes = {name: one.value for name, one in shapley.items() if one and one.value is not None}
    if not sizes:
        return None
    count = len(table.factors)
    places = {
        name: (
            math.sin(2 * math.pi * i / max(count, 1)),
            math.cos(2 * math.pi * i / max(count, 1)),
        )
        for i, name in enumerate(table.factors)
    }
    figure = new_figure(6.4, 6.0)
    axis = figure.subplots()
    _lines(axis, table, places)
    largest = max(abs(value) for value in sizes.values()) or 1.0
    for name, value in sizes.items():
        one = shapley[name]
        sure = one is not None and one.label in FOUND
        x, y = places[name]
        colour = _colour(table, value)
        axis.scatter(
            [x], [y], s=250 + 1500 * abs(value) / largest, facecolor=colour if sure else "white",
            edgecolor=colour, linewidth=1.8, zorder=3,
        )  # fmt: skip
        axis.text(
            1.4 * x, 1.36 * y, f"{name}\n{signed(value, 2)}",
            ha="center", va="center", fontsize=9, color=INK, zorder=4,
        )  # fmt: skip
    axis.set_xlim(-1.65, 1.65)
    axis.set_ylim(-1.6, 1.6)
    axis.set_aspect("equal")
    axis.axis("off")
    axis.set_title(
        f"{table.question}, {table.about}: Shapley values and interactions\n"
        "green: good, red: bad; hollow or dashed: no finding (inconclusive, a candidate, or 0)",
        fontsize=9,
        color=FAINT,
    )
    return save(figure, path)


def _lines(axis: Axes, table: EffectTable, places: dict[str, tuple[float, float]]) -> None:
    pairs = [e for e in table.effects if e.kind == pair_kind(table) and len(e.of) == 2]
    known = [abs(one.value) for one in pairs if one.value is not None]
    largest = max(known, default=0.0)
    if not largest:
        return
    for one in pairs:
        if one.value is None or abs(one.value) < 0.05 * largest:
            continue
        (x0, y0), (x1, y1) = places[one.of[0]], places[one.of[1]]
        sure = one.label in FOUND
        colour = _colour(table, one.value)
        axis.plot(
            [x0, x1], [y0, y1], color=colour, linewidth=0.8 + 5 * abs(one.value) / largest,
            linestyle="solid" if sure else "dashed", alpha=0.75, zorder=1,
        )  # fmt: skip
        if len(table.factors) <= MOST_NAMED:
            axis.text(
                (x0 + x1) / 2, (y0 + y1) / 2, signed(one.value, 2), fontsize=8, color=INK,
                ha="center", va="center", zorder=2, bbox={"facecolor": "white", "edgecolor": "none",
                "pad": 1.0, "alpha": 0.85},
            )  # fmt: skip


def pair_kind(table: EffectTable) -> str:
    """Shapley interactions where there are any: those with the others off say less."""
    there = {effect.kind for effect in table.effects if len(effect.of) == 2}
    return next((kind for kind in PAIRS if kind in there), PAIRS[0])


def _colour(table: EffectTable, value: float) -> str:
    good = value > 0 if table.direction == "higher" else value < 0
    return COLOURS["gain"] if good else COLOURS["harm"]


def states(factors: Sequence[str]) -> list[tuple[str, ...]]:
    """Every combination of some factors, in binary order, the first one the highest."""
    states: list[tuple[str, ...]] = [()]
    for name in reversed(factors):
        states = [*states, *((name, *state) for state in states)]
    return states


def _named(axis: Axes, rows: Sequence[tuple[str, ...]], columns: Sequence[tuple[str, ...]]) -> None:
    def text(state: tuple[str, ...]) -> str:
        return "+".join(state) or "none"

    wide, tall = len(columns) <= MOST_NAMED, len(rows) <= MOST_NAMED
    axis.set_xticks(range(len(columns)) if wide else [], [text(c) for c in columns if wide])
    axis.set_yticks(range(len(rows)) if tall else [], [text(r) for r in rows if tall])
    if wide and any(len(text(c)) > 9 for c in columns):
        axis.tick_params(axis="x", labelrotation=30)
    axis.set_xlim(-0.5, len(columns) - 0.5)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)


def _square(
    axis: Axes, x: int, y: int, value: float | None, scale: Any, colours: Any, written: bool
) -> None:
    from matplotlib.patches import Rectangle

    face: Any = "white" if value is None else colours(scale(value))
    edge = "#e6e8eb" if value is None else face
    axis.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, facecolor=face, edgecolor=edge))
    if not written:
        return
    light = value is None or 0.299 * face[0] + 0.587 * face[1] + 0.114 * face[2] > 0.5
    axis.text(
        x, y, shown(value, 2), ha="center", va="center", fontsize=8,
        color=FAINT if value is None else INK if light else "white",
    )  # fmt: skip
