"""The arms over their factors: a point plot, a heat map, or small multiples of heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.report.plots import COLOURS, FAINT, INK, new_figure, save
from orchestrator.report.rows import cell, factor_names, places, tone
from orchestrator.verdict.numbers import MISSING, shown
from orchestrator.verdict.result import ArmVerdict, Verdict

NOT_RUN = "-"


@dataclass(frozen=True)
class FactorGrid:
    """Arms laid out by up to three factors.

    Attributes:
        across, down: the factors of the columns and rows; `down` is empty for one factor.
        panel: the factor of the panels; empty where there are at most two.
        panels: by panel level, a table from (row level, column level) to the arms there.
    """

    across: str
    down: str
    panel: str
    columns: tuple[Any, ...]
    rows: tuple[Any, ...]
    panels: Mapping[Any, Mapping[tuple[Any, Any], tuple[ArmVerdict, ...]]]

    @property
    def full(self) -> bool:
        """Whether every cell has an arm."""
        cells = len(self.columns) * len(self.rows)
        return all(len(table) == cells for table in self.panels.values())


def factor_grid(
    arms: Sequence[ArmVerdict], comparator: ArmVerdict | None = None
) -> FactorGrid | None:
    """Lay the arms out; None where no arm has a factor, or one to three do not suffice.

    A factor with one level is left out. The factor with the fewest levels makes the panels. The
    comparator adds no level, but stands in a cell that is its own and would else be empty.
    """
    held = [arm for arm in arms if arm.factors]
    levels = {name: _levels(held, name) for name in factor_names(held)}
    names = [name for name, found in levels.items() if len(found) > 1]
    if not held or not names or len(names) > 3:
        return None
    panel = min(reversed(names), key=lambda name: len(levels[name])) if len(names) == 3 else ""
    rest = [name for name in names if name != panel]
    across, down = rest[0], rest[1] if len(rest) > 1 else ""
    panels: dict[Any, dict[tuple[Any, Any], tuple[ArmVerdict, ...]]] = {}
    for level in levels[panel] if panel else [""]:
        table: dict[tuple[Any, Any], tuple[ArmVerdict, ...]] = {}
        for arm in held:
            if panel and arm.factors.get(panel) != level:
                continue
            key = (arm.factors.get(down) if down else "", arm.factors.get(across))
            table[key] = (*table.get(key, ()), arm)
        panels[level] = table
    if comparator is not None:
        own = comparator.factors
        at = (own.get(down) if down else "", own.get(across))
        among = at[1] in levels[across] and (not down or at[0] in levels[down])
        its_panel = panels.get(own.get(panel) if panel else "")
        if among and its_panel is not None and at not in its_panel:
            its_panel[at] = (comparator,)
    rows = tuple(levels[down]) if down else ("",)
    return FactorGrid(across, down, panel, tuple(levels[across]), rows, panels)


def grid_of(verdict: Verdict) -> FactorGrid | None:
    """The grid of a verdict's arms."""
    rest = [arm for arm in verdict.arms if arm.arm != verdict.comparator]
    return factor_grid(rest, verdict.find(verdict.comparator))


def cell_value(arms: Sequence[ArmVerdict]) -> float | None:
    """The mean of the arms in a cell that have one; None where none has."""
    known = [arm.mean for arm in arms if arm.mean is not None]
    return sum(known) / len(known) if known else None


def plot_factors(verdict: Verdict, path: Path) -> Path | None:
    """Metric over the factor grid; None, and no file, where there is no grid to draw."""
    grid = grid_of(verdict)
    if grid is None:
        return None
    if not grid.down:
        return _points(verdict, grid, path)
    return _heat_maps(verdict, grid, path)


def _heat_maps(verdict: Verdict, grid: FactorGrid, path: Path) -> Path:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    count = len(grid.panels)
    width = max(5.0, count * (0.7 + 0.75 * len(grid.columns)) + 1.5)
    figure = new_figure(width, 1.6 + 0.62 * len(grid.rows))
    axes = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    found = [cell_value(arms) for table in grid.panels.values() for arms in table.values()]
    known = [value for value in found if value is not None] or [0.0]
    scale = Normalize(min(known), max(known) if max(known) > min(known) else min(known) + 1)
    colours = colormaps["cividis"]
    for axis, (level, table) in zip(axes, grid.panels.items(), strict=True):
        for y, row in enumerate(grid.rows):
            for x, column in enumerate(grid.columns):
                arms = table.get((row, column))
                value = cell_value(arms) if arms else None
                _square(axis, x, y, value, bool(arms), scale, colours, places(verdict))
        axis.set_xticks(range(len(grid.columns)), [cell(one) for one in grid.columns])
        axis.set_yticks(range(len(grid.rows)), [cell(one) for one in grid.rows])
        axis.set_xlim(-0.5, len(grid.columns) - 0.5)
        axis.set_ylim(len(grid.rows) - 0.5, -0.5)
        axis.set_xlabel(grid.across)
        axis.tick_params(length=0)
        for side in axis.spines.values():
            side.set_visible(False)
        if grid.panel:
            axis.set_title(f"{grid.panel} = {cell(level)}", fontsize=10)
    axes[0].set_ylabel(grid.down)
    figure.suptitle(_told(verdict, grid), fontsize=9, color=FAINT)
    bar = figure.colorbar(ScalarMappable(scale, colours), ax=list(axes), shrink=0.9)
    bar.set_label(f"{verdict.metric} ({verdict.unit})")
    return save(figure, path)


def _square(
    axis: Any, x: int, y: int, value: float | None, run: bool, scale: Any, colours: Any, digits: int
) -> None:
    from matplotlib.patches import Rectangle

    face: Any = "white"
    text, ink = NOT_RUN if not run else MISSING, FAINT
    if value is not None:
        face = colours(scale(value))
        text = shown(value, digits)
        light = 0.299 * face[0] + 0.587 * face[1] + 0.114 * face[2] > 0.5
        ink = INK if light else "white"
    edge = FAINT if run else "#e6e8eb"
    axis.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, facecolor=face, edgecolor=edge))
    axis.text(x, y, text, ha="center", va="center", fontsize=9, color=ink)


def _points(verdict: Verdict, grid: FactorGrid, path: Path) -> Path:
    figure = new_figure(max(5.0, 1.2 * len(grid.columns) + 2), 3.6)
    axis = figure.subplots()
    table = next(iter(grid.panels.values()))
    for x, column in enumerate(grid.columns):
        arms = table.get(("", column), ())
        for i, arm in enumerate(arms):
            at = x + 0.12 * (i - (len(arms) - 1) / 2)
            if arm.mean is None:
                axis.text(at, 0.02, MISSING, transform=axis.get_xaxis_transform(), ha="center")
                continue
            if arm.ci_low is not None and arm.ci_high is not None:
                axis.plot([at, at], [arm.ci_low, arm.ci_high], color=COLOURS[tone(arm)])
            axis.plot([at], [arm.mean], marker="o", color=COLOURS[tone(arm)])
    axis.set_xticks(range(len(grid.columns)), [cell(one) for one in grid.columns])
    axis.set_title(_told(verdict, grid), fontsize=9, color=FAINT)
    axis.set_xlabel(grid.across)
    axis.set_ylabel(f"{verdict.metric} ({verdict.unit})")
    axis.grid(axis="y", color="#e6e8eb", linewidth=0.6)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    return save(figure, path)


def _told(verdict: Verdict, grid: FactorGrid) -> str:
    comparator = verdict.find(verdict.comparator)
    value = shown(comparator.mean if comparator else None, places(verdict))
    return f"{verdict.comparator}: {value}" + (
        "" if grid.full else f"     {NOT_RUN} : not in the design"
    )


def _levels(arms: Sequence[ArmVerdict], name: str) -> list[Any]:
    found = list(dict.fromkeys(arm.factors.get(name) for arm in arms))
    numbers = [one for one in found if isinstance(one, (int, float)) and not isinstance(one, bool)]
    return sorted(numbers) + [one for one in found if one not in numbers]
