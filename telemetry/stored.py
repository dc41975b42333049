"""What a store holds, as the contract of the sinks compares it; a trial, and keys hard to hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from telemetry.runs import TrialRun

StoredRow = tuple[str, int, int, float]
"""Key, step, time in milliseconds, value."""

ODD_KEYS = (
    "a b",
    "loss/é",
    "损失",
    "f1@3",
    "f1#3",
    "f1_3",
    "acc[top=5]",
    "//x",
    "x//y",
    "x/y",
    "../up",
    "..",
    "quote'\"`",
    "k" * 300,
    "k" * 301,
    "100%",
)
"""Keys that a store may have to spell otherwise, but never one as another."""


@dataclass(frozen=True)
class StoredRun:
    """A run as the store has it. `trial` is None for a study's own run."""

    instance: str
    trial: str | None
    name: str
    ended: bool
    rows: list[StoredRow] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    note: str = ""
    artifacts: dict[str, bytes] = field(default_factory=dict)


def sample_trial(folder: Path, identity: str, replicate: int = 2) -> TrialRun:
    """A trial with something in each field, in a folder of its own below `folder`."""
    path = folder / "trials" / identity
    path.mkdir(parents=True)
    return TrialRun(
        identity,
        str(path),
        arm="r8",
        replicate=replicate,
        label=f"rank=8-{identity}",
        factors={"rank": 8, "gone": None},
        params={"lora": {"rank": 8, "layers": [1, 2]}, "seed": 0},
        tags={"colour": "red"},
        started_ms=1_700_000_001_000,
    )


def in_order(runs: list[StoredRun]) -> list[StoredRun]:
    """Runs, and the rows of each, in an order that does not depend on the store."""
    for run in runs:
        run.rows.sort(key=lambda row: row[:3])
    return sorted(runs, key=lambda run: (run.instance, run.trial or ""))
