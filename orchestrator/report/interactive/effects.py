"""The plots of effects: every figure with its interval, and heat maps of combinations and pairs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from orchestrator.effects.effect import (
    HARMS,
    HELPS,
    INTERFERENCE,
    NULL_PLAYER,
    SYNERGY,
    ZERO,
    Effect,
    EffectTable,
)
from orchestrator.report.effect_pictures import MOST_DRAWN, MOST_NAMED, pair_kind, states
from orchestrator.report.effects import KINDS, MOST_ROWS, value_text
from orchestrator.report.interactive.forest import Line, Row, forest
from orchestrator.report.interactive.plot import Plot, hover, new_figure, plain
from orchestrator.report.rows import level
from orchestrator.report.sections import ShownTable
from orchestrator.verdict.numbers import MISSING, interval, shown, signed

TONES = {
    HELPS: "gain",
    SYNERGY: "gain",
    HARMS: "harm",
    INTERFERENCE: "harm",
    NULL_PLAYER: "none",
    ZERO: "none",
}


def effect_plots(table: EffectTable) -> tuple[Plot, ...]:
    """Figures of one factor, and of several; and pairs as a heat map."""
    known = [one for one in table.effects if one.value is not None]
    made = [
        _forest(table, what, some)
        for what, some in (
            ("of each factor", [one for one in known if len(one.of) <= 1]),
            ("of factors together", [one for one in known if len(one.of) > 1]),
        )
        if some
    ]
    pairs = _pairs(table)
    return (*made, *([pairs] if pairs is not None else []))


def matrix_plot(table: EffectTable) -> Plot | None:
    """The mean of every combination as a heat map; None where it cannot be drawn."""
    factors = table.factors
    known = [cell.value for cell in table.coalitions if cell.value is not None]
    if not known or not factors or len(factors) > MOST_DRAWN:
        return None
    down, across = factors[: len(factors) // 2], factors[len(factors) // 2 :]
    rows, columns = states(down), states(across)
    cells = {cell.on: cell for cell in table.coalitions}

    def at(row: tuple[str, ...], column: tuple[str, ...]) -> Any:
        return cells.get(tuple(name for name in factors if name in (*row, *column)))

    def said(row: tuple[str, ...], column: tuple[str, ...]) -> str:
        one = at(row, column)
        if one is None:
            return "not asked for"
        ends = interval(one.low, one.high, 2)
        return hover(one.name, f"{table.metric} {shown(one.value, 2)}",
                     "" if ends == MISSING else ends)  # fmt: skip

    found = [[at(row, column) for column in columns] for row in rows]
    figure = _heat(
        [[None if one is None else one.value for one in line] for line in found],
        [[said(row, column) for column in columns] for row in rows],
        ["+".join(row) or "none" for row in rows],
        ["+".join(column) or "none" for column in columns],
        2,
    )
    told = "trained with" if table.question == "causal effect" else "switched on"
    title = f"{_named(table)}: every combination"
    unit = f", in {table.unit}" if table.unit else ""
    note = f"Mean {table.metric}{unit} by what is {told}: some factors down, the others across."
    figures = ShownTable(
        title,
        ("on", table.metric, "interval"),
        tuple((c.name, shown(c.value, 2), interval(c.low, c.high, 2)) for c in table.coalitions),
        frozenset({1, 2}),
    )
    return Plot(title, note, figure, figures, wide=len(columns) > 4)


def _forest(table: EffectTable, what: str, effects: Sequence[Effect]) -> Plot:
    some = list(effects)[:MOST_ROWS]
    groups = [
        (KINDS[kind], [_row(table, one) for one in some if one.kind == kind])
        for kind in dict.fromkeys(one.kind for one in some)
    ]
    unit = f" ({table.unit})" if table.unit else ""
    figure, narrow = forest(groups, f"{table.metric}{unit}", [Line(0.0, "no effect")])
    title = f"{_named(table)}: figures {what}"
    left = len(effects) - len(some)
    note = (
        f"{level(some[0].confidence)} intervals, simultaneous over the figures of a kind and order."
        + (f" {left} more are in effects.csv." if left else "")
    )
    rows = tuple(
        (KINDS[one.kind], "+".join(one.of) or "all", value_text(one), one.label) for one in some
    )
    head = ("figure", "of", "value", "label")
    return Plot(title, note, figure, ShownTable(title, head, rows, frozenset({2})), narrow)


def _row(table: EffectTable, one: Effect) -> Row:
    models = "seeds" if table.question == "causal effect" else "models"
    said = (f"{KINDS[one.kind]}: {value_text(one)}", f"{one.replicates} {models}", one.why)
    name = "+".join(one.of) or "all"
    tone = TONES.get(one.label, "unsure")
    return Row(name, one.value, one.low, one.high, tone, one.label, said)


def _pairs(table: EffectTable) -> Plot | None:
    """Interactions of pairs, factor by factor; None for fewer than three factors."""
    kind = pair_kind(table)
    found = {one.of: one for one in table.effects if one.kind == kind and len(one.of) == 2}
    if len(table.factors) < 3 or not any(one.value is not None for one in found.values()):
        return None

    def at(row: str, column: str) -> Effect | None:
        return found.get((row, column)) or found.get((column, row))

    grid = [[at(row, column) for column in table.factors] for row in table.factors]
    figure = _heat(
        [[None if one is None else one.value for one in line] for line in grid],
        [["" if one is None else hover("+".join(one.of), value_text(one), one.label)
          for one in line] for line in grid],
        table.factors,
        table.factors,
        2,
        middle=True,
    )  # fmt: skip
    title = f"{_named(table)}: interactions of pairs"
    rows = tuple(("+".join(of), value_text(one), one.label) for of, one in found.items())
    figures = ShownTable(title, ("pair", KINDS[kind], "label"), rows, frozenset({1}))
    note = f"{KINDS[kind]} of each two factors, in {table.unit or table.metric}."
    return Plot(title, note, figure, figures, wide=len(table.factors) > 5)


def _heat(
    values: Sequence[Sequence[float | None]],
    said: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
    digits: int,
    middle: bool = False,
) -> dict[str, Any]:
    """Cells with their numbers, where there is room for them; `middle`: 0 is the middle colour."""
    written = len(columns) <= MOST_NAMED
    number = signed if middle else shown
    texts = [["" if v is None else number(v, digits) for v in line] for line in values]
    known = [abs(v) for line in values for v in line if v is not None]
    figure = new_figure(120 + (44 if written else 16) * len(rows))
    limits = {"zmin": -max(known), "zmax": max(known)} if middle and max(known) > 0 else {}
    figure.add_heatmap(
        z=values, text=texts, texttemplate="%{text}" if written else None, hovertext=said,
        hoverinfo="text", colorscale="PRGn" if middle else "Cividis", xgap=2, ygap=2,
        showscale=not written, x=list(range(len(columns))), y=list(range(len(rows))), **limits,
    )  # fmt: skip
    for names, update in ((columns, figure.update_xaxes), (rows, figure.update_yaxes)):
        shown_names = len(names) <= MOST_NAMED
        update(tickvals=list(range(len(names))) if shown_names else [],
               ticktext=[escape(name) for name in names] if shown_names else [],
               showgrid=False)  # fmt: skip
    figure.update_yaxes(autorange="reversed")
    return plain(figure)


def _named(table: EffectTable) -> str:
    return f"{table.question.capitalize()} ({table.arm or table.about})"
