"""What a store holds, as the contract of the sinks compares it; and keys that are hard to hold."""

from __future__ import annotations

from dataclasses import dataclass, field

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
