"""Chunks as rows, as lines of a log in the source's form, and back. Torch-free."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workloads.errors import InputError

CSV_NAME: Final = "chunks.csv"
LOG_NAME: Final = "chunks.log"
_LINE: Final = re.compile(
    r"\[(?P<tag>\w+)-(?P<step>\d+)\] Ent: (?P<entropy>\S+) \| Cons: (?P<kappa>\S+) \| "
    r"Out: ?(?P<text>.*)"
)


@dataclass(frozen=True)
class ChunkRow:
    """One chunk: its regime's tag, its number from 1 on, entropy in nats, consistency with the
    chunk before (None: it has none), and what was written.

    Beside the chunk before (None: not compared, or not in the log), `repeats`: whether it says the
    same, token by token; `same_token`: whether the token last read is the same.
    """

    tag: str
    step: int
    entropy: float
    kappa: float | None
    text: str
    repeats: bool | None = None
    same_token: bool | None = None


def log_lines(rows: Iterable[ChunkRow]) -> list[str]:
    """`[L-3] Ent: x.xxx | Cons: y.yyyy | Out: text`. Where there is no consistency: `Init` on the
    first line of a regime that compares chunks, else `None`."""
    of = list(rows)
    none = "Init" if any(row.kappa is not None for row in of) else "None"
    return [
        f"[{row.tag}-{row.step}] Ent: {row.entropy:.3f} | "
        f"Cons: {none if row.kappa is None else f'{row.kappa:.4f}'} | "
        f"Out: {' '.join(row.text.split())}"
        for row in of
    ]


def read_log(lines: Iterable[str]) -> list[ChunkRow]:
    """The chunks of a log; a line in another form is left out, one without a consistency kept.

    InputError if no line has the form.
    """
    rows = []
    for line in lines:
        found = _LINE.match(line.strip())
        if found:
            tag, step, entropy, kappa, text = found.groups()
            known = None if kappa in ("Init", "None") else float(kappa)
            rows.append(ChunkRow(tag, int(step), float(entropy), known, text))
    if not rows:
        raise InputError("no line is like '[L-3] Ent: 1.234 | Cons: 0.5678 | Out: text'")
    return rows


def write_chunks(rows: Sequence[ChunkRow], folder: Path) -> None:
    """Writes the log, and a CSV with every digit, into `folder`.

    Text is quoted throughout: a carriage return in it would else end its row.
    """
    (folder / LOG_NAME).write_text("\n".join(log_lines(rows)) + "\n", encoding="utf-8")
    with (folder / CSV_NAME).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(["tag", "step", "entropy", "kappa", "repeats", "same_token", "text"])
        for row in rows:
            kappa = "" if row.kappa is None else row.kappa
            same = ["" if one is None else int(one) for one in (row.repeats, row.same_token)]
            writer.writerow([row.tag, row.step, row.entropy, kappa, *same, row.text])


def read_chunks(folder: Path) -> list[ChunkRow]:
    """What `write_chunks` wrote; empty if it wrote nothing there."""
    path = folder / CSV_NAME
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            ChunkRow(
                row["tag"],
                int(row["step"]),
                float(row["entropy"]),
                float(row["kappa"]) if row["kappa"] else None,
                row["text"],
                *(
                    bool(int(row[name])) if row[name] else None
                    for name in ("repeats", "same_token")
                ),
            )
            for row in csv.DictReader(file)
        ]
