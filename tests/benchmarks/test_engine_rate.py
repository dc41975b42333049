"""No-op trials of a reusable workload through the training engine, against Ray Tune.

One Ray session, two trials at once, in turn. The rate that is judged runs from the call to the last
outcome, with the start of the workers, which both sides have. The rate from the first trial's start
is told too: it flatters bare Tune, which makes its trials while the workers start, ours as it goes.
"""

from __future__ import annotations

import itertools
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cluster import Resources
from orchestrator import Study
from orchestrator.engine import rank, worker
from orchestrator.home import Home
from tests.benchmarks.measuring import tell
from tests.benchmarks.peers import Timing, bare_tune, ours, tune_with_mlflow
from tests.orchestrator.quick_study import arm, finish, quick_study

TRIALS = 200
PEER_TRIALS = 30
"""Of peers that take a second a trial: their rate is steady, so fewer tell it."""
DEFAULT_TRIALS = 6
METRICS = 20
PAIRS = 3
MOST_PAIRS = 5
"""Measured on, up to these many, while the median of a busy machine is short of the target."""
LEAST_OF_BARE_TUNE = 0.9
LEAST_OF_MLFLOW_CALLBACK = 2.0


@pytest.fixture
def homes(tmp_path: Path, mlflow_schema: Path) -> Callable[[], Home]:
    """Makes empty homes whose MLflow has its schema."""
    numbers = itertools.count()

    def make() -> Home:
        home = Home.find(tmp_path / f"home-{next(numbers)}").writable()
        shutil.copy(mlflow_schema, home.root / "mlflow.db")
        return home

    return make


def ratios(mine: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(mine, theirs, strict=True)]


def rates(timings: Sequence[Timing], name: str) -> list[float]:
    return [getattr(timing, name) for timing in timings]


def test_the_engine_keeps_up_with_bare_tune(
    ray_session: Resources, homes: Callable[[], Home]
) -> None:
    ours(homes(), 8), bare_tune(8)  # both have loaded what they need
    mine, bare = [], []
    ratio: list[float] = []
    while len(ratio) < PAIRS or (
        len(ratio) < MOST_PAIRS and statistics.median(ratio) < LEAST_OF_BARE_TUNE
    ):
        mine.append(ours(homes(), TRIALS))
        bare.append(bare_tune(TRIALS))
        ratio = ratios(rates(mine, "whole_rate"), rates(bare, "whole_rate"))
    tell(
        "engine-against-bare-tune",
        {
            "trials": TRIALS,
            "at_once": ray_session.cpus,
            "ours_per_s": rates(mine, "whole_rate"),
            "bare_per_s": rates(bare, "whole_rate"),
            "ratio": ratio,
            "median_ratio": statistics.median(ratio),
            "least_ratio": LEAST_OF_BARE_TUNE,
            "ours_from_first_start_per_s": rates(mine, "rate"),
            "bare_from_first_start_per_s": rates(bare, "rate"),
            "ratio_from_first_start": ratios(rates(mine, "rate"), rates(bare, "rate")),
            "mlflow_drain_after_the_last_outcome_s": rates(mine, "drain_s"),
        },
    )
    assert statistics.median(ratio) >= LEAST_OF_BARE_TUNE


def test_the_engine_is_twice_as_fast_as_tune_with_its_mlflow_callback(
    ray_session: Resources, homes: Callable[[], Home], mlflow_schema: Path
) -> None:
    ours(homes(), 8), tune_with_mlflow(4, METRICS, mlflow_schema)
    mine, peer = [], []
    for _ in range(2):
        mine.append(ours(homes(), TRIALS, METRICS))
        peer.append(tune_with_mlflow(PEER_TRIALS, METRICS, mlflow_schema))
    default = tune_with_mlflow(DEFAULT_TRIALS, METRICS, mlflow_schema, defaults=True)
    ratio = ratios(rates(mine, "written_rate"), rates(peer, "written_rate"))
    tell(
        "engine-against-tune-with-mlflow",
        {
            "trials": TRIALS,
            "peer_trials": PEER_TRIALS,
            "default_trials": DEFAULT_TRIALS,
            "metrics": METRICS,
            "at_once": ray_session.cpus,
            "ours_written_per_s": rates(mine, "written_rate"),
            "callback_per_s": rates(peer, "written_rate"),
            "ratio": ratio,
            "median_ratio": statistics.median(ratio),
            "least_ratio": LEAST_OF_MLFLOW_CALLBACK,
            "defaults_per_s": default.written_rate,
            "ratio_to_defaults": statistics.median(rates(mine, "written_rate"))
            / default.written_rate,
            "mlflow_drain_after_the_last_outcome_s": rates(mine, "drain_s"),
        },
    )
    assert statistics.median(ratio) >= LEAST_OF_MLFLOW_CALLBACK


def test_what_an_attempt_spends_besides_its_workload(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milliseconds of an attempt by part, without Ray. Told, not judged: it is mostly the disk."""
    spent: Counter[str] = Counter()

    def clock(owner: Any, name: str, label: str) -> None:
        real = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return real(*arguments, **options)
            finally:
                spent[label] += time.perf_counter() - start

        monkeypatch.setattr(owner, name, timed)

    trials = 100
    study = quick_study(arm("only"), base={"steps": 1, "questions": 4}, seeds=list(range(trials)))
    clock(worker, "write_scores", "scores")
    clock(worker, "record_identity", "identity")
    clock(worker, "claim_attempt", "claim")
    clock(rank, "Emitter", "emitter_open")
    clock(rank, "episode_facts", "context")
    clock(worker.HeldAttempt, "publish", "outcome")
    start = time.perf_counter()
    finish(Study.load(study, home=home.root))
    whole_s = time.perf_counter() - start
    parts = {f"{name}_ms": seconds * 1000 / trials for name, seconds in spent.items()}
    tell("attempt-by-part", {"trials": trials, "attempt_ms": whole_s * 1000 / trials, **parts})
    assert spent.keys() == {*("scores", "identity", "claim", "emitter_open", "context", "outcome")}
