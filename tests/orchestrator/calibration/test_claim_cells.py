"""Cells of claims draw runs with a known figure and judge them as the study does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orchestrator import Study
from orchestrator.calibration.claims import ClaimCell, cells, ends, labels, resampled
from orchestrator.calibration.layout import read_layout
from orchestrator.calibration.run_laws import RunLaw
from orchestrator.claims.estimating import estimate
from orchestrator.claims.judging import label_of
from orchestrator.home import Home
from tests.orchestrator.quick_study import finish
from tests.orchestrator.test_findings_of_endpoints import texts_study

KL = {"arm": "far", "column": "kl", "split": "texts"}
CLAIMS = {
    "share": {**KL, "statistic": "share", "within": [0.5, None], "expected": [0.5, None]},
    "runs": {**KL, "statistic": "runs", "within": [0.5, None], "expected": [None, 0.5]},
    "median": {**KL, "statistic": "median", "expected": [0.2, 0.9]},
    "mean": {**KL, "statistic": "mean", "expected": [0.2, None]},
}


def cells_of(home: Home, claims: dict[str, Any], *, done: bool = False) -> list[ClaimCell]:
    stated = texts_study(endpoints={}, claims=claims, seeds="0-11")
    study = Study.load(stated, home=home.root)
    if done:
        finish(study)
    plan = study.plan()
    return cells(study, plan, read_layout(study, plan))  # type: ignore[return-value]


@pytest.mark.parametrize("statistic", ["share", "runs", "median", "mean"])
@pytest.mark.parametrize("runs", [1, 5, 12])
def test_labels_of_many_studies_are_those_of_the_judge(statistic: Any, runs: int) -> None:
    law = RunLaw("gamma", shares="dropping")
    drawn = law.draw(statistic, 0.6, 0.1, 20, (40, runs), np.random.default_rng(2))
    expected = (0.55, 0.9)
    low, high = ends(statistic, drawn, 0.9)
    holds, contradicted = labels(low, high, expected)
    for i, row in enumerate(drawn):
        figure = estimate(statistic, list(row), 0.9)
        if figure.low is None:
            assert np.isnan(low[i])
        else:
            assert (figure.low, figure.high) == (pytest.approx(low[i]), pytest.approx(high[i]))
        label = "holds" if holds[i] else "contradicted" if contradicted[i] else "inconclusive"
        assert label_of(figure, expected) == label


@pytest.mark.parametrize("statistic", ["share", "runs", "median", "mean"])
@pytest.mark.parametrize("law", [RunLaw(), RunLaw("lognormal", down=True, shares="dropping")])
def test_drawn_runs_have_the_figure_that_they_should(statistic: Any, law: RunLaw) -> None:
    drawn = law.draw(statistic, 0.7, 0.1, 20, (1, 40_000), np.random.default_rng(4))
    found = np.median(drawn) if statistic == "median" else drawn.mean()
    assert found == pytest.approx(0.7, abs=0.01)


def test_figures_at_the_edges_are_seldom_misjudged_and_far_ones_found(home: Home) -> None:
    found = cells_of(home, CLAIMS)
    rng = np.random.default_rng(0)
    places = [cell for cell in found if cell.effect is None]
    assert {cell.name.partition(",")[0] for cell in places} == {
        "just outside the lower edge",
        "at the lower edge",
        "just outside the upper edge",
        "at the upper edge",
    }
    for cell in places:
        counts = cell.simulate(60, rng)
        assert counts.wrong <= 9
        assert counts.covered / counts.intervals > 0.95
    far = next(cell for cell in found if cell.name == "power: share, 0.4 outside")
    counts = far.simulate(60, rng)
    assert counts.found / counts.effects > 0.5


def test_an_end_that_cannot_be_passed_is_no_edge(home: Home) -> None:
    claim = {**CLAIMS["share"], "expected": [0.5, 1.0]}
    found = cells_of(home, {"share": claim})
    assert not any("upper" in cell.name for cell in found)


def test_finished_runs_are_drawn_again_with_their_own_figure_as_the_truth(home: Home) -> None:
    found = cells_of(home, {"mean": CLAIMS["mean"]}, done=True)
    (cell,) = (cell for cell in found if cell.name == "real runs")
    (stated,) = cell.stated
    assert len(stated.real) == 12
    assert stated.truth == pytest.approx(np.mean(stated.real))
    counts = cell.simulate(50, np.random.default_rng(1))
    assert counts.covered >= 40


def test_few_finished_runs_are_smoothed_for_a_mean_and_keep_their_mean_and_sd() -> None:
    real, rng = np.array([0.1, 0.2, 0.25, 0.3, 0.9]), np.random.default_rng(6)
    drawn = resampled("mean", real, (8000, 5), rng)
    assert drawn.mean() == pytest.approx(real.mean(), abs=0.01)
    assert drawn.std() == pytest.approx(real.std(), rel=0.02)
    assert len(np.unique(drawn)) == drawn.size
    assert set(resampled("median", real, (50, 5), rng).ravel()) == set(real)


def test_a_study_without_claims_has_no_cells(home: Home) -> None:
    study = Study.load(texts_study(), home=home.root)
    plan = study.plan()
    assert cells(study, plan, read_layout(study, plan)) == []
