"""Effects as tables: causal effect and removal cost side by side, never in one column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orchestrator.effects.effect import (
    LEFT_OUT,
    Effect,
    EffectTable,
    StudyEffects,
)
from orchestrator.report.rows import level
from orchestrator.report.sections import Section, ShownTable
from orchestrator.verdict.numbers import MISSING, interval, shown, signed, telling

KINDS = {
    "shapley": "Shapley value",
    "banzhaf": "marginal contribution (Banzhaf)",
    "removal_cost": "switched off alone",
    LEFT_OUT: "left out alone",
    "interaction": "interaction, others off",
    "sii": "Shapley interaction",
    "stii": "Shapley-Taylor interaction",
    "total": "all on less all off",
}
MOST_ROWS = 60
"""Figures in a table of the report; all are in effects.csv."""
MOST_COALITIONS = 64
MOST_BRIEF = 16
MOST_REGIMES = 8
POINTS = frozenset({"points", "percent", "%"})
"""Units in which an interaction has a regime: its limits are in points."""
BRIEF = frozenset({"total", "shapley", "sii"})
TITLES = ("Effects of each factor", "Effects of factors together")
BRIEF_TITLES = ("Shapley values (all: all on less all off)", "Shapley interactions of pairs")

Key = tuple[tuple[str, ...], tuple[str, ...]]
"""What a row is of: kinds, of which each question has one at most, and factors."""
PLACES = 2


def effect_sections(
    effects: StudyEffects | None, pictures: Mapping[str, str], *, brief: bool = False
) -> list[Section]:
    """What a report says of effects; nothing for a study without.

    Args:
        pictures: file names by what they show.
        brief: for a terminal: Shapley values, interactions of pairs, and few combinations.
    """
    if effects is None or not (effects.tables() or effects.notes):
        return []
    tables = effects.tables()
    lines = [_intro(one) for one in tables]
    lines += [line for one in tables for line in _findings(one)]
    lines += effects.notes
    parts = _effect_tables(effects, brief)
    parts += _coalition_tables(effects, MOST_BRIEF if brief else MOST_COALITIONS)
    parts += [] if brief else _by_model(effects)
    return [Section("Effects", tuple(lines), tuple(parts), tuple(pictures.items()))]


def effect_rows(effects: StudyEffects) -> list[dict[str, object]]:
    """One row for each figure of each table, for other programs."""
    tables = [("", one) for one in effects.tables()]
    tables += [(trial, one) for trial, one in effects.subjects]
    return [
        {
            "question": one.question,
            "about": one.about,
            "trial": trial or None,
            "metric": one.metric,
            "kind": effect.kind,
            "of": "+".join(effect.of) or None,
            "value": effect.value,
            "low": effect.low,
            "high": effect.high,
            "confidence": effect.confidence,
            "family": effect.family,
            "replicates": effect.replicates,
            "sampling_se": effect.sampling_se,
            "label": effect.label,
            "why": effect.why or None,
        }
        for trial, one in tables
        for effect in one.effects
    ]


def coalition_rows(table: EffectTable) -> list[dict[str, object]]:
    """The matrix of one table: a row for each coalition; None is "not measured"."""
    flags = factor_columns(table)
    return [
        {
            "on": cell.name,
            **{column: factor in cell.on for factor, column in flags.items()},
            table.metric: cell.value,
            "low": cell.low,
            "high": cell.high,
            **{
                f"seed {seed}": value
                for seed, value in zip(table.seeds, cell.by_replicate, strict=False)
            },
        }
        for cell in table.coalitions
    ]


def factor_columns(table: EffectTable) -> dict[str, str]:
    """The column of each factor in the rows of `coalition_rows`."""
    from telemetry.counterfactual.coalitions import columns

    taken = ("on", table.metric, "low", "high", *(f"seed {seed}" for seed in table.seeds))
    return columns(table.factors, taken)


def value_text(effect: Effect | None, places: int = PLACES) -> str:
    """`+1.27 [+0.90, +1.64]`; "n/a" for what is not estimated. More places where an end would
    read as 0 and is none: the label goes by it."""
    if effect is None:
        return ""
    places = telling([effect.low, effect.high], [0.0], places)
    ends = interval(effect.low, effect.high, places, sign=True)
    value = signed(effect.value, places)
    return value if ends == MISSING else f"{value} {ends}"


def _intro(table: EffectTable) -> str:
    what = {
        "causal effect": "Causal effect: every combination is trained from the same seeds",
        "removal cost": "Removal cost: parts of a finished model are switched off",
    }[table.question]
    scored = f", {table.examples} examples" if table.examples else ""
    some = f"; {'; '.join(table.notes)}" if table.notes else ""
    sure = level(table.effects[0].confidence) if table.effects else ""
    return (
        f"{what} ({table.about}; {table.metric}{f', {table.unit}' if table.unit else ''}{scored}"
        f"{some}). {sure} intervals, simultaneous over the figures of a kind and order."
    )


def _findings(table: EffectTable) -> list[str]:
    """What is missing, and which factors change nothing."""
    found = []
    if table.problems:
        first = "; ".join(table.problems[:3])
        more = f"; and {len(table.problems) - 3} more" if len(table.problems) > 3 else ""
        found.append(f"{_title(table)}: no figure, its table is incomplete: {first}{more}.")
    found += _regimes(table)
    for name in table.null_players:
        found.append(
            f"{_title(table)}: {name} is a null player: switching it changes no score in any "
            "coalition that was measured with and without it."
        )
    return found


def _regimes(table: EffectTable) -> list[str]:
    """Pairs as the table describes them, where it is in points; those that are independent are
    counted."""
    from telemetry.counterfactual.matrix import REGIME_POINTS, regime

    sign = 1.0 if table.direction == "higher" else -1.0
    pairs = [
        (one, regime(sign * one.value))
        for one in table.effects
        if one.kind == "interaction" and len(one.of) == 2 and one.value is not None
    ]
    if not pairs or table.unit not in POINTS:
        return []
    told = [f"{'+'.join(one.of)} {name}" for one, name in pairs if name != "independent"]
    told = [
        *told[:MOST_REGIMES],
        *([f"{len(told) - MOST_REGIMES} more"] * (len(told) > MOST_REGIMES)),
    ]
    rest = sum(name == "independent" for _, name in pairs)
    told += [f"{rest} independent"] if rest else []
    return [
        f"{_title(table)}, pairs with the others off, beyond {REGIME_POINTS:g} points either way "
        f"(a description, not a verdict): {', '.join(told)}."
    ]


def _title(table: EffectTable) -> str:
    return f"{table.question} ({table.arm})" if table.arm else table.question


def _effect_tables(effects: StudyEffects, brief: bool) -> list[ShownTable]:
    """Figures by row, questions by column; of a factor first, then of pairs and triples."""
    tables = effects.tables()
    if not any(one.value is not None for table in tables for one in table.effects):
        return []
    keys = _keys(tables)
    if brief:
        keys = [key for key in keys if key[0][0] in BRIEF and len(key[1]) < 3]
    parts = []
    titles = BRIEF_TITLES if brief else TITLES
    for title, chosen in zip(titles, _by_order(keys), strict=True):
        if not chosen:
            continue
        head = ["of"] if brief else ["figure", "of"]
        first = len(head)
        for table in tables:
            head += [table.question if brief and len(tables) < 3 else _title(table), "label"]
        rows = []
        for kinds, of in chosen[:MOST_ROWS]:
            found = [_find(table, kinds, of) for table in tables]
            places = 1 if brief else PLACES
            cells = [text for one in found for text in (value_text(one, places), _label(one))]
            named = "+".join(of) or "all"
            rows.append((named, *cells) if brief else (_kind_text(kinds), named, *cells))
        more = len(chosen) - MOST_ROWS
        caption = title + (f" ({more} more in effects.csv)" if more > 0 else "")
        numbers = frozenset(range(first, len(head), 2))
        parts.append(ShownTable(caption, tuple(head), tuple(rows), numbers))
    return parts


def _by_order(keys: Sequence[Key]) -> tuple[list[Key], list[Key]]:
    """Those of one factor, or of none, and those of several."""
    return [key for key in keys if len(key[1]) <= 1], [key for key in keys if len(key[1]) > 1]


def _keys(tables: Sequence[EffectTable]) -> list[Key]:
    """(kinds, of) of each row, in order; what each question calls by its own name shares a row."""
    order = list(KINDS)
    found = {
        (_same_row(effect.kind), effect.of): None for table in tables for effect in table.effects
    }
    return sorted(found, key=lambda key: (len(key[1]), order.index(key[0][0])))


def _same_row(kind: str) -> tuple[str, ...]:
    return ("removal_cost", LEFT_OUT) if kind in ("removal_cost", LEFT_OUT) else (kind,)


def _find(table: EffectTable, kinds: Iterable[str], of: tuple[str, ...]) -> Effect | None:
    return next((one for kind in kinds if (one := table.find(kind, *of)) is not None), None)


def _kind_text(kinds: Sequence[str]) -> str:
    return " / ".join(KINDS[kind] for kind in kinds)


def _label(effect: Effect | None) -> str:
    return "" if effect is None else effect.label


def _coalition_tables(effects: StudyEffects, most: int) -> list[ShownTable]:
    """What each coalition that was measured scored, trained so or switched so; nothing for more
    than `most`."""
    tables = effects.tables()
    asked = {cell.on for table in tables for cell in table.coalitions}
    names = {cell.on for table in tables for cell in table.coalitions if cell.value is not None}
    if not names or len(asked) > most:
        return []
    head = ["on"]
    for table in tables:
        head.append(f"trained so ({table.metric})" if not table.arm else _switched(table))
    rows = []
    for on in sorted(names, key=lambda one: (len(one), one)):
        cells = [_cell(table, on) for table in tables]
        rows.append(("+".join(on) or "none", *cells))
    numbers = frozenset(range(1, len(head)))
    caption = "Every combination: mean with its own interval"
    if len(names) < len(asked):
        caption += f" ({len(asked) - len(names)} more are not measured)"
    return [ShownTable(caption, tuple(head), tuple(rows), numbers)]


def _switched(table: EffectTable) -> str:
    return f"switched so in {table.arm} ({table.metric})"


def _cell(table: EffectTable, on: tuple[str, ...]) -> str:
    cell = table.mean_of(*on)
    if cell is None:
        return ""
    ends = interval(cell.low, cell.high, PLACES)
    value = shown(cell.value, PLACES)
    return value if ends == MISSING else f"{value} {ends}"


def _by_model(effects: StudyEffects) -> list[ShownTable]:
    """Shapley values of each model alone, where there are several."""
    several = [(trial, table) for trial, table in effects.subjects]
    if len(several) < 2:
        return []
    factors = dict.fromkeys(name for _, table in several for name in table.factors)
    rows = []
    for _, table in several:
        cells = (value_text(table.find("shapley", name)) for name in factors)
        rows.append((table.about, *cells, "; ".join(table.problems[:1])))
    head = ("removal cost, Shapley values", *factors, "missing")
    caption = "Each model alone: its interval speaks of other examples, not of other models"
    return [ShownTable(caption, head, tuple(rows), frozenset(range(1, len(head) - 1)))]
