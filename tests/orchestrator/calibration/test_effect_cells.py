"""Cells of effects draw figures that are known, and judge them as a table of effects does."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.calibration.effect_family import Family, Table, distinct, families
from orchestrator.calibration.effects import NormalCell, SampledCell, TurnedCell
from orchestrator.effects.tabling import Asked, effect_table
from orchestrator.study_file import Removal

CLUSTERS = np.arange(40) // 2


def table(design: Removal, count: int, *, models: int) -> Table:
    factors = tuple(f"f{i}" for i in range(count))
    return Table("removal", design, factors, models, CLUSTERS, models == 1, 0.95)


def shapley(models: int) -> Family:
    return families(table(Removal(full=True, order=3), 3, models=models))[0]


@pytest.mark.parametrize("models", [1, 5])
def test_intervals_are_those_of_the_table_of_effects(models: int) -> None:
    family = shapley(models)
    planned = family.table.planned
    rng = np.random.default_rng(1)
    scores = rng.normal(50, 10, (models, len(planned.coalitions), len(CLUSTERS)))
    asked = Asked(
        question="removal cost",
        about="",
        seeds=tuple(range(models)),
        metric="accuracy",
        factors=family.table.factors,
        coalitions=planned.coalitions,
        figures=planned.figures,
        weights=planned.weights,
        one_model=models == 1,
    )
    judged = effect_table(asked, list(scores), CLUSTERS)
    figures = np.einsum("fc,rce->fre", family.weights, scores)
    found = family.intervals(np.stack([figures, figures]))
    for i, factor in enumerate(family.table.factors):
        effect = judged.find("shapley", factor)
        assert effect is not None
        for study in (0, 1):
            at = study * len(family.weights) + i
            assert effect.low == pytest.approx(found.low[at])
            assert effect.high == pytest.approx(found.high[at])


def test_normal_figures_vary_together_as_sums_over_combinations_do() -> None:
    family = shapley(1)
    cell = NormalCell(part="effects", name="it", family=family, seed_sd=0.0)
    drawn = cell.figures(400, np.random.default_rng(2))[:, :, 0]
    seen = np.corrcoef(drawn.transpose(1, 0, 2).reshape(3, -1))
    products = family.weights @ family.weights.T
    scale = np.sqrt(np.diag(products))
    assert seen == pytest.approx(products / np.outer(scale, scale), abs=0.05)


def test_families_cover_and_effects_are_found() -> None:
    rng = np.random.default_rng(3)
    counts = NormalCell(part="effects", name="it", family=shapley(5), seed_sd=1.0).simulate(80, rng)
    assert (counts.studies, counts.intervals, counts.effects) == (80, 240, 0)
    assert counts.wrong <= 10
    large = NormalCell(part="effects", name="it", family=shapley(5), seed_sd=1.0, effect=40.0)
    found = large.simulate(40, rng)
    assert found.found / found.effects > 0.9
    turned = TurnedCell(part="effects", name="it", family=shapley(1), rate=0.05, both=False)
    assert turned.simulate(80, rng).wrong <= 10


def test_sampled_combinations_cover_a_games_figures() -> None:
    family = families(table(Removal(budget=30, sampling_seed=1), 7, models=1))[0]
    cell = SampledCell(part="effects", name="it", family=family)
    counts = cell.simulate(20, np.random.default_rng(4))
    assert counts.covered / counts.intervals > 0.9
    assert counts.wrong <= 4


def test_families_that_hang_together_alike_are_drawn_once() -> None:
    found = families(table(Removal(full=True, order=3), 3, models=1))
    assert found[0].name == "shapley"
    kept = distinct(found)
    # single figures (the total, those of all three) are one of them
    assert sum(len(one.weights) == 1 for one in kept) == 1
    assert len(kept) < len(found)
