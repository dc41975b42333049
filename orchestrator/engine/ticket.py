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
    ranks: int = 1
    """How many processes train it together."""
    time_limit_s: float | None = None
    afresh: bool = False
    """Computes again what is known: checkpoints that led to another outcome are not read."""
    same_code: bool = False
    """Checkpoints that other source code has made are not read."""
    ordinal: int | None = None
    """For a search: which proposal this is."""
    token: str = ""
    """Tells this handing-out from any other; the claim carries it."""

    @property
    def short(self) -> str:
        """Which trial of its arm it is, as progress and logs tell: `seed 3 (1f2b72c4)`."""
        return f"seed {self.seed} ({self.identity[:8]})"
