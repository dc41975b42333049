"""What an engine hands to a worker: everything one attempt needs, as plain data."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.records import Provenance


class Ticket(msgspec.Struct, frozen=True):
    """One attempt to be made. `config` is the resolved configuration, with absolute paths."""

    home: str
    study: str
    identity: str
    label: str
    arm: str
    replicate: int
    seed: int
    workload: str
    config: dict[str, Any]
    document: dict[str, Any]
    observed: dict[str, Any]
    outcome_number: int
    provenance: Provenance
    time_limit_s: float | None = None
    afresh: bool = False
    """Computes again what is known: checkpoints that led to another outcome are not read."""
    ordinal: int | None = None
    """For a search: which proposal this is."""


def as_plain(ticket: Ticket) -> dict[str, Any]:
    """For executors that pass configurations as dictionaries."""
    plain: dict[str, Any] = msgspec.to_builtins(ticket)
    return plain


def from_plain(plain: dict[str, Any]) -> Ticket:
    return msgspec.convert(plain, Ticket)
