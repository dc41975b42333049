"""Simulated studies with known figures: intervals cover, and families hold few false claims.

Each cell draws studies whose true figures are those of a known game. The bounds hold for the
truth, so the limits of the exact intervals of what was counted must reach them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.effects.planned import planned_figures
from orchestrator.effects.tabling import Asked
from orchestrator.statistics import exact_proportion
from orchestrator.statistics.weighted import Intervals, Reduced, intervals, reduce_scores
from orchestrator.study_file import Removal
from telemetry.counterfactual import Coalition, exact_figures, full

Floats = NDArray[np.float64]
STUDIES = 200
STATES = np.array(full(3), dtype=bool)
MAIN = 3


def shapley(asked: Asked) -> Floats:
    rows = [i for i, figure in enumerate(asked.figures) if figure.kind == "shapley"]
    return asked.weights[rows]


def judged(
    scores: Floats, weights: Floats, clusters: NDArray[np.intp], *, one_model: bool, family: int = 1
) -> Intervals:
    """Of one study's scores [replicates, coalitions, examples]."""
    reduced = [reduce_scores(one, STATES, weights) for one in scores]
    sizes = [family] * len(weights)
    return intervals(reduced, clusters, sizes, 0.95, one_model=one_model)


def assert_covers(covered: int, false_claims: int, studies: int, given: int) -> None:
    share = exact_proportion(covered, given, 0.99).high
    assert share is not None
    assert share >= 0.93
    low = exact_proportion(false_claims, studies, 0.95).low
    assert low is not None
    assert low <= 0.05
    assert false_claims / studies <= 0.065


@pytest.mark.parametrize(
    ("seed_sd", "shared", "noisy"),
    [(0.0, 0.0, None), (0.5, 3.0, None), (3.0, 0.0, 5), (3.0, 3.0, None), (0.0, 3.0, 5)],
)
def test_causal_effects_cover_with_the_seed_as_outer_unit(
    make_asked: Callable[..., Asked],
    game: Floats,
    seed_sd: float,
    shared: float,
    noisy: int | None,
) -> None:
    """Seeds of an arm vary by themselves, and by what the arms of a seed share."""
    rng = np.random.default_rng(5)
    weights, clusters = shapley(make_asked()), np.arange(100) // 4
    truth = weights @ game
    covered = false_claims = 0
    for _ in range(STUDIES):
        seeds = rng.normal(0, 1.0, (5, 8, 1))
        persistent = rng.normal(0, 8.0, (1, 8, 25)).repeat(4, axis=2)
        scores = game[None, :, None] + seed_sd * seeds + shared * rng.normal(0, 1, (5, 1, 1))
        scores = scores + persistent + rng.normal(0, 15.0, (5, 8, 100))
        if noisy is not None:
            deviation = scores[:, noisy] - game[noisy]
            scores[:, noisy] = game[noisy] + 4.0 * deviation
        found = judged(scores, weights, clusters, one_model=False)
        family = judged(scores, weights, clusters, one_model=False, family=MAIN)
        covered += int(((found.low <= truth) & (truth <= found.high)).sum())
        false_claims += bool(((family.low > truth) | (truth > family.high)).any())

    assert_covers(covered, false_claims, STUDIES, STUDIES * MAIN)


@pytest.mark.parametrize(
    ("models", "size", "rate"),
    [
        *((1, 1, rate) for rate in (0.01, 0.02, 0.05, 0.1, 0.3)),
        *((1, 5, rate) for rate in (0.01, 0.05)),
        *((5, 5, rate) for rate in (0.01, 0.02)),
    ],
)
def test_removal_costs_cover_also_where_few_answers_change(
    models: int, size: int, rate: float
) -> None:
    """Right or wrong answers: a slot that is on turns few of 500 answers, all in one direction;
    half of the answers are the same ones in every model."""
    rng = np.random.default_rng(8)
    studies, batch, groups = 2000, 500, 500 // size
    clusters, truth = np.arange(500) // size, 100.0 * rate
    covered = false_claims = given = 0
    for _ in range(studies // batch):
        drawn = rng.random((batch * MAIN, models, groups))
        shared = np.where(rng.random(drawn.shape) < 0.5, drawn[:, :1], drawn)
        figures = (100.0 * (shared < rate)).repeat(size, axis=2)
        values, none = np.full(2, 100.0), np.zeros(MAIN, dtype=bool)
        reduced = [Reduced(values, figures[:, model], none) for model in range(models)]
        found, family = (
            intervals(reduced, clusters, [of] * len(figures), 0.95, one_model=models == 1)
            for of in (1, MAIN)
        )
        inside = (found.low <= truth) & (truth <= found.high)
        covered += int((inside & ~found.still).sum())  # what is exactly 0 is given no interval
        given += int((~found.still).sum())
        outside = ((family.low > truth) | (truth > family.high)) & ~family.still
        false_claims += int(outside.reshape(batch, MAIN).any(axis=1).sum())

    assert given > 100
    assert_covers(covered, false_claims, studies, given)


@pytest.mark.parametrize("examples", [50, 400])
def test_a_single_cost_of_one_model_misses_no_more_than_nominally(examples: int) -> None:
    """No draw: every number of turned answers, weighed by its binomial probability."""
    from scipy.stats import binom

    turned = np.arange(examples + 1)
    figures = 100 * (np.arange(examples) < turned[:, None]).astype(np.float64)
    reduced = Reduced(np.zeros(1), figures, np.zeros(0, dtype=bool))
    found = intervals([reduced], np.arange(examples), [1] * len(turned), 0.95, one_model=True)
    rates = np.linspace(0.005, 0.995, 199)
    missed = (found.low > 100 * rates[:, None]) | (found.high < 100 * rates[:, None])
    errs = (binom.pmf(turned, examples, rates[:, None]) * (missed & ~found.still)).sum(axis=1)
    assert errs.max() < 0.0515  # the .001 are the steps of counts


@pytest.mark.parametrize("subjects", [1, 5])
@pytest.mark.parametrize(("n", "budget"), [(7, 36), (8, 40)])
def test_sampled_coalitions_widen_what_they_must(n: int, budget: int, subjects: int) -> None:
    """Games with pairs and triples, of which a part of the coalitions is measured."""
    rng = np.random.default_rng(7)
    examples, studies = 30, 60
    factors = tuple(f"f{i}" for i in range(n))
    covered = blind = false_claims = 0
    for study in range(studies):
        design = Removal(budget=budget, sampling_seed=study % 5)
        planned = planned_figures(design, factors)
        rows = [i for i, one in enumerate(planned.figures) if one.kind == "shapley"]
        states = np.array(planned.coalitions)
        game, truth = _game(rng, n)
        values = np.array([game[on] for on in planned.coalitions])
        noise = rng.normal(0, 0.1, (subjects, len(values), examples))
        scores = values[None, :, None] + noise
        reduced = [reduce_scores(one, states, planned.weights[rows]) for one in scores]
        assert planned.sampling is not None
        errors, df = planned.sampling(scores.mean(axis=(0, 2)))

        def found(family: int, errors: Floats | None) -> Intervals:
            return intervals(
                reduced,  # noqa: B023
                np.arange(examples),
                [family] * n,
                0.95,
                one_model=subjects == 1,
                sampling_se=errors,
                sampling_df=df,  # noqa: B023
            )

        one, family, without = found(1, errors[rows]), found(n, errors[rows]), found(1, None)
        covered += int(((one.low <= truth) & (truth <= one.high)).sum())
        blind += int(((without.low <= truth) & (truth <= without.high)).sum())
        false_claims += bool(((family.low > truth) | (truth > family.high)).any())

    assert_covers(covered, false_claims, studies, studies * n)
    assert blind < covered  # the examples alone say too little


def _game(rng: np.random.Generator, n: int) -> tuple[dict[Coalition, float], Floats]:
    """62 + 10 tanh(singles N(.1, .05), pairs N(0, .01), triples N(0, .005)), and its Shapley."""
    coalitions = full(n)
    x = np.array(coalitions, dtype=float)
    inner = x @ rng.normal(0.1, 0.05, n)
    for size, sd in ((2, 0.01), (3, 0.005)):
        for members in combinations(range(n), size):
            inner = inner + rng.normal(0, sd) * x[:, list(members)].prod(axis=1)
    values = 62 + 10 * np.tanh(inner)
    exact = exact_figures(tuple(f"f{i}" for i in range(n)), 1).only("shapley").of(values)
    return dict(zip(coalitions, values.tolist(), strict=True)), exact
