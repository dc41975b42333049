"""Points by name, and the order in which they go out."""

from __future__ import annotations

import pytest

from orchestrator.errors import UsageError
from orchestrator.evaluation.points import (
    asked_for,
    asked_points,
    in_prefix_order,
    point_hash,
    subject_hash,
)
from orchestrator.home import Home
from tests.orchestrator.evaluation.games import game_mapping, game_study


def test_what_is_on_is_a_set() -> None:
    one = point_hash({"on": ["a", "b"]}, {"examples": 4})
    assert one == point_hash({"on": ["b", "a", "b"]}, {"examples": 4})
    assert one != point_hash({"on": ["a"]}, {"examples": 4})


def test_a_point_measured_on_something_else_is_another() -> None:
    assert point_hash({"on": []}, {"examples": 4}) != point_hash({"on": []}, {"examples": 5})


def test_points_that_are_no_coalitions_go_out_as_they_were_asked() -> None:
    asked = asked_for([{"fraction": 0.5}, {"fraction": 0.25}, {"fraction": 0.5}], {})
    assert len(asked.points) == 2
    assert [asked.points[i]["fraction"] for i in in_prefix_order(asked, ())] == [0.5, 0.25]


def test_nan_is_no_point() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        point_hash({"fraction": float("nan")}, {})


def test_a_trial_that_ran_again_is_another_subject() -> None:
    assert subject_hash("a" * 20, 0) != subject_hash("a" * 20, 1)


def test_neighbours_share_beginnings() -> None:
    names = ("first", "second", "third")
    points = [{"on": ["third"]}, {"on": ["first"]}, {"on": []}, {"on": ["first", "second"]}]
    order = in_prefix_order(asked_for(points, {}), names)
    assert [points[i]["on"] for i in order] == [[], ["third"], ["first"], ["first", "second"]]


def test_all_coalitions_of_the_asked_arms_are_asked(home: Home) -> None:
    arms = {"whole": {}, "other": {"players": 2}}
    study = game_study(home, arms, {"of": ["whole"]})
    whole, other = study.trials()
    assert len(asked_points(study, whole)) == 8
    assert asked_points(study, other) == ()


def test_a_model_without_switches_is_refused(home: Home) -> None:
    study = game_study(home, {"whole": {"players": 0}})
    with pytest.raises(UsageError, match="nothing that can be switched off"):
        study.plan()


def test_too_many_switches_say_so(home: Home) -> None:
    study = game_study(home, {"whole": {"players": 17}}, {"full": True})
    with pytest.raises(UsageError, match="removal from arm 'whole' \\(17 switches\\)"):
        study.plan()


def test_a_design_without_removal_asks_nothing(home: Home) -> None:
    mapping = game_mapping()
    mapping["design"] = {"kind": "configurations", "arms": [{"name": "whole"}]}
    from orchestrator.study import Study

    assert Study.load(mapping, home=home.root).plan().subjects == ()
