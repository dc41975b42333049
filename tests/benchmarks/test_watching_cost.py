"""What watching costs: a look at a large study, and the driver's note of it, against one plan."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

from orchestrator import Study
from orchestrator.home import Home
from orchestrator.publishing import study_run
from orchestrator.watching import Watcher
from tests.benchmarks.measuring import tell
from tests.orchestrator.quick_study import arm
from tests.orchestrator.watching import claim, held, publish, study_of

NOTE_LIMIT_S = 0.005
LOOK_SHARE = 0.5
"""Of the time of one plan: what every look would cost if it planned anew."""


def grown(home: Home, arms: int, seeds: int) -> Study:
    """A study of which all is done but the last trial."""
    others = [arm(f"by-{i}", effect=float(i)) for i in range(1, arms)]
    study = study_of(home, arm("plain", "baseline"), *others, seeds=list(range(seeds)))
    for trial in study.trials()[:-1]:
        publish(claim(study, trial), trial, f1=50.0)
    study.plan()  # the index is made
    return study


def seconds(work: Callable[[], object], runs: int = 15) -> list[float]:
    spent = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return spent


def test_the_note_of_a_hundred_trials_costs_the_driver_milliseconds(home: Home) -> None:
    study = grown(home, arms=20, seeds=5)
    plan = study.plan()
    now = datetime.now(UTC)
    noted = seconds(lambda: study_run(study, plan, None, "running", ["x: f1 is nan"], now))
    tell(
        "note-100",
        {"median_s": statistics.median(noted), "best_s": min(noted), "limit_s": NOTE_LIMIT_S},
    )
    assert min(noted) < NOTE_LIMIT_S


def test_a_look_at_a_thousand_trials_costs_a_fraction_of_a_plan(home: Home) -> None:
    study = grown(home, arms=10, seeds=100)
    watcher = Watcher(study)
    with held(study, "by-9", seed=99) as trial:
        time.sleep(2.5)  # folders settle
        watcher.look()
        steps = iter(range(10_000))

        def look() -> None:
            trial.emitter.metrics({"train/loss": 1.0}, step=next(steps))
            watcher.look()

        looked, planned = seconds(look), seconds(study.plan, 5)
    share = statistics.median(looked) / statistics.median(planned)
    tell(
        "look-1000",
        {
            "look_s": statistics.median(looked),
            "plan_s": statistics.median(planned),
            "share": share,
            "limit": LOOK_SHARE,
        },
    )
    assert share < LOOK_SHARE
