"""Cells of endpoints draw what the study compares and judge it as the study does."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from orchestrator import Study
from orchestrator.calibration.endpoint_family import families, is_effect, is_no_effect
from orchestrator.calibration.endpoints import EndpointCell, cells
from orchestrator.calibration.layout import read_layout
from orchestrator.calibration.paired_residuals import residuals_of
from orchestrator.endpoints.judging import judge_endpoints
from orchestrator.endpoints.pairing import Run
from orchestrator.endpoints.pairing import Side as Gathered
from orchestrator.endpoints.rule import Endpoint
from orchestrator.home import Home
from tests.orchestrator.quick_study import finish
from tests.orchestrator.test_findings_of_endpoints import texts_study


@pytest.fixture
def study(home: Home) -> Study:
    return Study.load(texts_study(), home=home.root)


def cells_of(study: Study) -> list[EndpointCell]:
    plan = study.plan()
    found = cells(study, plan, read_layout(study, plan))
    assert all(isinstance(one, EndpointCell) for one in found)
    return found  # type: ignore[return-value]


def test_families_are_those_that_the_study_judges(study: Study) -> None:
    plan = study.plan()
    primary, secondary = families(study, read_layout(study, plan))
    # far, near and the control `same`, which hangs on no seed as `base` does
    assert (primary.name, primary.size, len(primary.compared)) == ("primary", 3, 3)
    assert (secondary.name, secondary.size) == ("secondary", 2)
    fixed = {one.arm.arm for one in primary.compared if one.fixed}
    assert fixed == {"same"}


def test_labels_of_many_studies_are_those_of_the_judge(study: Study) -> None:
    asked = [cell for cell in cells_of(study) if "secondary" not in cell.name][:7]
    labels = set()
    for cell in asked:
        for one, differences, _ in cell.differences(6, np.random.default_rng(3)):
            ends = cell.family.interval(one, differences)
            clusters = [str(c) for c in cell.family.clusters[one.arm.column]]
            units = [str(i) for i in range(len(clusters))]
            for i, table in enumerate(differences):
                runs = [Run(s, units, clusters, list(row)) for s, row in enumerate(table)]
                zeros = [Run(s, units, clusters, [0.0] * len(units)) for s in range(len(table))]
                seeds = tuple(range(len(table)))
                arm = Gathered("a", tuple(runs), seeds, deterministic=one.fixed)
                base = Gathered("b", tuple(zeros), seeds, deterministic=one.fixed)
                endpoint = Endpoint(column="kl", against="b", margin=1.0)
                # so many others as the family has beside it
                alone = 1 - (1 - cell.family.confidence) / cell.family.size
                (judged,) = judge_endpoints(
                    {"it": endpoint}, {"it": {"a": arm, "b": base}}, confidence=alone
                ).comparisons
                if cell.family.size == 1:
                    assert judged.low == pytest.approx(ends.low[i])
                label = (
                    "no effect"
                    if is_no_effect(ends, 1.0)[i]
                    else "effect, higher"
                    if is_effect(ends, 1.0, 1)[i]
                    else "effect, lower"
                    if is_effect(ends, 1.0, -1)[i]
                    else "inconclusive"
                )
                labels.add(label)
                assert judged.label == label
    assert len(labels) > 1


def test_studies_without_differences_are_seldom_wrong_and_large_ones_are_found(
    study: Study,
) -> None:
    by_name = {cell.name: cell for cell in cells_of(study)}
    rng = np.random.default_rng(0)
    none = by_name["primary: none, normal, seed SD 1"].simulate(100, rng)
    assert (none.studies, none.intervals, none.effects) == (100, 300, 0)
    assert none.wrong <= 12
    assert none.covered / none.intervals > 0.95
    large = by_name["power: kl, 8 margins"]
    assert large.effect == pytest.approx(0.08)
    found = large.simulate(50, rng)
    assert found.found / found.effects > 0.9


def test_a_cell_can_be_sent_and_gives_the_same_again(study: Study) -> None:
    cell = cells_of(study)[0]
    sent = pickle.loads(pickle.dumps(cell))
    once, again = (one.simulate(20, np.random.default_rng(5)) for one in (cell, sent))
    assert once == again


def test_finished_runs_are_resampled_around_0(study: Study) -> None:
    finish(study)
    plan = study.plan()
    layout = read_layout(study, plan)
    family = families(study, layout)[0]
    found = residuals_of(family, layout)
    assert {one.arm.arm for one in found} == {"far", "near"}  # `same` equals `base`
    for residuals in found.values():
        draws = residuals.draw(400, 5, 0.0, np.random.default_rng(1))
        error = draws.mean(axis=(1, 2)).std() / 20
        assert abs(draws.mean()) < 5 * error
    assert any("real differences" in cell.name for cell in cells_of(study))


def test_a_study_without_endpoints_has_no_cells(home: Home) -> None:
    claim = {"arm": "far", "statistic": "mean", "column": "kl", "split": "texts"}
    stated = texts_study(endpoints={}, claims={"far": {**claim, "expected": [0, 1]}})
    assert cells_of(Study.load(stated, home=home.root)) == []
