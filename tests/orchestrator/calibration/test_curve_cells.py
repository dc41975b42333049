"""Simulated studies of curves are judged as real ones are, and what is true of them is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from orchestrator.calibration.curve_laws import Drawn, Shape, draw_places, draw_track
from orchestrator.calibration.curve_worlds import CurveWorld, read_world
from orchestrator.calibration.curves import (
    CurveCell,
    MeasuredCell,
    QuestionsCell,
    cells,
    is_wrong,
    judged_all,
)
from orchestrator.calibration.layout import read_layout
from orchestrator.curves.gathering import AtValue, Gathered
from orchestrator.curves.questions import answers_of
from orchestrator.home import Home
from orchestrator.study import Study
from orchestrator.study_file import Fractions
from tests.orchestrator.evaluation.dials import dial_study
from tests.orchestrator.evaluation.games import measure_here
from tests.orchestrator.quick_study import finish


@pytest.fixture
def study(home: Home) -> Study:
    made = dial_study(home, {"base": {"examples": 64}})
    finish(made)
    return made


def world_of(study: Study) -> CurveWorld:
    plan = study.plan()
    world = read_world(study, plan, read_layout(study, plan))
    assert world is not None
    return world


def as_gathered(world: CurveWorld, name: str, drawn: Mapping[str, Drawn], at: int) -> Gathered:
    """One drawn curve as it would be read from points."""
    track, one = world.tracks[name], drawn[name]
    values = tuple(
        AtValue(
            value, len(one.draws), {"error_l2": 1 - track.places[i]}, tuple(one.draws[:, at, i])
        )
        for i, value in enumerate(track.values)
    )
    units = tuple(str(i) for i in range(len(world.clusters)))
    clusters = tuple(str(i) for i in world.clusters)
    arm, path = name.split("/")
    scores = one.scores[at].astype(np.float64)
    return Gathered(arm, path, "fraction", values, scores, units, clusters, 1)


@pytest.mark.parametrize(
    ("times", "shape"), [(1.0, Shape()), (6.0, Shape(scatter=0.1, spread=0.3))]
)
def test_a_drawn_study_is_judged_as_the_product_judges_it(
    study: Study, times: float, shape: Shape
) -> None:
    world = world_of(study).apart(lambda margin: times * margin, shape)
    rng = np.random.default_rng(2)
    common = draw_places(shape, world.clusters, 3, rng)
    drawn = {
        name: draw_track(track, shape, world.clusters, common, rng)
        for name, track in world.tracks.items()
    }
    judged = judged_all(world, list(world.asked), drawn)
    design = study.file.design
    assert isinstance(design, Fractions)
    for at in range(3):
        curves = [as_gathered(world, name, drawn, at) for name in world.tracks]
        for answer in answers_of(design.questions, curves, world.asks):
            mine = judged[answer.name]
            rows = [(one.label, one.low, one.high) for one in answer.values]
            rows = rows or [(answer.label, answer.low, answer.high)]
            assert [label for label, _, _ in rows] == mine.labels[at]
            assert [number_of(row[1]) for row in rows] == pytest.approx(
                mine.low[at].tolist(), abs=1e-5, nan_ok=True
            )
            assert [number_of(row[2]) for row in rows] == pytest.approx(
                mine.high[at].tolist(), abs=1e-5, nan_ok=True
            )


def number_of(end: float | None) -> float:
    """NaN for one that is open."""
    return np.nan if end is None else end


def test_curves_differ_by_the_margin_where_they_are_made_to(study: Study) -> None:
    shape = Shape(rise=0.2, spread=0.3)
    world = world_of(study)
    means = {name: track.means(shape) for name, track in world.tracks.items()}
    assert all(world.truth(one, means) == pytest.approx(0.0, abs=1e-9) for one in world.asked)
    world = world.apart(lambda margin: margin, shape)
    means = {name: track.means(shape) for name, track in world.tracks.items()}
    truth = {one.name: world.truth(one, means) for one in world.asked}
    assert truth["higher"] == pytest.approx(0.02)


def test_a_label_is_wrong_where_it_says_what_is_not_so() -> None:
    assert is_wrong("higher", 0.02, 0.02)
    assert not is_wrong("higher", 0.03, 0.02)
    assert is_wrong("sharper", -0.02, 0.02)
    assert not is_wrong("sharper", -0.03, 0.02)
    assert is_wrong("equal within the margin", -0.02, 0.02)
    assert not is_wrong("equal within the margin", -0.01, 0.02)
    assert not is_wrong("inconclusive", 1.0, 0.02)


def test_cells_count_what_came_of_their_studies(study: Study) -> None:
    plan = study.plan()
    found = cells(study, plan, read_layout(study, plan))
    assert {type(one) for one in found} == {QuestionsCell, CurveCell}
    assert len({one.name for one in found}) == len(found)
    far = next(one for one in found if one.name == "values differ by 3 margins")
    counts = far.simulate(10, np.random.default_rng(1))
    assert (counts.studies, counts.families) == (10, 10)
    assert counts.effects >= 10
    single = next(one for one in found if isinstance(one, CurveCell) and one.of == "threshold")
    counts = single.simulate(10, np.random.default_rng(1))
    assert counts.intervals == 10
    assert counts.covered >= 7


def test_measured_curves_are_drawn_again(study: Study) -> None:
    measure_here(study)
    plan = study.plan()
    found = cells(study, plan, read_layout(study, plan))
    measured = next(one for one in found if isinstance(one, MeasuredCell))
    counts = measured.simulate(10, np.random.default_rng(1))
    assert counts.studies == 10
    assert counts.wrong <= 2
    assert counts.intervals > 10
