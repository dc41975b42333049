"""Designs yield arms, with names that a reader can tell apart."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import UsageError
from orchestrator.arms import arm_name, arms_of
from orchestrator.study_file import Configurations, Grid, Search
from tests.orchestrator.quick_study import arm


def grid(factors: dict[str, list[Any]], *arms: dict[str, Any]) -> Grid:
    return Grid.model_validate({"kind": "grid", "factors": factors, "arms": list(arms)})


def test_a_list_of_arms_is_given_as_it_is() -> None:
    design = Configurations.model_validate(
        {
            "kind": "configurations",
            "arms": [arm("plain", "baseline"), {**arm("seldom", "control"), "seeds": [9]}],
        }
    )
    plain, seldom = arms_of(design)
    assert (plain.name, plain.role, plain.seeds) == ("plain", "baseline", None)
    assert (seldom.role, seldom.seeds) == ("control", (9,))


def test_a_grid_is_every_combination_after_the_listed_arms() -> None:
    design = grid({"lora.rank": [8, 16], "alpha": [1.0]}, arm("plain", "baseline"))
    found = list(arms_of(design))
    assert [a.name for a in found] == ["plain", "rank=8,alpha=1", "rank=16,alpha=1"]
    assert found[1].overrides == {"lora.rank": 8, "alpha": 1.0}


def test_a_listed_arm_takes_the_place_of_the_grid_point_of_its_name() -> None:
    design = grid({"effect": [0, 1]}, arm("special", "baseline", effect=0))
    assert [a.name for a in arms_of(design)] == ["special", "effect=0", "effect=1"]


def test_factors_with_the_same_last_part_keep_their_whole_keys() -> None:
    point = {"a.rank": 1, "b.rank": 2, "c.alpha": 3}
    assert arm_name(point) == "a.rank=1,b.rank=2,alpha=3"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.1 + 0.2, "0.3"),
        (1e-4, "0.0001"),
        (16.0, "16"),
        (True, "True"),
        (None, "None"),
        ("a b/c", "a_b_c"),
        ("ä", "_"),
    ],
)
def test_a_level_is_named_in_plain_ascii(value: Any, shown: str) -> None:
    assert arm_name({"x": value}) == f"x={shown}"


@pytest.mark.parametrize("levels", [[1.0000001, 1.0000002], ["a/b", "a b"], [1, 1]], ids=str)
def test_points_that_would_have_one_name_are_refused(levels: list[Any]) -> None:
    with pytest.raises(UsageError, match="x="):
        list(arms_of(grid({"x": levels})))


def test_a_search_lists_no_arm_before_it_has_proposed_any() -> None:
    design = Search.model_validate(
        {
            "kind": "search",
            "space": {"effect": {"uniform": [0, 1]}},
            "budget": 3,
            "metric": "train/x",
            "arms": [arm("plain", "baseline")],
        }
    )
    assert [a.name for a in arms_of(design)] == ["plain"]
