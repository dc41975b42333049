"""Planning 10,000 trials takes under two seconds, with nothing known and with everything known."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from orchestrator import Study
from orchestrator.home import Home
from orchestrator.records import Outcome, Provenance, encode
from orchestrator.trials import Trial
from tests.benchmarks.measuring import tell
from tests.orchestrator.quick_study import quick_study

LIMIT_S = 2.0
GRID = {"effect": [i / 10 for i in range(100)], "noise": [i / 10 for i in range(20)]}
SEEDS = [0, 1, 2, 3, 4]
TRIALS = 10_000


def big_study() -> dict[str, Any]:
    """100 × 20 levels × 5 seeds: 10,000 trials."""
    return quick_study(
        name="big-study",
        base={"steps": 1},
        seeds=SEEDS,
        design={"kind": "grid", "factors": GRID},
    )


def planned(home: Home, known: int) -> float:
    """Seconds to load the study and plan it, as the command line does."""
    start = time.perf_counter()
    plan = Study.load(big_study(), home=home.root).plan()
    spent_s = time.perf_counter() - start
    assert len(plan.trials) == TRIALS
    assert plan.known == known
    return spent_s


def write_outcomes(study: Study, trials: Iterable[Trial] | None = None) -> None:
    """The files of finished trials, all of the study's by default, as far as a plan reads them."""
    for trial in study.trials() if trials is None else trials:
        folder = study.home.trial(trial.identity)
        (folder / "attempt-0000").mkdir(parents=True)
        outcome = Outcome(
            identity=trial.identity,
            number=0,
            attempt=0,
            study=study.instance,
            provenance=Provenance(study.code_digest),
            started_at_s=1.0,
            finished_at_s=2.0,
            metrics={"f1": 50.0, "x": 0.0, "unmeasured": None},
            observed=dict(trial.observed),
        )
        (folder / "identity.json").write_text(json.dumps(dict(trial.document)))
        (folder / "outcome-0000.json").write_bytes(encode(outcome))


def test_planning_ten_thousand_trials_takes_under_two_seconds(home: Home) -> None:
    unknown_s = [planned(home, 0) for _ in range(3)]
    write_outcomes(Study.load(big_study(), home=home.root))
    first_s = planned(home, TRIALS)
    known_s = [planned(home, TRIALS) for _ in range(3)]
    tell(
        "planning-10000-trials",
        {
            "nothing_known_s": unknown_s,
            "all_known_s": known_s,
            "all_known_without_index_s": first_s,
            "limit_s": LIMIT_S,
        },
    )
    assert min(unknown_s) < LIMIT_S
    assert min(known_s) < LIMIT_S
