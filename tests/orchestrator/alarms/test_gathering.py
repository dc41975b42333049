"""From the scores of trials to alarms: what cannot be read as a series is told, never guessed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from orchestrator import Study
from orchestrator.alarms import alarms_of
from orchestrator.alarms.gathering import gather
from orchestrator.alarms.series import ArmRuns
from orchestrator.home import Home
from orchestrator.records import Outcome, Provenance
from orchestrator.score_files import write_scores
from orchestrator.trials import Trial
from tests.orchestrator.quick_study import arm, quick_study
from tests.orchestrator.watching import claim
from workloads.contract import Scores

ALARMS = {
    "signals": {"structure": {"column": "ratio"}, "loss": {"column": "loss"}},
    "first": "structure",
    "than": "loss",
    "calibration": "healthy",
    "unseen": "unseen",
    "onset": "x",
}


def study_of(home: Home, **rule: object) -> Study:
    arms = [
        {**arm("healthy"), "seeds": [0, 1, 2]},
        {**arm("unseen"), "seeds": [10, 11]},
        arm("fault", effect=5.0),
    ]
    mapping = quick_study(*arms, seeds=[20, 21], alarms={**ALARMS, **rule})
    return Study.load(mapping, home=home.root)


def finish(
    study: Study,
    trial: Trial,
    columns: Mapping[str, Sequence[float | None]] | None,
    units: Sequence[str] | None = None,
    split: str = "steps",
) -> None:
    """The outcome of a trial with its scores, as its worker publishes it."""
    attempt = claim(study, trial)
    scores = None
    if columns is not None:
        steps = [str(i) for i in range(len(next(iter(columns.values()))))]
        parts = [Scores(split, units or steps, units or steps, columns)]
        path = study.home.trial(trial.identity) / f"scores-{attempt.number:04d}.parquet"
        assert write_scores(parts, path) is not None
        scores = path.name
    now = time.time()
    outcome = Outcome(
        identity=trial.identity,
        number=0,
        attempt=attempt.number,
        study=study.instance,
        provenance=Provenance(code_digest=""),
        started_at_s=now - 1,
        finished_at_s=now,
        metrics={"x": 3.0},
        observed=dict(trial.observed),
        scores=scores,
    )
    assert attempt.publish(outcome)


def gathered(study: Study) -> dict[str, ArmRuns]:
    assert study.file.alarms is not None
    return {one.arm: one for one in gather(study, study.plan(), study.file.alarms)}


@pytest.fixture
def study(home: Home) -> Study:
    return study_of(home)


def test_a_study_that_does_not_ask_has_no_alarms(home: Home) -> None:
    study = Study.load(quick_study(), home=home.root)
    assert alarms_of(study, study.plan()) is None


def test_before_it_runs_every_trial_waits(study: Study) -> None:
    found = alarms_of(study, study.plan())
    assert found is not None
    assert found.answer == "No verdict yet: 0 of 7 trials have ended."


def test_values_missing_and_not_finite_are_told_apart(study: Study) -> None:
    trial = next(one for one in study.trials() if one.arm == "fault")
    finish(study, trial, {"ratio": [None, 0.2, 0.3], "loss": [1.0, math.nan, math.inf]})
    arm = gathered(study)["fault"]
    assert (arm.planned, arm.waiting, arm.failed, arm.problems) == (2, 1, 0, ())
    (run,) = arm.runs
    assert run.signals["structure"].measured.tolist() == [False, True, True]
    assert run.signals["loss"].measured.tolist() == [True, True, True]
    assert np.isnan(run.signals["loss"].values).tolist() == [False, True, False]
    assert (run.seed, run.trial, run.onset) == (20, trial.identity, 3)


def test_a_healthy_run_has_no_onset(study: Study) -> None:
    trial = next(one for one in study.trials() if one.arm == "healthy")
    finish(study, trial, {"ratio": [1.0], "loss": [1.0]})
    assert gathered(study)["healthy"].runs[0].onset is None


def test_steps_go_by_their_number_not_by_their_order(study: Study) -> None:
    trial = next(one for one in study.trials() if one.arm == "fault")
    finish(study, trial, {"ratio": [3.0, 1.0], "loss": [3.0, 1.0]}, units=["10", "9"])
    series = gathered(study)["fault"].runs[0].signals["loss"]
    assert series.steps.tolist() == [9, 10]
    assert series.values.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("columns", "units", "split", "told"),
    [
        (None, None, "steps", "the trial has no scores"),
        ({"loss": [1.0]}, None, "steps", "split 'steps' has no column 'ratio' (columns: loss;"),
        ({"ratio": [1.0], "loss": [1.0]}, None, "test", "splits: test)"),
        ({"ratio": [1.0], "loss": [1.0]}, ["q1"], "steps", "whole numbers; got 'q1'"),
        ({"ratio": [1.0] * 2, "loss": [1.0] * 2}, ["1", "1"], "steps", "stands there twice"),
    ],
)
def test_what_is_no_series_is_told_with_what_is_there(
    study: Study,
    columns: Mapping[str, Sequence[float | None]] | None,
    units: Sequence[str] | None,
    split: str,
    told: str,
) -> None:
    trial = next(one for one in study.trials() if one.arm == "fault")
    finish(study, trial, columns, units, split)
    arm = gathered(study)["fault"]
    assert "structure" not in arm.runs[0].signals
    assert told in arm.problems[0]
    assert arm.problems[0].startswith("fault, seed 20: signal")


def test_a_whole_study_from_its_files_is_judged(study: Study) -> None:
    for trial in study.trials():
        late, size = (50.0, 0.01) if trial.arm == "fault" else (0.0, 1.0)
        noise = size * np.random.default_rng(trial.seed).normal(size=(2, 8))
        ratio, loss = noise + late * np.array([[0, 0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]])
        finish(study, trial, {"ratio": ratio.tolist(), "loss": loss.tolist()})
    found = alarms_of(study, study.plan())
    assert found is not None
    assert found.state == "not calibrated"  # three runs calibrate nothing, and the figures stand
    assert "it takes 99 calibration runs, and there are 3" in found.answer
    (fault,) = found.arms
    assert (fault.label, fault.than.events, fault.median_lead.value) == ("not calibrated", 2, -2)
    loss = fault.times("loss")
    assert loss is not None
    assert (loss.step.value, loss.delay.value) == (4, 1)
