"""How a model writes, in numbers and in a word: is it coherent, is it stable, does it recover?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from workloads.dtdr.summary.naming import number
from workloads.dtdr.summary.samples import texts_in
from workloads.views import CurveView, SummaryTable

MOST_VALUES = 6
"""Values in the report's table; all are in writing.csv."""
COHERENT_PERPLEXITY = 3.0
"""A coherent text has at most so many times the perplexity of the full decode's own texts."""
COHERENT_VARIETY = 0.5
"""And at least such a share of their variety: a word said again and again is likely, too."""
STABLE = 0.5
"""Draws that share at least so many of their words write the same thing."""
_MEASURES = ("text_perplexity", "distinct_1", "distinct_2")


@dataclass(frozen=True)
class Whole:
    """How the full decode of an arm writes, which the others are held against."""

    note: str | None
    perplexity: float | None
    variety: float | None


def wholes(curves: Sequence[CurveView]) -> dict[str, Whole]:
    """Of each arm that has a curve up to fraction 1."""
    found: dict[str, Whole] = {}
    for curve in curves:
        if curve.along != "fraction" or 1.0 not in curve.values or curve.arm in found:
            continue
        at = list(curve.values).index(1.0)
        notes = curve.notes[at] if at < len(curve.notes) else ()
        found[curve.arm] = Whole(
            notes[0] if notes else None,
            _value(curve, "text_perplexity", at),
            _value(curve, "distinct_2", at),
        )
    return found


def agreement(notes: Sequence[str | None]) -> float | None:
    """How far the texts of several draws agree: the share of words that are the same in the same
    place, mean over pairs of draws and prompts. None for fewer than two draws."""
    texts = [[one["text"].split() for one in texts_in(note)] for note in notes]
    pairs = [
        (mine, other)
        for one, two in combinations(texts, 2)
        for mine, other in zip(one, two, strict=False)
    ]
    shares = [
        sum(a == b for a, b in zip(mine, other, strict=False)) / max(len(mine), len(other))
        for mine, other in pairs
        if mine or other
    ]
    return sum(shares) / len(shares) if shares else None


def word_for(row: Mapping[str, Any], whole: Whole | None) -> str | None:
    """What a row of `writing_rows` comes to: "recovery", "stable nonsense" or "unstable nonsense"
    where there are draws to compare, else "no coherent output". None where texts are not measured.
    """
    if whole is None or whole.perplexity is None or whole.variety is None:
        return None
    perplexity, variety = row["text_perplexity"], row["distinct_2"]
    if (
        perplexity is not None
        and variety is not None
        and perplexity <= COHERENT_PERPLEXITY * whole.perplexity
        and variety >= COHERENT_VARIETY * whole.variety
    ):
        return "recovery"
    if row["agreement_of_draws"] is None:
        return "no coherent output"
    return "stable nonsense" if row["agreement_of_draws"] >= STABLE else "unstable nonsense"


def writing_rows(curves: Sequence[CurveView]) -> list[dict[str, Any]]:
    """One row per curve and value: how likely its texts are under the full model, how varied they
    are, how far draws agree, how many words are the full decode's, and what that comes to."""
    whole_of = wholes(curves)
    rows = []
    for curve in curves:
        whole = whole_of.get(curve.arm)
        for index, value in enumerate(curve.values):
            notes = curve.notes[index] if index < len(curve.notes) else ()
            row: dict[str, Any] = {
                "along": curve.along,
                "value": value,
                "arm": curve.arm,
                "path": curve.path,
                **{name: _value(curve, name, index) for name in (*_MEASURES, "top10_overlap")},
                "agreement_of_draws": agreement(notes),
                "words_of_full": _mean(
                    [agreement([note, whole.note]) for note in notes] if whole else []
                ),
            }
            rows.append({**row, "word": word_for(row, whole) if any(notes) else None})
    return rows


def writing_table(rows: Sequence[dict[str, Any]], arm: str, along: str) -> SummaryTable:
    """`writing_rows` of one arm as the report shows them: at a few values."""
    of = [row for row in rows if (row["arm"], row["along"]) == (arm, along)]
    values = sorted({row["value"] for row in of})
    shown_at = set(values[:: -(-len(values) // MOST_VALUES)]) | set(values[-1:])
    shown = tuple(
        (
            str(row["path"]),
            f"{row['value']:g}",
            row["word"] or "n/a",
            number(row["text_perplexity"]),
            number(row["distinct_2"], 2),
            number(row["agreement_of_draws"], 2),
            number(row["words_of_full"], 2),
            number(row["top10_overlap"], 2),
        )
        for row in of
        if row["value"] in shown_at
    )
    head = (
        "path", along, "in a word", "perplexity of its text under the full model",
        "distinct pairs", "agreement of draws", "words of the full decode", "top-10 overlap",
    )  # fmt: skip
    caption = (
        f"How {arm} writes, all of it in writing.csv. Recovery: at most {COHERENT_PERPLEXITY:g} "
        f"times the perplexity, and at least {COHERENT_VARIETY:g} times the distinct pairs, of "
        "what the full decode writes. Else it is nonsense, which is stable where draws agree in at "
        f"least {STABLE:g} of the words; of a single draw, no coherent output:"
    )
    return SummaryTable(caption, head, shown, frozenset({1, *range(3, 8)}))


def _value(curve: CurveView, name: str, index: int) -> float | None:
    return curve.metrics[name][index].value if name in curve.metrics else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
