"""The effects of a study whose points were really measured."""

from __future__ import annotations

import pytest

from orchestrator.effects import effects_of, figures_by_name, trial_effects
from orchestrator.home import Home
from orchestrator.planning import Selection
from orchestrator.reporting import report_study
from tests.orchestrator.evaluation.games import game_study, measure_here, worth
from tests.orchestrator.quick_study import finish, quick_study


def test_effects_of_a_study_follow_its_points(home: Home) -> None:
    study = game_study(home, seeds=[0, 1])
    finish(study)
    measure_here(study)
    plan = study.plan()

    effects = effects_of(study, plan)

    assert effects is not None
    assert effects.causal is None
    (table,) = effects.removal
    assert (table.question, table.arm, table.seeds) == ("removal cost", "whole", (0, 1))
    everything = frozenset(("p0", "p1", "p2"))
    cost = [
        worth(item.trial, everything) - worth(item.trial, everything - {"p1"})
        for item in plan.trials
    ]
    found = table.find("removal_cost", "p1")
    assert found is not None
    assert found.value == pytest.approx(sum(cost) / 2, rel=1e-5)
    alone = trial_effects(study, plan.trials[0])
    assert alone is not None
    assert figures_by_name(alone)["removal_cost/p1"] == pytest.approx(cost[0], rel=1e-5)
    assert report_study(study, plan).findings.effects == effects
    assert report_study(study, study.plan()).findings.effects == effects  # as it was saved


def test_while_a_model_is_missing_there_is_no_figure_over_models(home: Home) -> None:
    study = game_study(home, seeds=[0, 1])
    finish(study, Selection(limit=1))
    measure_here(study)

    effects = effects_of(study, study.plan())

    assert effects is not None
    assert effects.removal[0].problems == ("seed 1: its trial is planned: there is no model yet",)
    assert [bool(table.problems) for _, table in effects.subjects] == [False, True]


def test_a_study_of_another_design_has_no_effects(home: Home) -> None:
    from orchestrator.study import Study

    study = Study.load(quick_study(), home=home.root)

    assert effects_of(study, study.plan()) is None
