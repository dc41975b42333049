"""What the model wrote, fraction by fraction."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from workloads.contract import CurveView, SummaryTable
from workloads.dtdr.summary.naming import arms_of, by_along, paths_of

SHOWN_CHARACTERS = 80
"""Of each text in a table; whole texts are in text_samples.csv."""
MOST_PATHS = 6
"""Texts side by side in a table."""


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
