"""Which coalitions are measured: all where that is cheap, else a sample; refusals that say more."""

from __future__ import annotations

import pytest

from telemetry.counterfactual import ENUMERATED, CoalitionError, Estimator, full, plan_coalitions
from telemetry.counterfactual.drawing import complement

ESTIMATORS: tuple[Estimator, ...] = ("paired_regression", "kernel_shap", "permutation")


@pytest.mark.parametrize("n", range(7))
def test_up_to_six_factors_are_enumerated_whatever_the_budget(n: int) -> None:
    plan = plan_coalitions(n, budget=4)
    assert plan.enumerated
    assert plan.coalitions == full(n)
    assert len(plan.coalitions) <= ENUMERATED
    assert (plan.expected_error, plan.sampling_error([0.0] * 2**n)) == (0.0, None)


def test_more_are_enumerated_on_request_or_if_the_budget_allows() -> None:
    assert plan_coalitions(8, full=True).coalitions == full(8)
    assert plan_coalitions(8, budget=256).enumerated
    assert not plan_coalitions(8, budget=255).enumerated
    assert len(plan_coalitions(16, full=True).coalitions) == 65_536


def test_beyond_sixteen_a_full_factorial_is_refused_and_sampling_priced() -> None:
    with pytest.raises(CoalitionError) as caught:
        plan_coalitions(17, full=True)
    told = str(caught.value)
    assert "131,072" in told
    assert "budget of 84" in told
    assert "expected to be off by about" in told


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_budget_too_small_is_refused_with_the_least_that_works(estimator: Estimator) -> None:
    with pytest.raises(CoalitionError, match=r"the least is \d+$") as caught:
        plan_coalitions(9, budget=6, estimator=estimator)
    least = int(str(caught.value).rsplit(" ", 1)[1])
    assert len(plan_coalitions(9, budget=least, estimator=estimator).coalitions) <= least
    with pytest.raises(CoalitionError):
        plan_coalitions(9, budget=least - 1, estimator=estimator)


def test_an_ill_conditioned_regression_is_refused_with_a_budget_that_works() -> None:
    with pytest.raises(CoalitionError, match="condition number") as caught:
        plan_coalitions(8, budget=60, estimator="k_additive")
    least = int(str(caught.value).split("works is about ")[1].split(",")[0])
    plan = plan_coalitions(8, budget=least, estimator="k_additive")
    assert plan.estimator == "k_additive"
    assert len(plan.coalitions) <= least


def test_one_draw_tells_no_error_and_is_refused() -> None:
    with pytest.raises(CoalitionError, match="2 or more"):
        plan_coalitions(8, budget=40, draws=1)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("n", "budget", "draws"), [(7, 40, 2), (8, 40, 2), (9, 120, 3)])
def test_a_sample_keeps_to_its_budget_and_to_what_its_draws_hold(
    estimator: Estimator, n: int, budget: int, draws: int
) -> None:
    plan = plan_coalitions(n, budget=budget, estimator=estimator, draws=draws)
    assert plan.sample is not None
    assert len(plan.sample.draws) == draws
    assert len(plan.coalitions) <= budget
    held = {on for draw in plan.sample.draws for on in draw.coalitions}
    assert held == set(plan.coalitions)
    for draw in plan.sample.draws:
        assert {(True,) * n, (False,) * n} <= set(draw.coalitions)
        assert {complement(on) for on in draw.coalitions} == set(draw.coalitions)


def test_a_sample_is_repeated_by_its_seed_and_differs_by_it() -> None:
    first, again, other = (plan_coalitions(9, seed=seed) for seed in (3, 3, 4))
    assert first.coalitions == again.coalitions != other.coalitions


def test_draws_do_not_share_what_was_left_to_chance() -> None:
    plan = plan_coalitions(12, budget=60)
    assert plan.sample is not None
    one, other = ({*draw.coalitions} for draw in plan.sample.draws)
    shared = {on for on in one & other if 1 < sum(on) < 11}
    assert len(shared) <= 2


def test_permutations_come_with_their_reverse() -> None:
    plan = plan_coalitions(8, budget=80, estimator="permutation")
    assert plan.sample is not None
    for draw in plan.sample.draws:
        assert len(draw.orders) >= 4
        for order, reverse in zip(draw.orders[::2], draw.orders[1::2], strict=True):
            assert order == reverse[::-1]


def test_many_factors_are_sampled_without_being_enumerated() -> None:
    plan = plan_coalitions(40, budget=200)
    assert len(plan.coalitions) == 200
    assert 0 < plan.expected_error < 0.5


def test_a_plan_says_what_it_measures_and_how_exact_that_is() -> None:
    assert plan_coalitions(3).described() == "3 factors: all 8 coalitions"
    told = plan_coalitions(8, budget=40).described()
    assert told.startswith("8 factors: 40 of 256 coalitions in 2 draws, paired_regression; ")
    assert told.endswith("if the game is smooth")


def test_names_must_be_as_many_as_the_factors() -> None:
    with pytest.raises(CoalitionError, match="2 names"):
        plan_coalitions(8).figures(("a", "b"))
