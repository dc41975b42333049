"""The training engine: Ray Tune as an executor of tickets, and never as a source of truth."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from typing import Any

from ray import tune

from orchestrator.engine.feed import Feed
from orchestrator.engine.recorder import Listener, Recorder
from orchestrator.engine.scheduling import LetWorkersStart, StopEarly
from orchestrator.engine.trainable import AttemptTrainable
from orchestrator.engine.tune_feed import TuneFeed
from orchestrator.study_file import Asha, Resources
from telemetry.emitter import Push

# Tune keeps nothing for us: no loggers of its own, no experiment snapshots, no folder changes.
_TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}
_LOGGERS = ("ray.tune", "ray.air", "ray.train")


class _Silent(tune.ProgressReporter):  # type: ignore[misc]
    """In a notebook Tune's own reporter clears what the cell has shown, also when it is not to
    tell anything."""

    def should_report(self, trials: Any, done: bool = False) -> bool:
        return False

    def report(self, trials: Any, done: bool, *sys_info: Any) -> None:
        """Nothing."""


@dataclass(frozen=True)
class TuneEngine:
    """Runs what a feed gives until it is finished. Needs a Ray that is up."""

    resources: Resources
    reusable: bool
    scheduler: Asha | None = None
    metric: str | None = None
    mode: str = "max"

    def run(self, feed: Feed, listener: Listener, push: Push | None) -> None:
        """Blocks until the feed is finished; an interrupt passes through."""
        os.environ.update(_TUNE_ENVIRONMENT)
        # each finished worker finds its next trial already queued
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(max(2, feed.max_out))
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        scratch = tempfile.mkdtemp(prefix="orrery-tune-")
        # once per worker: in a trial's configuration Tune would copy it several times a trial
        trainable = tune.with_parameters(AttemptTrainable, push=push)
        try:
            tune.Tuner(
                tune.with_resources(trainable, self._bundle()),
                tune_config=tune.TuneConfig(
                    search_alg=TuneFeed(feed),
                    scheduler=self._scheduler(feed),
                    num_samples=-1,
                    reuse_actors=self.reusable,
                    max_concurrent_trials=None,
                    trial_name_creator=_tune_name,
                    trial_dirname_creator=_tune_name,
                ),
                run_config=tune.RunConfig(
                    name="orrery",
                    storage_path=scratch,
                    verbose=0,
                    progress_reporter=_Silent(),
                    callbacks=[Recorder(feed, listener)],
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=0),
                ),
            ).fit()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _bundle(self) -> Any:
        bundle = {"CPU": self.resources.cpus, "GPU": self.resources.gpus}
        if self.resources.memory_gib:
            bundle["memory"] = self.resources.memory_gib * 2**30
        if self.resources.ranks == 1:
            return tune.PlacementGroupFactory([bundle])
        # Tune drops an empty first bundle, and its worker then takes nothing: bundle i is rank i's
        return tune.PlacementGroupFactory(
            [{}] + [dict(bundle) for _ in range(self.resources.ranks)]
        )

    def _scheduler(self, feed: Feed) -> Any:
        if self.scheduler is None:
            return LetWorkersStart(feed) if self.reusable else None
        return StopEarly(
            time_attr="step",
            metric=self.metric,
            mode=self.mode,
            max_t=self.scheduler.max_t,
            grace_period=self.scheduler.grace_period,
            reduction_factor=self.scheduler.reduction_factor,
            stop_last_trials=False,
        )


def _tune_name(trial: Any) -> str:
    return str(trial.trial_id)
