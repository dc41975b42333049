"""`orrery status` of 10,000 trials, half of them done and some running, takes under two seconds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from orchestrator import Study
from orchestrator.attempts import claim_attempt
from orchestrator.home import Home
from tests.benchmarks.measuring import summary, tell, timed, within
from tests.benchmarks.test_planning_speed import TRIALS, big_study, write_outcomes
from tests.orchestrator.quick_study import command, environment, write_study

LIMIT_S = 2.0
DONE = TRIALS // 2
RUNNING = 8


def under_way(home: Home) -> Study:
    """A study in the middle: what is done is on disk, and this process holds what runs."""
    study = Study.load(big_study(), home=home.root)
    trials = list(study.trials())
    write_outcomes(study, trials[:DONE])
    for trial in trials[DONE : DONE + RUNNING]:
        claim_attempt(home.trial(trial.identity), outcome_number=0, study=study.instance)
    return study


def test_the_status_of_ten_thousand_trials_takes_under_two_seconds(
    tmp_path: Path, mlflow_home: Home
) -> None:
    under_way(mlflow_home)
    words = command(
        "status", write_study(tmp_path, big_study()), "--home", mlflow_home.root, "--json"
    )
    first = subprocess.run(
        words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert first.returncode == 0, first.stderr
    counts = {"done": DONE, "running": RUNNING, "planned": TRIALS - DONE - RUNNING}
    assert json.loads(first.stdout)["counts"] == counts
    runs = timed(words, tmp_path, 5)
    tell("status-10000-trials", {"trials": TRIALS, **summary(runs), "limit_s": LIMIT_S})
    assert within(runs, LIMIT_S)
