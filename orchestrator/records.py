"""The files of truth, as types: what is written to claim.json, end.json and outcome-NNNN.json."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from orchestrator.process import Process

RECORD_VERSION = 1

State = Literal["planned", "running", "done", "failed", "preempted", "cancelled", "pruned"]
FailureKind = Literal[
    "user_error", "out_of_memory", "node_lost", "timed_out", "diverged", "unknown"
]


class Failure(msgspec.Struct, frozen=True):
    """Why an attempt did not finish: a kind, and one line of cause."""

    kind: FailureKind
    cause: str


class Provenance(msgspec.Struct, frozen=True):
    """What the numbers were made with. Not in the identity; compared by the verdict."""

    code_digest: str
    git_commit: str | None = None
    git_dirty: bool | None = None
    environment: str | None = None
    """Hash of the installed packages and versions."""
    python: str | None = None
    device: str | None = None
    """`cpu` or the name of the accelerator."""
    cpu: str | None = None
    ranks: int = 1


class Claim(msgspec.Struct, frozen=True):
    """Who works on an attempt. `outcome_number` is the number this attempt may publish."""

    attempt: int
    outcome_number: int
    token: str
    process: Process
    study: str
    claimed_at_s: float
    code_digest: str = ""
    version: int = RECORD_VERSION


class End(msgspec.Struct, frozen=True):
    """How an attempt ended that published no outcome: failed, preempted, cancelled or pruned."""

    state: State
    ended_at_s: float
    failure: Failure | None = None
    checkpoint_step: int | None = None
    told: str = ""
    """Why it was told to end, where it was: that is no failure, and does not count as a loss."""
    version: int = RECORD_VERSION


class Outcome(msgspec.Struct, frozen=True):
    """A finished trial's result. A failure is told by the attempt's `End`: a retry may then
    publish under the number that the failed attempt left free."""

    identity: str
    number: int
    attempt: int
    study: str
    """The study instance that ran it: it owns the step rows."""
    provenance: Provenance
    started_at_s: float
    finished_at_s: float
    metrics: dict[str, float | str | None] = {}
    """Non-finite values are kept as the text `nan`, `inf` or `-inf`."""
    reported: dict[str, float | str | None] = {}
    """The last values that the trial reported while it ran: what a search learns from."""
    observed: dict[str, Any] = {}
    flags: list[str] = []
    notes: list[str] = []
    scores: str | None = None
    """Parquet file of per-unit scores, relative to the trial's folder."""
    scores_digest: str | None = None
    """Hash of that file; None in records of versions that kept none."""
    artifacts: str | None = None
    resumed_at_step: int | None = None
    checkpoint_step: int | None = None
    """The step of the checkpoint that its model can be had from; None if none was ever made."""
    checkpoint_digest: str | None = None
    """Hash of that checkpoint; None in records of versions that kept none."""
    version: int = RECORD_VERSION

    def values(self) -> dict[str, float | None]:
        """Final metrics as numbers, non-finite ones included."""
        return {name: _number(value) for name, value in self.metrics.items()}

    def search_value(self, metric: str) -> float | None:
        """The last reported value of a metric, else its final one; None if there is neither."""
        return _number(self.reported.get(metric, self.metrics.get(metric)))


def encode(record: msgspec.Struct) -> bytes:
    """Readable JSON with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def _number(value: float | str | None) -> float | None:
    return float(value) if isinstance(value, str) else value


def storable(value: float | None) -> float | str | None:
    """A metric as JSON can hold it."""
    if value is None:
        return None
    number = float(value)
    if number != number:
        return "nan"
    if number in (float("inf"), float("-inf")):
        return "inf" if number > 0 else "-inf"
    return number
