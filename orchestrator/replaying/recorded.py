"""What a home has on record of a trial: what it ran from, every metric row, its outcome."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.attempts import Attempt, attempts, outcomes
from orchestrator.engine.episode import environment_path
from orchestrator.errors import UsageError
from orchestrator.home import Home
from orchestrator.records import Claim, End, Outcome
from telemetry import EpisodeContext
from telemetry.parquet import events_in_order
from telemetry.reduction import SECONDS_PREFIX, AttemptReduction
from telemetry.rowlog import Row
from telemetry.runs import flattened
from workloads.monitors import MONITORS

Rows = Mapping[tuple[int, str], float]
"""(step, key) -> value, reduced over ranks."""

OF_THE_MACHINE = (SECONDS_PREFIX, "ranks/")
"""How the names of metrics begin that measure the machine; their steps may be seconds."""


class CannotReplay(UsageError):
    """What a replay needs is gone or has changed. Exit code 2."""


@dataclass(frozen=True)
class Recorded:
    """A trial's record. `context` is that of the attempt `attempt`, by its rank 0."""

    home: Home
    identity: str
    attempt: int
    context: EpisodeContext
    claim: Claim | None
    rows: Rows
    outcome: Outcome | None
    end: End | None
    """How the last attempt that is compared ended, if it published nothing."""
    tries: int
    """How many attempts are compared."""
    elsewhere: frozenset[tuple[int, str]] = frozenset()
    """(step, key) of the rows that only attempts with other settings have."""
    passed_over: Sequence[str] = ()
    """Attempts that are not compared, each with the settings that were other then."""

    @property
    def folder(self) -> Path:
        return self.home.trial(self.identity)

    @property
    def document(self) -> dict[str, Any]:
        """What the identity is the hash of. Raises `CannotReplay`."""
        path = self.folder / "identity.json"
        try:
            read: dict[str, Any] = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise CannotReplay(f"'{path}' cannot be read ({error}).") from error
        return read

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration. Raises `CannotReplay`."""
        found = _settings(self.context)
        if not found:
            raise CannotReplay(f"{self.identity}: its context holds no configuration.")
        return {MONITORS: [], **found}  # a release without monitors watched nothing

    @property
    def seed(self) -> int:
        base = self.context.base_seed
        return int(self.context.facts.get("seed", 0)) if base is None else base

    @property
    def ranks(self) -> int:
        return int(self.context.facts.get("ranks", 1))

    @property
    def device(self) -> str | None:
        """`cpu` or an accelerator's name; None if it was not told."""
        told = self.outcome.provenance.device if self.outcome else None
        named: str | None = told or self.context.facts.get("device")
        return named

    @property
    def last_step(self) -> int:
        """The last step that has a row; 0 if none has."""
        return max((step for step, _ in self.rows), default=0)

    @property
    def code_digest(self) -> str | None:
        named = self.claim.code_digest if self.claim else None
        found: str | None = named or self.context.facts.get("code_digest")
        return found

    @property
    def packages(self) -> Mapping[str, str] | None:
        """Package -> version of its environment; None if no file tells."""
        digest = (self.context.environment or {}).get("digest")
        try:
            read = environment_path(self.home.root, str(digest)).read_bytes()
            return msgspec.json.decode(read, type=dict[str, str])
        except (OSError, msgspec.MsgspecError):
            return None


def read_recorded(home: Home, identity: str, attempt: int | None = None) -> Recorded:
    """All attempts together, as MLflow shows them, or the one named. Raises `CannotReplay`.

    Where attempts overlap in steps, the first one's row counts. A trial may have been observed
    again with other settings, which give other numbers (more questions): then only the attempts
    count whose settings were those of the last outcome, or, without one, of the last attempt.
    """
    folder = home.trial(identity)
    tries = attempts(folder)
    if attempt is not None:
        chosen = [one for one in tries if one.number == attempt]
        if not chosen:
            there = ", ".join(str(one.number) for one in tries) or "none"
            raise CannotReplay(f"{identity} has no attempt {attempt}. There are: {there}.")
        tries = chosen
    try:
        found, contexts = _read_events(folder, [one.number for one in tries])
    except OSError as error:
        raise CannotReplay(
            f"{identity}: its events cannot be read ({error}). What stands in the file is lost; "
            "its outcome and its metric rows are kept."
        ) from error
    published = [one for one in outcomes(folder) if attempt is None or one.attempt == attempt]
    others: dict[int, str] = {}
    if contexts:
        last = published[-1].attempt if published else -1
        asked = contexts[last if last in contexts else max(contexts)]
        fixed = _fixed_settings(folder)
        for number, context in contexts.items():
            if told := _other_settings(context, asked, fixed):
                others[number] = told
    tries = [one for one in tries if one.number not in others]
    source = next((one for one in reversed(tries) if one.number in contexts), None)
    if source is None:
        raise CannotReplay(
            f"{identity}: no attempt has recorded what it ran from: its events are gone, or it "
            "died before its first one."
        )
    rows = _rows_of(found, [one.number for one in tries])
    published = [one for one in published if one.attempt not in others]
    return Recorded(
        home=home,
        identity=identity,
        attempt=source.number,
        context=contexts[source.number],
        claim=source.claim(),
        rows=rows,
        outcome=published[-1] if published else None,
        end=_end(tries),
        tries=len(tries),
        elsewhere=frozenset(_rows_of(found, list(others)).keys() - rows.keys()),
        passed_over=[f"attempt {number}: {told}" for number, told in sorted(others.items())],
    )


def _fixed_settings(folder: Path) -> Collection[str]:
    """The settings that are the same in all attempts because the identity is: an input may have
    been read from another path."""
    try:
        document = json.loads((folder / "identity.json").read_bytes())
        return flattened(document["config"]).keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()


def _other_settings(context: EpisodeContext, asked: EpisodeContext, fixed: Collection[str]) -> str:
    then, now = flattened(_settings(context)), flattened(_settings(asked))
    if not then or not now:  # not recorded is not other
        return ""
    return ", ".join(
        f"{name} was {then.get(name, 'unset')}, not {now.get(name, 'unset')}"
        for name in sorted(then.keys() | now.keys())
        if name not in fixed and then.get(name) != now.get(name)
    )


def _settings(context: EpisodeContext) -> dict[str, Any]:
    found = context.hyperparameters or context.facts.get("config")
    return found if isinstance(found, dict) else {}


def _end(tries: list[Attempt]) -> End | None:
    return tries[-1].end() if tries else None


def _read_events(
    folder: Path, numbers: list[int]
) -> tuple[dict[int, list[Row]], dict[int, EpisodeContext]]:
    """Rows and contexts by attempt, from their events: nothing of the home is written."""
    reductions = {number: AttemptReduction(number) for number in numbers}
    found: dict[int, list[Row]] = {number: [] for number in numbers}
    contexts: dict[int, EpisodeContext] = {}
    for event in events_in_order(folder, (1, 2)):
        reduction = reductions.get(event.attempt)
        if reduction is None:
            continue
        if isinstance(event.payload, EpisodeContext):
            before = contexts.get(event.attempt)
            if event.rank == 0:
                later = event.payload
                contexts[event.attempt] = later if before is None else before.merged(later)
        else:
            found[event.attempt] += reduction.take(event)
    for number, reduction in reductions.items():
        found[number] += reduction.rest()
    return found, contexts


def _rows_of(
    found: Mapping[int, list[Row]], numbers: Sequence[int]
) -> dict[tuple[int, str], float]:
    """The first row of each (step, key) in these attempts."""
    rows: dict[tuple[int, str], float] = {}
    for number in sorted(numbers):
        for row in found[number]:
            if row.value is not None and not row.key.startswith(OF_THE_MACHINE):
                rows.setdefault((row.step, row.key), row.value)
    return rows
