"""Tune's callbacks, passed on: how attempts start, report and end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ray import tune

from orchestrator.engine.failures import out_of_memory_kills
from orchestrator.engine.feed import Failed, Feed
from orchestrator.engine.ticket import Ticket
from orchestrator.records import Failure, State


class Listener(Protocol):
    """Who is told what happens to trials, in the driver."""

    def started(self, ticket: Ticket) -> None: ...

    def reported(self, ticket: Ticket, step: int, metrics: Mapping[str, float | None]) -> None: ...

    def ended(self, ticket: Ticket, state: State) -> None: ...

    def failed(self, ticket: Ticket, failure: Failure, again: bool) -> None: ...


class Recorder(tune.Callback):  # type: ignore[misc]
    """Tells the feed and the listener how attempts end."""

    def __init__(self, feed: Feed, listener: Listener) -> None:
        self._feed, self._listener = feed, listener
        self._memory_kills = out_of_memory_kills()

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks for a resumption of its own, which is never made."""
        return {}

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        ticket = self._feed.out.get(trial.trial_id)
        if ticket is not None:
            self._listener.started(ticket)

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        ticket = self._feed.out.get(trial.trial_id)
        if ticket is not None and result.get("state") == "running":
            self._feed.source.reported(ticket, result["step"], result["metrics"])
            self._listener.reported(ticket, result["step"], result["metrics"])

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        last = trial.last_result or {}
        state = last.get("state", "done")
        if state == "busy":
            self._feed.busy(trial.trial_id)
            return
        if state == "preempted":
            self._tell(self._feed.told_to_leave(trial.trial_id))
            return
        if state == "refused":
            self._tell(self._feed.refused(trial.trial_id, Failure("unknown", last["cause"])))
            return
        if state == "running":  # its scheduler ended it at this report
            state = "pruned"
        ticket = self._feed.succeeded(trial.trial_id, state)
        if ticket is not None:
            self._listener.ended(ticket, state)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        kills = out_of_memory_kills()
        killed, self._memory_kills = kills > self._memory_kills, kills
        ticket = self._feed.cancelled(trial.trial_id)
        if ticket is not None:
            self._listener.ended(ticket, "cancelled")
            return
        self._tell(self._feed.failed(trial.trial_id, _error_text(trial), killed))

    def _tell(self, told: Failed | None) -> None:
        if told is not None:
            self._listener.failed(told.ticket, told.failure, told.again)


def _error_text(trial: Any) -> str:
    """What Tune saw, as text; Tune does not keep every exception as an object."""
    error = trial.get_pickled_error()
    if error is not None:
        return str(error)
    try:
        return Path(trial.error_file).read_text(errors="replace")
    except (OSError, TypeError):
        return ""
