"""Which waiting trial a free worker is given, and which trial is stopped early."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

from orchestrator.engine.feed import Feed


class LetWorkersStart(FIFOScheduler):  # type: ignore[misc]
    """First in, first out; but a free worker takes the newest trial while others still start.

    A trial that waits has a worker that starts for it. Tune would hand it the free worker and end
    the one that starts, so trials shorter than a worker's start would all run in one process.
    """

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its scheduler for a resumption of its own, which is never made."""
        return {}

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        live: Iterable[Trial] = tune_controller.get_live_trials()
        pending = {trial.trial_id: trial for trial in live if trial.status == Trial.PENDING}
        newest = next((key for key in reversed(self._feed.out) if key in pending), None)
        return pending.get(newest)


class StopEarly(ASHAScheduler):  # type: ignore[misc]
    """ASHA that stops nothing at its last rung: a trial that got there has done its work, and is
    done rather than pruned."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        if result["step"] >= self._max_t:
            return str(FIFOScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))
