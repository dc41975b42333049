"""Weights of sampled coalitions: large samples are solved otherwise, and come to the same."""

from __future__ import annotations

import numpy as np
import pytest

from telemetry.counterfactual import walsh
from telemetry.counterfactual.coalitions import CoalitionError, as_array
from telemetry.counterfactual.plan import plan_coalitions


def test_transforms_give_the_weights_that_solving_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_coalitions(9, budget=300)
    states = as_array([on for on in plan.coalitions if on[0]], 9)
    solved, rest = walsh.predicted(states), walsh.Remainder(states)
    products = rest.times(np.eye(len(states)))
    monkeypatch.setattr(walsh, "MOST_SOLVED", 0)
    for one, other in zip(solved, walsh.predicted(states), strict=True):
        assert other == pytest.approx(one, abs=1e-7)
    assert rest.times(np.eye(len(states))) == pytest.approx(products, abs=1e-12)


def test_a_plan_of_many_coalitions_is_there_before_anything_is_solved() -> None:
    plan = plan_coalitions(15, budget=20_000)
    assert len(plan.coalitions) == 20_000
    assert "_shapley" not in vars(plan.sample)


def test_more_coalitions_of_many_factors_than_can_be_solved_for_are_refused() -> None:
    with pytest.raises(CoalitionError, match=r"at most 10,000 .* or take the estimator perm"):
        plan_coalitions(24, budget=2 * walsh.MOST_PAIRS + 2)
