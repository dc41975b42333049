"""The study training-monitor, run in its smallest form: everything is shown, nothing is claimed."""

from __future__ import annotations

import pytest

from orchestrator import Study
from orchestrator.alarms.study_alarms import alarms_of
from orchestrator.home import Home
from tests.orchestrator.quick_study import finish

FAULTS = {"numeric_explosion", "true_collapse", "slow_collapse", "late_collapse"}


def test_the_full_preset_is_the_sources_model(home: Home) -> None:
    study = Study.load("training-monitor", preset="full", home=home.root)
    trial = next(item.trial for item in study.plan().trials if item.trial.arm == "healthy")
    source = study.workload.Config()
    assert trial.config.model_dump(exclude={"monitors"}) == source.model_dump(exclude={"monitors"})
    assert len(study.plan().trials) == 199 + 200 + 20 * (len(FAULTS) + 1)


@pytest.mark.slow
def test_few_healthy_runs_are_not_called_a_calibration(home: Home) -> None:
    study = Study.load("training-monitor", preset="smoke", settings={"steps": 36}, home=home.root)
    finish(study)
    plan = study.plan()
    assert plan.counts == {"done": 27}
    alarms = alarms_of(study, plan)
    assert alarms is not None
    assert alarms.state == "not calibrated"
    counted = {arm.arm: arm for arm in alarms.arms if not arm.synthetic}
    assert set(counted) == FAULTS
    assert {arm.label for arm in counted.values()} == {"not calibrated"}
    assert all(arm.runs == 3 for arm in counted.values())
    # The drawn collapse never reaches the loss, and is no part of the answer.
    drawn = alarms.find("representation_collapse")
    assert drawn is not None
    assert drawn.synthetic
    assert drawn.label == "synthetic signal"
    late = counted["late_collapse"].times("loss")
    assert late is not None
    assert late.delay.value is not None
    assert late.delay.value >= 0
