"""Simulated studies of alarms are judged as real ones are, and what is true of them is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.alarms.judging import judge_alarms
from orchestrator.alarms.series import ArmRuns, Run, Series
from orchestrator.calibration.alarm_laws import Fault, Law, Runs
from orchestrator.calibration.alarm_studies import Setting, Watched, alarms, races_of, watch
from orchestrator.calibration.alarms import FigureCell, LabelsCell, leader
from tests.orchestrator.alarms.simulated import rule

STEPS = 12
SETTING = Setting(rule(), STEPS, 99, 200, (20, 20))
NORMAL = (Law(), Law())


def cell(**more: object) -> LabelsCell:
    given = {"setting": SETTING, "laws": NORMAL, "fault": Fault(), **more}
    return LabelsCell(part="alarms", name="a cell", **given)  # type: ignore[arg-type]


def arm(name: str, runs: tuple[Runs, Runs], of: str, picked: NDArray[np.intp]) -> ArmRuns:
    rows = [getattr(one, of)[picked] for one in runs]
    found = tuple(
        Run(i, str(i), {"structure": Series.of(a.tolist()), "loss": Series.of(b.tolist())})
        for i, (a, b) in enumerate(zip(*rows, strict=True))
    )
    return ArmRuns(name, found, planned=len(found))


@pytest.mark.parametrize("slopes", [(1.0, 1.0), (4.0, 1.0), (1.0, 4.0)])
def test_a_drawn_study_is_judged_as_the_product_judges_it(slopes: tuple[float, float]) -> None:
    rng = np.random.default_rng(3)
    runs = cell(fault=Fault(slopes=slopes)).runs(rng, 2000, 500)
    calibration, unseen = (rng.integers(2000, size=count) for count in (99, 200))
    watched = Watched(*(watch(SETTING, one, calibration, unseen) for one in runs))
    picked = rng.integers(500, size=40)
    races = races_of(watched, watched.deviations(runs, picked), SETTING.arms)
    judged = judge_alarms(
        SETTING.rule,
        [
            arm("healthy", runs, "healthy", calibration),
            arm("unseen", runs, "healthy", unseen),
            arm("one", runs, "faulty", picked[:20]),
            arm("other", runs, "faulty", picked[20:]),
        ],
    )
    for mine, theirs in zip((watched.first, watched.than), judged.thresholds, strict=True):
        assert mine.limit == theirs.threshold
        assert (mine.lenient, mine.strict) == (theirs.at_least, theirs.at_most)
        assert (mine.false, mine.why) == (theirs.false_alarms.events, theirs.why)
    for drawn, told in zip(races, judged.arms, strict=True):
        assert (drawn.found.first, drawn.found.than) == (told.first.events, told.than.events)
        assert told.first_at_least is not None
        assert told.than_at_least is not None
        assert drawn.leaning_to_than.first == told.first_at_least.events
        assert drawn.leaning_to_first.than == told.than_at_least.events


def test_what_is_true_follows_from_all_runs() -> None:
    rng = np.random.default_rng(4)
    assert leader(cell().runs(rng)) == 0
    assert leader(cell(fault=Fault(slopes=(2.0, 1.0))).runs(rng)) == 1
    assert leader(cell(fault=Fault(slopes=(1.0, 2.0))).runs(rng)) == -1
    runs = cell().runs(rng)
    assert runs[0].false_rate(runs[0].level) == pytest.approx(0.02, abs=0.001)
    assert np.isfinite(alarms((runs[0].faulty, runs[1].faulty), (1.0, 1.0))[0]).all()


def test_cells_count_wrong_verdicts_and_what_is_found() -> None:
    even = cell().simulate(20, np.random.default_rng(5))
    assert (even.studies, even.effects) == (20, 0)
    assert even.wrong <= 2
    clear = cell(fault=Fault(slopes=(6.0, 1.0)), effect=6.0).simulate(20, np.random.default_rng(5))
    assert clear.effects == 40
    assert clear.found >= 30
    assert clear.wrong == 0


@pytest.mark.parametrize("figure", ["first in", "median lead", "mean lead", "false alarms"])
def test_figures_are_held_against_what_all_runs_have(figure: str) -> None:
    made = FigureCell(
        part="alarms",
        name=figure,
        setting=SETTING,
        laws=NORMAL,
        fault=Fault(),
        figure=figure,  # type: ignore[arg-type]
    )
    found = made.simulate(20, np.random.default_rng(6))
    assert found.intervals >= 20
    assert found.covered >= 0.8 * found.intervals


@pytest.mark.filterwarnings("error")
def test_a_signal_that_begins_late_is_drawn_as_it_was_measured() -> None:
    rng = np.random.default_rng(8)
    late = Law().draw(150, STEPS, rng)
    late[:, :3] = np.nan
    runs = cell(real=(late, Law().draw(150, STEPS, rng))).runs(rng, 150, 100)
    assert np.isnan(runs[0].faulty[:, :3]).all()
    assert np.isfinite(runs[0].faulty[:, 3:]).all()
    leader(runs)


def test_real_runs_are_drawn_where_there_are_any() -> None:
    rng = np.random.default_rng(7)
    real = Law(heavy=True).draw(150, STEPS, rng), Law().draw(150, STEPS, rng)
    runs = cell(real=real).runs(rng)
    assert np.array_equal(runs[0].healthy, real[0])
    assert runs[1].faulty.shape == (4000, STEPS)
    assert cell(real=real).simulate(10, rng).wrong <= 2
