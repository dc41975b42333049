"""Points along values: measured once, kept with their notes, told to MLflow."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.cli.points_text import points_lines
from orchestrator.evaluation.actor import PointWorker, Result, _checked
from orchestrator.evaluation.point_files import along_curve
from orchestrator.evaluation.points import asked_points
from orchestrator.evaluation.published import figures_of, keep_figures
from orchestrator.evaluation.stage import _work
from orchestrator.evaluation.tables import PointTable, point_table
from orchestrator.fractions import curves_asked
from orchestrator.home import Home
from orchestrator.plan_file import write_plan
from orchestrator.planning import Selection
from orchestrator.publishing import trial_end
from orchestrator.retention import collect_garbage
from orchestrator.study import Study
from orchestrator.watching import Watcher
from orchestrator.watching.frame import PointsSoFar
from telemetry.publication import summary_rows
from tests.orchestrator.evaluation.dials import VALUES, dial_mapping, dial_study
from tests.orchestrator.evaluation.games import fault, measure_here, store_of
from tests.orchestrator.quick_study import finish, mlflow_rows, run_study
from workloads.evaluation import Measured


@pytest.fixture
def study(home: Home) -> Study:
    return dial_study(home)


def steep_table(study: Study) -> PointTable:
    return point_table(study, study.trials()[0])


def test_a_finished_study_knows_every_place_of_every_curve(study: Study) -> None:
    assert points_lines(study.plan()) == ["18 points on 2 models: known 0, after their trials 18"]
    finish(study)
    assert measure_here(study) == 18
    table = steep_table(study)
    assert table.complete
    for curve in curves_asked(study):
        if curve.arm == "steep":
            at = [
                np.mean([table.values["overlap"][table.index(p)] for p in points])
                for points in curve.points
            ]
            assert at == sorted(at)
    assert table.score_metric == "overlap"
    assert table.scores is not None
    assert table.scores.mean(axis=1) == pytest.approx(table.values["overlap"], abs=1e-6)
    assert points_lines(study.plan()) == ["18 points on 2 models: known 18"]


def test_a_point_that_was_not_asked_has_no_place(study: Study) -> None:
    with pytest.raises(KeyError):
        steep_table(study).index({"fraction": 0.3, "fill": "zero"})


def test_points_go_out_in_the_order_in_which_they_differ_least(study: Study) -> None:
    finish(study)
    work = _work(study, study.plan().subjects[0])
    assert list(work.order) == list(range(len(asked_points(study, study.trials()[0]))))


def test_notes_are_kept_with_their_points(study: Study) -> None:
    finish(study)
    measure_here(study)
    table = steep_table(study)
    assert set(table.notes) == set(range(len(table.points)))
    told = json.loads(table.notes[table.index({"fraction": 0.4, "fill": "zero"})])
    assert told == [{"prompt": "once", "text": "0.4 of it"}]


def test_notes_stay_when_files_are_put_together(study: Study) -> None:
    finish(study)
    measure_here(study)
    store = store_of(study, study.plan().subjects[0])
    held = store.claim(study.instance, "")
    from orchestrator.evaluation.rows import Batch, Examples, PointRow

    examples = store.parts()[0].examples()
    assert isinstance(examples, Examples)
    for index in range(3):  # of a subject that has nothing to say: files without the column
        plain = PointRow(f"p{index}", {"overlap": 1.0}, None, None, 1.0, "code")
        store.append(held, Batch(examples, [{"fraction": 0.3}], [plain]))
    store.tidy(held, most=1)
    store.release(held)
    assert len(store.parts()) == 2
    assert len(steep_table(study).notes) == len(steep_table(study).points)
    assert store.measured(["p0"]).rows["p0"].note is None


def test_a_note_that_no_file_can_hold_is_written_out() -> None:
    scores = np.ones(2, dtype=np.float32)
    found = _checked(Measured({"overlap": 1.0}, scores, note="half \ud83d of it"), 2, "overlap")
    assert found.note == "half \\ud83d of it"
    wrong = Measured({"overlap": 1.0}, scores, note=["text"])  # type: ignore[arg-type]
    assert _checked(wrong, 2, "overlap") == Result({}, None, "its note is list, not text")


def test_a_value_and_a_path_that_are_added_measure_just_those(study: Study, home: Home) -> None:
    finish(study)
    measure_here(study)
    wider = dial_study(home, values=[0.2, 0.3, *VALUES[1:]])
    assert wider.instance != study.instance
    assert [len(s.missing) for s in wider.plan().subjects] == [3, 1]
    assert wider.plan().known == 2
    paths = {**dial_mapping()["design"]["paths"], "drawn": {"point": {"fill": "random"}}}
    more = dial_study(home, paths=paths)
    assert [len(s.missing) for s in more.plan().subjects] == [0, 4]
    assert measure_here(more) == 4


def test_a_checkpoint_that_is_gone_has_its_trial_run_again(study: Study) -> None:
    finish(study)
    folder = study.home.trial(study.trials()[0].identity)
    shutil.rmtree(next(folder.glob("attempt-*/checkpoint")))
    item, other = study.plan().trials
    assert (item.action, item.afresh, other.action) == ("run", True, "known")
    assert item.why == "checkpoint gone, and 13 of 13 points not measured: run again"
    finish(study)
    assert measure_here(study) == 18


def test_gc_keeps_an_encoding_that_points_are_missing_of(study: Study) -> None:
    finish(study)
    write_plan(study, study.plan())
    assert collect_garbage(study.home.root).paths == ()
    measure_here(study)
    write_plan(study, study.plan())
    assert len(collect_garbage(study.home.root).paths) == 2
    assert study.plan().known == 2


def test_a_damaged_file_is_told_and_its_points_are_measured_again(study: Study) -> None:
    finish(study)
    measure_here(study)
    subject = study.plan().subjects[0]
    (part,) = store_of(study, subject).parts()
    part.path.write_bytes(part.path.read_bytes()[:-40])
    lines = points_lines(study.plan())
    assert lines[0] == "18 points on 2 models: known 5, to measure 13"
    assert "cannot be read" in lines[1]
    part.path.unlink()
    assert measure_here(study) == 13


def test_a_point_that_fails_is_named_and_measured_again_when_asked(
    home: Home, tmp_path: Path
) -> None:
    folder = fault(tmp_path / "faults", "error", "0.4")
    study = dial_study(home, {"base": {"faults": folder}})
    finish(study)
    measure_here(study)
    table = steep_table(study)
    failed = {table.index(p) for c in curves_asked(study)[:2] for p in c.points[1]}
    assert set(table.errors) == failed
    assert table.errors[min(failed)] == "what is known is not enough"
    assert points_lines(study.plan()) == [
        "18 points on 2 models: known 14, failed 4 (orrery retry)"
    ]
    (tmp_path / "faults" / "error").unlink()
    assert [len(s.missing) for s in study.plan(Selection(retry=True)).subjects] == [3, 1]
    assert measure_here(study, Selection(retry=True)) == 4
    assert steep_table(study).complete


def test_a_watch_counts_the_places_of_curves(study: Study) -> None:
    finish(study)
    assert Watcher(study).look().points == PointsSoFar(asked=18, measured=0, failed=0)
    measure_here(study)
    assert Watcher(study).look().points == PointsSoFar(asked=18, measured=18, failed=0)


def test_a_model_that_does_not_open_says_why(study: Study) -> None:
    finish(study)
    spec = replace(_work(study, study.plan().subjects[0]).spec, checkpoint=None, digest=None)
    worker = PointWorker()
    assert "there is no checkpoint" in worker.open(spec, *worker.pack(spec)).why


def test_curves_are_kept_as_a_table_and_as_series_by_place(study: Study) -> None:
    finish(study)
    measure_here(study)
    keep_figures(study, study.plan())
    found = figures_of(study.folder, study.trials()[0].identity)
    assert found is not None
    kept, tables = found
    series = by_path(kept.series)
    assert set(series) == {
        f"curve/{path}/{metric}"
        for path in ("zeros", "noise")
        for metric in ("overlap", "error_l2")
    }
    table = steep_table(study)
    noise = curves_asked(study)[1]
    both = [float(table.values["overlap"][table.index(p)]) for p in noise.points[0]]
    assert series["curve/noise/overlap"][0] == pytest.approx(sum(both) / 2)
    assert series["curve/zeros/error_l2"] == pytest.approx([1 - v for v in VALUES])
    with (tables / "points-of-curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 + 9
    assert [row["draw"] for row in rows if row["path"] == "noise"][:3] == ["0", "1", "0"]
    assert rows[0]["error"] == ""
    assert float(rows[0]["error_l2"]) == pytest.approx(0.8)
    assert json.loads(rows[0]["note"])[0]["text"] == "0.2 of it"


def test_a_series_has_no_value_where_a_draw_is_missing(home: Home, tmp_path: Path) -> None:
    """A row that was published stays: half a mean must never be one."""
    folder = fault(tmp_path / "faults", "error", "0.4")
    study = dial_study(home, {"base": {"faults": folder}})
    finish(study)
    measure_here(study)
    keep_figures(study, study.plan())
    item = study.plan().trials[0]
    end = trial_end(study, item)
    assert end is not None
    assert [value is None for value in by_path(end.series)["curve/noise/overlap"]] == [
        False,
        True,
        False,
        False,
        False,
    ]
    steps = [row.step for row in summary_rows(end) if "curve/noise/overlap/" in row.key]
    assert steps == [0, 2, 3, 4]


def test_a_metric_that_is_only_scored_by_example_has_a_series_too(study: Study) -> None:
    finish(study)
    measure_here(study)
    table = steep_table(study)
    zeros = curves_asked(study)[0]
    kept = along_curve(zeros, table, "overlap")
    without = replace(table, values={})
    assert along_curve(zeros, without, "overlap") == pytest.approx(kept)
    assert along_curve(zeros, without, "error_l2") == [None] * len(VALUES)


def test_a_model_that_was_made_again_and_other_values_have_series_of_their_own(
    study: Study, home: Home
) -> None:
    """The rows of a trial are those of every study that asks it, and a row stays as it is."""

    def kept(asked: Study) -> set[str]:
        measure_here(asked)
        keep_figures(asked, asked.plan())
        found = figures_of(asked.folder, asked.trials()[0].identity)
        assert found is not None
        return set(found[0].series)

    finish(study)
    first = kept(study)
    wider = dial_study(home, values=[0.2, 0.3, *VALUES[1:]])
    assert wider.trials()[0].identity == study.trials()[0].identity
    other = kept(wider)
    assert not first & other
    assert by_path(dict.fromkeys(first)) == by_path(dict.fromkeys(other))
    finish(study, Selection(again=True))
    assert not (first | other) & kept(study)


def by_path(series: Mapping[str, Any]) -> dict[str, Any]:
    """Series by path and metric, without the name of the points."""
    return {key.rpartition("/")[0]: values for key, values in series.items()}


@pytest.mark.slow
def test_a_run_measures_every_curve_and_tells_mlflow(
    home: Home, tmp_path: Path, ray_session: object
) -> None:
    log = tmp_path / "log.txt"
    mapping = {**dial_mapping(), "base": {"log": str(log)}}
    report = run_study(mapping, home)
    assert (report.ran, report.measured, report.points_left) == (2, 18, {})
    assert report.exit_code == 0
    assert len(log.read_text().splitlines()) == 18
    rows = mlflow_rows(home).ask(
        "SELECT step, value FROM metrics WHERE key LIKE 'final/curve/noise/overlap/%' ORDER BY step"
    )
    table = steep_table(report.study)
    noise = curves_asked(report.study)[1]
    means = [
        float(np.mean([table.values["overlap"][table.index(p)] for p in points]))
        for points in noise.points
    ]
    assert [step for step, _ in rows] == list(range(5))
    assert [value for _, value in rows] == pytest.approx(means)
    assert len(list(home.mlflow_artifacts.rglob("points-of-curves.csv"))) == 2

    mapping["design"]["values"] = [0.2, 0.3, *VALUES[1:]]
    wider = run_study(mapping, home)
    assert (wider.ran, wider.measured) == (0, 4)
    asked_anew = [json.loads(line) for line in log.read_text().splitlines()[18:]]
    assert {point["fraction"] for point in asked_anew} == {0.3}
    counts = mlflow_rows(home).ask(
        "SELECT COUNT(DISTINCT step) FROM metrics WHERE key LIKE 'final/curve/noise/overlap/%' "
        "GROUP BY key ORDER BY 1"
    )
    assert [count for (count,) in counts] == [5, 6]
