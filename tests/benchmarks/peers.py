"""The same no-op trials through Orrery's engine and through plain Ray Tune, timed alike."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator import Study
from orchestrator.engine.ticket import Ticket
from orchestrator.engine.tune_engine import TuneEngine
from orchestrator.home import Home
from orchestrator.records import Failure, State
from telemetry import CollectorClient
from tests.orchestrator.quick_study import arm, quick_study


@dataclass
class Timing:
    """Moments of one run, in seconds of one clock, as the driver learns of them."""

    called_s: float = 0.0
    first_start_s: float | None = None
    """The first worker is up and its trial starts."""
    last_end_s: float = 0.0
    written_s: float = 0.0
    """MLflow has everything."""
    ended: int = 0

    def start(self) -> None:
        if self.first_start_s is None:
            self.first_start_s = time.perf_counter()

    def end(self) -> None:
        self.ended += 1
        self.last_end_s = time.perf_counter()

    @property
    def rate(self) -> float:
        """Trials a second from the first trial's start to the last one's end."""
        assert self.first_start_s is not None
        return self.ended / (self.last_end_s - self.first_start_s)

    @property
    def whole_rate(self) -> float:
        """As `rate`, from the call on: with the start of the workers."""
        return self.ended / (self.last_end_s - self.called_s)

    @property
    def written_rate(self) -> float:
        """Trials a second from the first trial's start until MLflow has everything."""
        assert self.first_start_s is not None
        return self.ended / (self.written_s - self.first_start_s)

    @property
    def drain_s(self) -> float:
        return self.written_s - self.last_end_s


@dataclass
class _Timed:
    """A listener of the engine that notes when it is told, and passes it on."""

    listener: Any
    timing: Timing = field(default_factory=Timing)

    def started(self, ticket: Ticket) -> None:
        self.timing.start()
        self.listener.started(ticket)

    def reported(self, ticket: Ticket, step: int, metrics: Mapping[str, float | None]) -> None:
        self.listener.reported(ticket, step, metrics)

    def ended(self, ticket: Ticket, state: State) -> None:
        self.listener.ended(ticket, state)
        self.timing.end()

    def failed(self, ticket: Ticket, failure: Failure, again: bool) -> None:
        raise AssertionError(f"a no-op trial failed: {failure}")


def ours(home: Home, trials: int, metrics: int = 0, questions: int = 4) -> Timing:
    """A whole `Study.run`: claims, spools, scores, outcomes, the collector and MLflow."""
    study = quick_study(
        arm("only"),
        base={"steps": 1, "questions": questions, "metrics": metrics},
        seeds=list(range(trials)),
    )
    timing = Timing()
    run, drain = TuneEngine.run, CollectorClient.drain

    def timed_run(engine: TuneEngine, feed: Any, listener: Any, push: Any) -> None:
        timing.called_s = time.perf_counter()
        run(engine, feed, _Timed(listener, timing), push)

    def timed_drain(client: CollectorClient, *arguments: Any) -> Any:
        report = drain(client, *arguments)
        timing.written_s = time.perf_counter()
        assert not report.left
        return report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TuneEngine, "run", timed_run)
        patch.setattr(CollectorClient, "drain", timed_drain)
        report = Study.load(study, home=home.root).run(console=Console(file=StringIO()))
    assert report.exit_code == 0
    assert timing.ended == report.plan.counts["done"] == trials
    return timing


def bare_tune(trials: int) -> Timing:
    """Tune as fast as it goes: workers reused, nothing logged."""
    return _tune(trials, 1, reuse=True, auto_loggers=False, callbacks=[])


def tune_with_mlflow(trials: int, metrics: int, schema: Path, *, defaults: bool = False) -> Timing:
    """Tune with Ray's own MLflow callback on a SQLite store that has its schema.

    `defaults`: a process per trial and Tune's own loggers, as a first `Tuner` comes.
    """
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "mlflow.db")
        shutil.copy(schema, store)
        logger = MLflowLoggerCallback(tracking_uri=f"sqlite:///{store}", experiment_name="no-op")
        return _tune(trials, metrics, reuse=not defaults, auto_loggers=defaults, callbacks=[logger])


def _tune(
    trials: int, metrics: int, *, reuse: bool, auto_loggers: bool, callbacks: list[Any]
) -> Timing:
    from ray import tune

    timing = Timing()

    class Clock(tune.Callback):  # type: ignore[misc]
        def on_trial_start(self, **info: Any) -> None:
            timing.start()

        def on_trial_complete(self, **info: Any) -> None:
            timing.end()

    def no_op(config: dict[str, Any]) -> None:
        tune.report({f"m{i}": float(config["seed"] + i) for i in range(metrics)})

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TUNE_")]:
            patch.delenv(name)  # what our engine sets for itself
        patch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "0" if auto_loggers else "1")
        tuner = tune.Tuner(
            tune.with_resources(no_op, {"cpu": 1}),
            param_space={"seed": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(reuse_actors=reuse),
            run_config=tune.RunConfig(
                name="no-op", storage_path=folder, verbose=0, callbacks=[*callbacks, Clock()]
            ),
        )
        timing.called_s = time.perf_counter()
        tuner.fit()
        timing.written_s = timing.last_end_s  # the callback writes before it lets Tune go on
    assert timing.ended == trials
    return timing
