"""The plots of a verdict: means, differences, and the arms over their factors."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from orchestrator.report.factors import FactorGrid, cell_value, grid_of
from orchestrator.report.interactive.forest import Line, Range, Row, forest
from orchestrator.report.interactive.plot import Plot, hover, new_figure, plain
from orchestrator.report.plots import reference_lines
from orchestrator.report.rows import (
    cell,
    counts_text,
    delta_text,
    family_text,
    level,
    mean_text,
    places,
    tone,
)
from orchestrator.report.sections import ShownTable
from orchestrator.verdict.numbers import shown
from orchestrator.verdict.result import ArmVerdict, Verdict


def means_plot(verdict: Verdict) -> Plot:
    """Mean by arm with its interval, controls apart."""
    digits, sure = places(verdict), level(verdict.confidence)

    def row(arm: ArmVerdict) -> Row:
        said = (
            f"mean {mean_text(arm, digits)} {verdict.unit}",
            f"trials {counts_text(arm)}",
            arm.why,
        )
        return Row(arm.arm, arm.mean, arm.ci_low, arm.ci_high, tone(arm), arm.label, said)

    groups = [("Arms" if verdict.controls else "", [row(arm) for arm in verdict.arms])]
    groups.append(("Controls, never ranked", [row(arm) for arm in verdict.controls]))
    lines = [
        Line(value, f"{name}: {shown(value, digits)}", style)
        for name, value, style in reference_lines(verdict)
    ]
    axis = f"{verdict.metric} ({verdict.unit}), {verdict.direction} is better"
    figure, narrow = forest(groups, axis, lines)
    title = f"{verdict.metric} by arm, with intervals"
    note = f"Mean over trials with its {sure} interval; {verdict.direction} is better."
    table = ShownTable(
        title,
        ("arm", "mean", "trials", "label"),
        tuple(
            (arm.arm, mean_text(arm, digits), counts_text(arm), arm.label)
            for arm in (*verdict.arms, *verdict.controls)
        ),
        frozenset({1}),
    )
    return Plot(title, note, figure, table, narrow)


def differences_plot(verdict: Verdict) -> Plot | None:
    """Difference to the comparator by arm, over the bands; None without an arm to compare."""
    digits = places(verdict)
    arms = [arm for arm in verdict.arms if arm.arm != verdict.comparator]
    if not arms:
        return None
    rows = [
        Row(
            arm.arm,
            arm.delta,
            arm.delta_ci_low,
            arm.delta_ci_high,
            tone(arm),
            arm.label,
            (
                f"difference {delta_text(arm, digits)} {verdict.unit}",
                f"trials {counts_text(arm)}",
                f"point estimate {arm.band}" if arm.band else "",
                arm.why,
            ),
        )
        for arm in arms
    ]
    sign = 1.0 if verdict.direction == "higher" else -1.0
    ranges = []
    for i, (edge, above) in enumerate(pairwise([*(at for at, _ in verdict.bands), None])):
        assert edge is not None
        ends = (sign * edge, None if above is None else sign * above)
        low, high = ends if sign > 0 else ends[::-1]
        ranges.append(Range(low, high, "gain", 0.07 + 0.06 * i))
    lines = [Line(0.0, "no difference")]
    lines += [Line(sign * at, f"{at:g} ({name})", "band") for at, name in verdict.bands[:1]]
    axis = f"{verdict.metric} minus {verdict.comparator} ({verdict.unit})"
    figure, narrow = forest([("", rows)], axis, lines, ranges)
    title = f"Difference to {verdict.comparator} by arm, with bands"
    bands = ", ".join(f"{at:g} ({name})" for at, name in verdict.bands)
    note = f"Arm minus {verdict.comparator}, with {family_text(verdict)}; bands from {bands}."
    table = ShownTable(
        title,
        ("arm", "difference", "label", "band of the point estimate"),
        tuple((arm.arm, delta_text(arm, digits), arm.label, arm.band or "-") for arm in arms),
        frozenset({1}),
    )
    return Plot(title, note, figure, table, narrow)


def factor_plots(verdict: Verdict) -> tuple[Plot, ...]:
    """A heat map for each panel of the grid of factors; none without two factors."""
    grid = grid_of(verdict)
    if grid is None or not grid.down:
        return ()
    found = [cell_value(arms) for table in grid.panels.values() for arms in table.values()]
    known = [value for value in found if value is not None]
    if not known:
        return ()
    return tuple(_panel(verdict, grid, at, min(known), max(known)) for at in grid.panels)


def _panel(verdict: Verdict, grid: FactorGrid, at: object, low: float, high: float) -> Plot:
    digits, table = places(verdict), grid.panels[at]

    def arms_at(row: object, column: object) -> Sequence[ArmVerdict]:
        return table.get((row, column), ())

    values = [[cell_value(arms_at(r, c)) for c in grid.columns] for r in grid.rows]
    texts = [
        [shown(cell_value(arms), digits) if (arms := arms_at(r, c)) else "" for c in grid.columns]
        for r in grid.rows
    ]
    said = [
        [
            hover(", ".join(a.arm for a in arms), *(mean_text(a, digits) for a in arms),
                  *(f"{counts_text(a)}; {a.label}" for a in arms))
            if (arms := arms_at(r, c)) else "not in the design"
            for c in grid.columns
        ]
        for r in grid.rows
    ]  # fmt: skip
    figure = new_figure(110 + 46 * len(grid.rows))
    figure.add_heatmap(
        z=values, text=texts, hovertext=said, hoverinfo="text", texttemplate="%{text}",
        colorscale="Cividis", zmin=low, zmax=high, showscale=False, xgap=2, ygap=2,
        x=list(range(len(grid.columns))), y=list(range(len(grid.rows))),
    )  # fmt: skip
    figure.update_xaxes(
        tickvals=list(range(len(grid.columns))), ticktext=[escape(cell(c)) for c in grid.columns],
        title_text=escape(grid.across), showgrid=False,
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(grid.rows))), ticktext=[escape(cell(r)) for r in grid.rows],
        title_text=escape(grid.down), showgrid=False, autorange="reversed",
    )  # fmt: skip
    where = f", {grid.panel} = {cell(at)}" if grid.panel else ""
    title = f"{verdict.metric} over {grid.down} and {grid.across}{where}"
    rows = tuple(
        (cell(r), *(text or "-" for text in line)) for r, line in zip(grid.rows, texts, strict=True)
    )
    head = (f"{grid.down} / {grid.across}", *map(cell, grid.columns))
    figures = ShownTable(title, head, rows, frozenset(range(1, len(head))))
    note = f"Mean {verdict.metric} in {verdict.unit}; empty: not in the design."
    return Plot(title, note, plain(figure), figures, wide=len(grid.columns) > 4)
