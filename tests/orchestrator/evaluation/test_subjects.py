"""What a plan says of points, and what keeps a model that points are missing of."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest

from orchestrator.cli.points_text import points_json, points_lines
from orchestrator.evaluation.actor import PointWorker
from orchestrator.evaluation.published import figures_of, keep_figures
from orchestrator.evaluation.stage import _work
from orchestrator.evaluation.tables import point_table
from orchestrator.home import Home
from orchestrator.plan_file import write_plan
from orchestrator.planning import Selection
from orchestrator.retention import collect_garbage
from orchestrator.study import Study
from tests.orchestrator.evaluation.games import (
    game_study,
    measure_here,
    store_of,
    worth,
)
from tests.orchestrator.quick_study import finish


@pytest.fixture
def study(home: Home) -> Study:
    return game_study(home, seeds=[0, 1])


def test_points_wait_for_their_trial_then_are_open_then_known(study: Study) -> None:
    assert points_lines(study.plan()) == ["16 points on 2 models: known 0, after their trials 16"]
    finish(study, Selection(limit=1))
    assert [s.state for s in study.plan().subjects] == ["open", "waits"]
    finish(study)
    assert measure_here(study) == 16
    plan = study.plan()
    assert plan.open_subjects == ()
    assert points_lines(plan) == ["16 points on 2 models: known 16"]
    assert [entry["known"] for entry in points_json(plan)] == [8, 8]


def test_only_what_was_chosen_is_measured(study: Study) -> None:
    finish(study)
    first = study.trials()[0].identity
    plan = study.plan(Selection(only=(first,)))
    assert [s.state for s in plan.subjects] == ["open", "left"]


def test_the_table_holds_what_was_measured(study: Study) -> None:
    finish(study)
    measure_here(study)
    trial = study.trials()[0]
    table = point_table(study, trial)
    assert table.complete
    assert table.factors == ("p0", "p1", "p2")
    assert table.values["accuracy"] == pytest.approx([worth(trial, on) for on in table.on])
    assert table.scores is not None
    assert table.scores.shape == (8, 40)
    assert table.scores.mean(axis=1) == pytest.approx(table.values["accuracy"], abs=1e-4)


def test_before_the_trial_all_is_missing(study: Study) -> None:
    table = point_table(study, study.trials()[0])
    assert table.missing == tuple(range(8))
    assert (table.subject, table.scores, table.complete) == ("", None, False)


def test_another_study_knows_the_points_of_a_subject_it_shares(study: Study, home: Home) -> None:
    finish(study)
    measure_here(study)
    other = game_study(home, removal={"order": 1}, seeds=[1, 2], name="other-game")
    assert other.instance != study.instance
    assert [s.state for s in other.plan().subjects] == ["done", "waits"]


def test_a_wider_question_measures_only_what_is_new(home: Home) -> None:
    arms = {"whole": {"players": 8}}
    sampled = game_study(home, arms, {"budget": 24})
    finish(sampled)
    known = measure_here(sampled)
    assert known < 2**8
    full = game_study(home, arms, {"full": True})
    (subject,) = full.plan().subjects
    assert len(subject.missing) == 2**8 - known


def test_points_on_other_examples_are_other_points(study: Study, home: Home) -> None:
    finish(study)
    measure_here(study)
    fewer = game_study(home, {"whole": {"examples": 20}}, seeds=[0, 1])
    assert [len(s.missing) for s in fewer.plan().subjects] == [8, 8]
    measure_here(fewer)
    assert point_table(study, study.trials()[0]).complete
    assert len(point_table(fewer, fewer.trials()[0]).units) == 20


def test_a_trial_that_ran_again_is_measured_again(study: Study) -> None:
    finish(study)
    measure_here(study)
    finish(study, Selection(again=True))
    assert [len(s.missing) for s in study.plan().subjects] == [8, 8]


def test_a_checkpoint_that_is_gone_has_its_trial_run_again(study: Study) -> None:
    finish(study)
    first, _ = study.plan().trials
    for attempt in study.home.trial(first.trial.identity).glob("attempt-*"):
        shutil.rmtree(attempt / "checkpoint")
    item, other = study.plan().trials
    assert (item.action, item.afresh, other.action) == ("run", True, "known")
    assert item.why == "checkpoint gone, and 8 of 8 points not measured: run again"
    finish(study)
    assert measure_here(study) == 16
    assert study.plan().known == 2


def test_gc_keeps_a_model_that_no_run_has_begun_to_measure(study: Study) -> None:
    write_plan(study, study.plan())  # as a run does first; then it is killed after its trials
    finish(study)
    assert collect_garbage(study.home.root).paths == ()
    measure_here(study)
    write_plan(study, study.plan())
    assert len(collect_garbage(study.home.root).paths) == 2


def test_a_checkpoint_is_not_missed_once_all_points_are_known(study: Study) -> None:
    finish(study)
    measure_here(study)
    assert collect_garbage(study.home.root).paths
    plan = study.plan()
    assert (plan.known, plan.open_subjects) == (2, ())
    assert point_table(study, study.trials()[0]).complete


def test_what_is_half_measured_keeps_its_checkpoint(study: Study) -> None:
    finish(study)
    subject = study.plan().subjects[0]
    store = store_of(study, subject)
    held = store.claim(study.instance, "")
    store.note_open(subject.trial.identity, 0)
    store.release(held)  # and then it was interrupted
    removed = collect_garbage(study.home.root).paths
    assert [path.parent.parent.name for path in removed] == [study.trials()[1].identity]
    assert [s.state for s in study.plan().subjects] == ["open", "waits"]


def test_a_model_that_never_saved_is_not_run_again_for_it(home: Home) -> None:
    study = game_study(home, {"whole": {"saves": False}})
    finish(study)
    plan = study.plan()
    assert (plan.known, [s.state for s in plan.subjects]) == (1, ["open"])


def test_same_code_asks_for_what_other_code_has_measured(home: Home) -> None:
    study = game_study(home, {"whole": {"players": 2}})
    finish(study)
    older = replace(study)
    older.__dict__["code_digest"] = "older"
    assert measure_here(older) == 4
    assert study.plan().open_subjects == ()
    assert len(study.plan(Selection(same_code=True)).subjects[0].missing) == 4


def test_a_model_put_in_anothers_place_is_refused_and_trained_again_when_asked(
    study: Study,
) -> None:
    finish(study)
    first, second = (
        next(study.home.trial(trial.identity).glob("attempt-*/checkpoint/step-*/worth.json"))
        for trial in study.trials()
    )
    first.write_bytes(second.read_bytes())
    spec = _work(study, study.plan().subjects[0]).spec
    why, _ = PointWorker().pack(spec)
    assert "this is not the model that was trained" in why
    identity = study.trials()[0].identity[:8]
    assert why.endswith(f"--again {identity}")
    finish(study, Selection(again=(identity,)))
    assert measure_here(study) == 16


def test_figures_are_made_again_of_points_that_were_measured_again(study: Study) -> None:
    """Also if their files bear the names of those that were removed."""
    finish(study)
    measure_here(study)
    keep_figures(study, study.plan())
    shutil.rmtree(study.home.root / "subjects")
    folder = next(study.home.trial(study.trials()[0].identity).glob("attempt-*/checkpoint/step-*"))
    (folder / "worth.json").write_text("[1.0, 2.0, 3.0]")
    outcome = next(study.home.trial(study.trials()[0].identity).glob("outcome-*.json"))
    outcome.write_text(
        re.sub(r'"checkpoint_digest": ".*"', '"checkpoint_digest": null', outcome.read_text())
    )
    assert measure_here(study) == 16
    keep_figures(study, study.plan())
    found = figures_of(study.folder, study.trials()[0].identity)
    assert found is not None
    assert found[0].figures["removal/total"] == pytest.approx(16.0)


def test_figures_are_kept_until_the_points_change(study: Study) -> None:
    finish(study)
    assert figures_of(study.folder, study.trials()[0].identity) is None
    measure_here(study)
    keep_figures(study, study.plan())
    trial = study.trials()[0]
    found = figures_of(study.folder, trial.identity)
    assert found is not None
    kept, tables = found
    everything = frozenset({"p0", "p1", "p2"})
    assert kept.figures["removal/total"] == pytest.approx(worth(trial, everything), rel=1e-5)
    assert (tables / "removal-points.csv").read_text().splitlines()[1].startswith("none,0.0")
    written = (tables.parent / "figures.json").stat().st_mtime_ns
    keep_figures(study, study.plan())
    assert (tables.parent / "figures.json").stat().st_mtime_ns == written
