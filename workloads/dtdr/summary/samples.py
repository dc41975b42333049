"""What the model wrote, fraction by fraction."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from workloads.dtdr.summary.naming import arms_of, by_along, paths_of
from workloads.views import CurveView, SummaryTable

SHOWN_CHARACTERS = 80
"""Of each text in a table; whole texts are in text_samples.csv."""
MOST_PATHS = 6
"""Texts side by side in a table."""
_AGAIN = re.compile(r"(?<!\S)(\S+(?: \S+){0,2}?)(?: \1){3,}(?!\S)")
"""A word, or up to three, four times or more in a row."""


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
    """For each prompt a table: a row per value, a column per path; first draws.

    Values next to one another at which every text is the same share a row, and a text that is the
    one above says at which value it stands.
    """
    of = [one for one in samples if (one.arm, one.along, one.draw) == (arm, along, 0)]
    paths = list(dict.fromkeys(one.path for one in of))
    for prompt in dict.fromkeys(one.prompt for one in of):
        texts = {(one.value, one.path): one.text for one in of if one.prompt == prompt}
        values = sorted({value for value, _ in texts})
        for start in range(0, len(paths), MOST_PATHS):
            group = paths[start : start + MOST_PATHS]
            rows = _rows(values, [[texts.get((value, path)) for path in group] for value in values])
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


def _rows(
    values: Sequence[float], texts: Sequence[Sequence[str | None]]
) -> tuple[tuple[str, ...], ...]:
    """Rows of a table from texts [values][paths]."""
    spans: list[list[float]] = []
    rows: list[tuple[str, ...]] = []
    before: Sequence[str | None] = ()
    since: list[float] = []
    for value, row in zip(values, texts, strict=True):
        if row == before:
            spans[-1][1] = value
            continue
        above = zip(row, before or [None] * len(row), strict=True)
        held = [bool(one) and one == old for one, old in above]
        starts = zip(held, since or [value] * len(row), strict=True)
        since = [at if same else value for same, at in starts]
        spans.append([value, value])
        rows.append(
            tuple(
                f"as at {at:g}" if same else _cut(one)
                for one, same, at in zip(row, held, since, strict=True)
            )
        )
        before = row
    names = [f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in spans]
    return tuple((name, *row) for name, row in zip(names, rows, strict=True))


def _cut(text: str | None) -> str:
    if text is None:
        return "n/a"
    plain = _AGAIN.sub(_counted, " ".join(text.split())) or "(nothing)"
    return plain if len(plain) <= SHOWN_CHARACTERS else f"{plain[: SHOWN_CHARACTERS - 1]}…"


def _counted(again: re.Match[str]) -> str:
    """What is said again and again, once, with how often."""
    said = again.group(1)
    return f"{said} (×{(len(again.group()) + 1) // (len(said) + 1)})"


def _markdown(table: SummaryTable) -> list[str]:
    lines = [table.head, ("---",) * len(table.head), *table.rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
