"""What the model wrote, fraction by fraction, and in numbers how it wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from workloads.contract import CurveView, SummaryTable
from workloads.dtdr.summary.naming import arms_of, by_along, number, paths_of

SHOWN_CHARACTERS = 110
"""Of each text in a table; whole texts are in text_samples.csv."""
MOST_VALUES = 6
"""Values in the table of how a model writes; all are in writing.csv."""
MOST_PATHS = 5
"""Texts side by side in a table."""
_WRITING = ("text_perplexity", "distinct_1", "distinct_2")


@dataclass(frozen=True)
class Sample:
    """One text: which curve it is of, at which value and draw, and what it goes on from."""

    arm: str
    path: str
    along: str
    value: float
    draw: int
    prompt: str
    text: str


def samples_of(curves: Sequence[CurveView]) -> list[Sample]:
    """Every text that was kept with a point, in the order of the study."""
    return [
        Sample(curve.arm, curve.path, curve.along, value, draw, one["prompt"], one["text"])
        for curve in curves
        for value, notes in zip(curve.values, curve.notes, strict=False)
        for draw, note in enumerate(notes)
        for one in texts_in(note)
    ]


def texts_in(note: str | None) -> list[dict[str, str]]:
    """Prompts and texts of a point's note; empty where nothing was generated."""
    if not note:
        return []
    data = json.loads(note)
    return [one for one in data if "prompt" in one and "text" in one]


def sample_rows(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """One row per text."""
    return [
        {
            "along": one.along,
            "value": one.value,
            "arm": one.arm,
            "path": one.path,
            "draw": one.draw,
            "prompt": one.prompt,
            "text": one.text,
        }
        for one in samples
    ]


def side_by_side(samples: Sequence[Sample], arm: str, along: str) -> Iterator[SummaryTable]:
    """For each prompt a table: a row per value, a column per path; first draws."""
    of = [one for one in samples if (one.arm, one.along, one.draw) == (arm, along, 0)]
    paths = list(dict.fromkeys(one.path for one in of))
    for prompt in dict.fromkeys(one.prompt for one in of):
        texts = {(one.value, one.path): one.text for one in of if one.prompt == prompt}
        values = sorted({value for value, _ in texts})
        for start in range(0, len(paths), MOST_PATHS):
            group = paths[start : start + MOST_PATHS]
            rows = tuple(
                (f"{value:g}", *(_cut(texts.get((value, path))) for path in group))
                for value in values
            )
            caption = f"What {arm} goes on with after “{prompt.strip()}”, by {along}:"
            yield SummaryTable(caption, (along, *group), rows)


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


def writing_rows(curves: Sequence[CurveView]) -> list[dict[str, Any]]:
    """One row per curve and value: how likely its texts are under the full model, how varied they
    are, and how far draws agree."""
    rows = []
    for curve in curves:
        for index, value in enumerate(curve.values):
            notes = curve.notes[index] if index < len(curve.notes) else ()
            measured = {
                name: curve.metrics[name][index].value if name in curve.metrics else None
                for name in (*_WRITING, "top10_overlap")
            }
            rows.append(
                {
                    "along": curve.along,
                    "value": value,
                    "arm": curve.arm,
                    "path": curve.path,
                    **measured,
                    "agreement_of_draws": agreement(notes),
                }
            )
    return rows


def writing_table(rows: Sequence[dict[str, Any]], arm: str, along: str) -> SummaryTable:
    """`writing_rows` of one arm as the report shows them: at a few values."""
    values = sorted({row["value"] for row in rows if (row["arm"], row["along"]) == (arm, along)})
    shown_at = set(values[:: -(-len(values) // MOST_VALUES)]) | set(values[-1:])
    shown = tuple(
        (
            str(row["path"]),
            f"{row['value']:g}",
            number(row["top10_overlap"], 2),
            number(row["text_perplexity"]),
            number(row["distinct_1"], 2),
            number(row["distinct_2"], 2),
            number(row["agreement_of_draws"], 2),
        )
        for row in rows
        if (row["arm"], row["along"]) == (arm, along) and row["value"] in shown_at
    )
    head = (
        "path", along, "top-10 overlap", "perplexity of its text under the full model",
        "distinct words", "distinct pairs", "agreement of draws",
    )  # fmt: skip
    caption = (
        f"How {arm} writes, all of it in writing.csv. A text that the full model finds unlikely is "
        "not coherent:"
    )
    return SummaryTable(caption, head, shown, frozenset(range(1, 7)))


def samples_page(study: str, samples: Sequence[Sample], curves: Sequence[CurveView]) -> str:
    """All tables of texts, in Markdown: each arm, each key, each prompt."""
    lines = [f"# {study}: what the models wrote", ""]
    for along, group in by_along(curves).items():
        for arm in arms_of(group):
            for table in side_by_side(samples, arm, along):
                lines += [table.caption, "", *_markdown(table), ""]
    return "\n".join(lines)


def compared(curves: Sequence[CurveView]) -> str:
    """The arm whose texts the report shows: that with most paths, the first of such."""
    arms = arms_of(curves)
    return max(arms, key=lambda arm: len(paths_of(c for c in curves if c.arm == arm)))


def _cut(text: str | None) -> str:
    if text is None:
        return "n/a"
    plain = " ".join(text.split()) or "(nothing)"
    return plain if len(plain) <= SHOWN_CHARACTERS else f"{plain[: SHOWN_CHARACTERS - 1]}…"


def _markdown(table: SummaryTable) -> list[str]:
    lines = [table.head, ("---",) * len(table.head), *table.rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
