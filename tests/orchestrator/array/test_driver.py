"""Studies run as job arrays, by the stand-in for SLURM and the real worker entry."""

from __future__ import annotations

import shutil
import threading
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from orchestrator import Selection, Study, UsageError, cancelling
from orchestrator.attempts import attempts, outcomes
from orchestrator.cli import looking
from orchestrator.cli.watch import watch
from orchestrator.engine.worker import run_attempt
from orchestrator.home import Home
from tests.orchestrator.array.conftest import Arrays
from tests.orchestrator.quick_study import (
    EVALUATED,
    RANKED,
    arm,
    computed,
    finish,
    mlflow_rows,
    quick_study,
    rule,
    tickets,
    wait_until,
)


def metrics(study: Study) -> dict[str, Any]:
    return {
        item.trial.identity: item.record.outcome and item.record.outcome.values()
        for item in study.plan().trials
    }


def test_a_study_runs_as_an_array_to_the_numbers_of_a_local_run(
    arrays: Arrays, tmp_path: Path
) -> None:
    study = arrays.load(slurm={"trials_per_task": 2})
    report, told = arrays.run(study)
    assert (report.exit_code, report.ran) == (0, 4)
    assert "submitted 2 tasks as 1_[0-1]" in told
    assert arrays.sbatch_calls() == 1
    local = Study.load(quick_study(), home=Home.find(tmp_path / "local").writable().root)
    finish(local)
    assert metrics(study) == metrics(local)
    rows = mlflow_rows(arrays.home)
    assert set(rows.runs_per_trial().values()) == {1}
    assert rows.doubled_rows() == []
    assert len(rows.steps("train/x")) == 12


@pytest.mark.slow
def test_a_study_that_ran_as_an_array_is_known_locally_and_asks_slurm_nothing(
    arrays: Arrays,
) -> None:
    study = arrays.load(seeds=[0])
    arrays.run(study)
    before = len(arrays.slurm.calls)
    assert study.plan().counts == {"done": 2}
    assert study.run(on="local").ran == 0
    assert len(arrays.slurm.calls) == before


def test_what_waits_in_the_queue_is_planned_as_such_and_not_submitted_again(
    arrays: Arrays,
) -> None:
    arrays.nothing_starts()
    study = arrays.load()
    told = arrays.submit(study)
    assert "submitted 4 tasks as 1_[0-3]" in told
    plan = study.plan()
    assert {item.action for item in plan.trials} == {"running"}
    assert plan.trials[3].why == "waits in SLURM's queue as 1_3"
    assert plan.to_run == ()
    assert study.run(on="local").ran == 0
    arrays.slurm.nodes = {"s1": 2}
    report, told = arrays.run(study)
    assert "attached to 4 tasks" in told
    assert (report.exit_code, report.ran, arrays.sbatch_calls()) == (0, 4, 1)


def test_a_queue_that_does_not_answer_counts_as_one_that_has_them(arrays: Arrays) -> None:
    arrays.nothing_starts()
    study = arrays.load()
    arrays.submit(study)
    arrays.slurm.failing["squeue"] = "squeue: error: Unable to contact slurm controller"
    assert study.plan().to_run == ()


def test_another_study_leaves_the_trials_it_shares_to_the_queue(arrays: Arrays) -> None:
    arrays.nothing_starts()
    arrays.submit(arrays.load())
    wider = arrays.load(name="wider", seeds=[0, 1, 2])
    assert [item.trial.replicate for item in wider.plan().to_run] == [2, 2]


def test_a_plan_asks_the_queue_once(arrays: Arrays) -> None:
    arrays.nothing_starts()
    study = arrays.load(seeds=[0, 1, 2, 3])
    arrays.submit(study)
    before = arrays.slurm.count("squeue")
    study.plan()
    assert arrays.slurm.count("squeue") == before + 1


@pytest.mark.slow
def test_a_wave_takes_what_the_queue_has_room_for(arrays: Arrays) -> None:
    study = arrays.load(slurm={"max_submit": 3})
    report, told = arrays.run(study)
    assert "submitted 3 tasks" in told
    assert "no room in the queue yet for 1 trial" in told
    assert (report.exit_code, report.ran, arrays.sbatch_calls()) == (0, 4, 2)


def test_who_submits_and_leaves_says_what_waits_for_room(arrays: Arrays) -> None:
    arrays.nothing_starts()
    study = arrays.load(slurm={"max_submit": 3})
    told = arrays.submit(study)
    assert "no room in the queue yet for 1 trial: the next wave goes with orrery run" in told
    assert len(study.plan().to_run) == 1


@pytest.mark.slow
def test_a_task_that_somebody_cancelled_is_submitted_again_where_it_was(
    arrays: Arrays, tmp_path: Path
) -> None:
    log = tmp_path / "steps"
    study = arrays.load(seeds=[0], base={"steps": 12, "step_s": 0.2, "log": str(log)})
    arrays.submit(study)
    wait_until(lambda: computed(log), "a trial has begun")
    arrays.slurm.command("scancel", "1_0")
    report, _ = arrays.run(study)
    assert (report.exit_code, arrays.sbatch_calls()) == (0, 2)
    steps = [(step.identity, step.step) for step in computed(log)]
    assert len(steps) == len(set(steps)) == 24


def test_a_trial_that_fails_is_not_submitted_again(arrays: Arrays) -> None:
    study = arrays.load(arm("bad", fault="raise"), arm("good"), seeds=[0])
    report, told = arrays.run(study)
    assert (report.exit_code, report.ran, arrays.sbatch_calls()) == (1, 2, 1)
    assert "failed (user_error): bad" in told


@pytest.mark.slow
def test_a_trial_that_ends_its_process_fails_alone_after_three_losses(arrays: Arrays) -> None:
    study = arrays.load(
        arm("poison", fault="kill"), arm("good"), seeds=[0], slurm={"trials_per_task": 2}
    )
    report, _ = arrays.run(study)
    poison, good = report.plan.trials
    assert (poison.state, good.state) == ("failed", "done")
    assert poison.record.failure is not None
    assert poison.record.failure.kind == "node_lost"
    assert len(attempts(arrays.home.trial(poison.trial.identity))) == 3
    assert len(attempts(arrays.home.trial(good.trial.identity))) == 1


def test_a_task_that_never_starts_is_taken_for_a_node_that_does_not_see_the_home(
    arrays: Arrays,
) -> None:
    study = arrays.load(slurm={"setup": ["exit 1"]})
    with pytest.raises(UsageError) as caught:
        arrays.run(study)
    told = str(caught.value)
    assert "never started its work" in told
    assert "nodes 's1' and 's2' probably can't see the home" in told
    assert str(arrays.home.root) in told
    assert "_log.out" in told
    arrays.slurm.wait()
    assert not arrays.slurm.running()


@pytest.mark.slow
def test_a_study_is_published_by_status_while_its_other_trials_still_wait(
    arrays: Arrays, capsys: pytest.CaptureFixture[str]
) -> None:
    study = arrays.load(seeds=[0], verdict=rule(), slurm={"at_once": 1})
    arrays.submit(study)
    wait_until(
        lambda: any(outcomes(arrays.home.trial(i)) for i in arrays.home.identities()), "one is done"
    )
    arrays.nothing_starts()
    looking.status(study.name, home=arrays.home.root)
    assert "done" in capsys.readouterr().out
    published = mlflow_rows(arrays.home).tags("state")
    assert "done" in published.values()
    assert mlflow_rows(arrays.home).doubled_rows() == []


def test_a_study_that_is_cancelled_leaves_the_queue(arrays: Arrays) -> None:
    study = arrays.load(seeds=[0])
    arrays.nothing_starts()
    arrays.submit(study)
    cancelling.ask(study.folder)
    arrays.slurm.command("scancel", "1")
    wait_until(lambda: study.plan().to_run, "nothing is in the queue")
    assert [item.job for item in study.plan().trials] == [None, None]


@pytest.mark.slow
def test_a_trial_that_another_process_finishes_is_not_submitted(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.array.driver.ELSEWHERE_EVERY_S", 0.2)
    log = tmp_path / "steps"
    study = arrays.load(arm("a"), seeds=[0], base={"steps": 6, "step_s": 0.2, "log": str(log)})
    (ticket,) = tickets(study)
    other = threading.Thread(target=run_attempt, args=(ticket, lambda step, metrics: None))
    other.start()
    wait_until(lambda: computed(log), "the other has begun")
    report, _ = arrays.run(study)
    other.join()
    assert (report.exit_code, arrays.sbatch_calls()) == (0, 0)
    assert [step.step for step in computed(log)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_a_driver_says_which_jobs_are_held_and_ends_though_none_can_be_cancelled(
    arrays: Arrays,
) -> None:
    arrays.nothing_starts()
    study = arrays.load(arm("a"), seeds=[0])
    arrays.submit(study)
    arrays.slurm.jobs["1_0"].held = True
    arrays.slurm.jobs["1_0"].reason = "launch_failed_requeued_held"
    arrays.slurm.failing["scancel"] = "scancel: error: Access/permission denied"
    later = threading.Timer(1.0, cancelling.ask, (study.folder,))
    later.start()
    report, told = arrays.run(study)
    later.join()
    assert (report.cancelled, report.exit_code) == (True, 130)
    assert told.count("held in the queue (launch_failed_requeued_held)") == 1
    assert "scontrol release 1_0" in told
    assert "SLURM did not cancel the jobs: scancel: Access/permission denied" in told


def test_a_driver_that_cannot_read_what_it_submitted_does_not_wait_for_it(
    arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays.nothing_starts()
    study = arrays.load(arm("a"), seeds=[0])
    with monkeypatch.context() as blind:
        blind.setattr("orchestrator.array.driver.sent_tasks", lambda folder: iter(()))
        with pytest.raises(UsageError, match=r"Job 1 was submitted, but .* cannot be read"):
            arrays.run(study)
    assert {item.job for item in study.plan().trials} == {"1_0"}


@pytest.mark.slow
def test_a_driver_says_that_other_jobs_of_the_user_leave_no_room(
    arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.array.outbox.ROOM_EVERY_S", 0.2)
    arrays.nothing_starts()
    arrays.submit(arrays.load(name="before"))
    study = arrays.load(arm("later"), seeds=[7], slurm={"max_submit": 4})

    def make_room() -> None:
        arrays.slurm.command("scancel", "1")
        arrays.slurm.nodes = {"s1": 2}

    later = threading.Timer(1.0, make_room)
    later.start()
    report, told = arrays.run(study)
    later.join()
    assert report.exit_code == 0
    assert told.count("no room in SLURM's queue for 1 trial:") == 1


@pytest.mark.slow
def test_a_refusal_in_mid_study_says_that_its_other_jobs_go_on(arrays: Arrays) -> None:
    slow = arm("slow", steps=40, step_s=0.25)
    arms = (slow, arm("quick", effect=1.0), arm("next", effect=2.0))
    study = arrays.load(*arms, seeds=[0], slurm={"max_submit": 2})
    arrays.slurm.failing["sbatch"] = "sbatch: error: Invalid qos specification"
    arrays.slurm.failing_after["sbatch"] = 1
    told = StringIO()
    with pytest.raises(UsageError, match="Invalid qos specification"):
        study.run(on="slurm-array", console=Console(file=told, width=1000))
    assert "The jobs go on" in told.getvalue()


def test_a_search_is_refused_before_anything_is_made(arrays: Arrays, tmp_path: Path) -> None:
    home = tmp_path / "unmade"
    search = {
        "kind": "search",
        "space": {"effect": {"uniform": [0.0, 1.0]}},
        "metric": "eval/x",
        "budget": 4,
    }
    study = Study.load(quick_study(workload=EVALUATED, design=search), home=home)
    with pytest.raises(UsageError, match=r"is a search: .* Use --on slurm\."):
        study.run(on="slurm-array")
    assert not home.exists()
    assert arrays.slurm.calls == []


def test_ranks_that_do_not_lie_evenly_are_refused(arrays: Arrays) -> None:
    study = arrays.load(resources={"ranks": 3}, slurm={"nodes_per_task": 2})
    with pytest.raises(UsageError, match=r"3 ranks cannot lie evenly on .*=2 nodes"):
        arrays.run(study)


@pytest.mark.slow
def test_ranks_started_by_srun_come_to_what_one_process_comes_to(
    arrays: Arrays, tmp_path: Path
) -> None:
    study = arrays.load(workload=RANKED, seeds=[0], resources={"ranks": 2})
    report, _ = arrays.run(study)
    assert report.exit_code == 0
    alone = Study.load(
        quick_study(workload=RANKED, seeds=[0]), home=Home.find(tmp_path / "alone").writable().root
    )
    finish(alone)
    for identity, values in metrics(study).items():
        assert values == pytest.approx(metrics(alone)[identity], abs=1e-12)
    outcome = report.plan.trials[0].record.outcome
    assert outcome is not None
    assert outcome.provenance.ranks == 2


@pytest.mark.slow
def test_a_rank_that_dies_is_a_loss_and_its_trial_goes_on(arrays: Arrays) -> None:
    fault = {"fault": "kill", "fault_rank": 1, "fault_step": 2, "fault_times": 1}
    study = arrays.load(
        arm("a", **fault), workload=RANKED, seeds=[0], resources={"ranks": 2}, base={"steps": 3}
    )
    report, told = arrays.run(study)
    assert "lost, will be tried again" in told
    assert "rank 1 of 2 died" in told
    outcome = report.plan.trials[0].record.outcome
    assert outcome is not None
    assert (outcome.attempt, outcome.resumed_at_step) == (1, 1)


def test_a_wave_whose_folder_was_removed_is_no_obstacle(arrays: Arrays) -> None:
    arrays.nothing_starts()
    study = arrays.load(seeds=[0])
    arrays.submit(study)
    shutil.rmtree(study.folder / "arrays")
    assert len(study.plan().to_run) == 2


@pytest.mark.slow
def test_a_trial_that_is_cancelled_while_it_waits_is_passed_over_for_good(arrays: Arrays) -> None:
    study = arrays.load(seeds=[0], slurm={"trials_per_task": 2})
    first, second = study.plan().trials
    arrays.nothing_starts()
    arrays.submit(study)
    cancelling.ask(study.folder, first.trial.identity)
    arrays.slurm.nodes = {"s1": 2}
    report, _ = arrays.run(study)
    assert [item.state for item in report.plan.trials] == ["cancelled", "done"]
    assert attempts(arrays.home.trial(first.trial.identity)) == []
    assert len(attempts(arrays.home.trial(second.trial.identity))) == 1
    assert arrays.sbatch_calls() == 1


@pytest.mark.slow
def test_watch_publishes_what_an_array_came_to_without_a_driver(arrays: Arrays) -> None:
    study = arrays.load(seeds=[0])
    arrays.submit(study)
    arrays.slurm.wait()
    with pytest.raises(typer.Exit) as left:
        watch(study.name, home=arrays.home.root, interval=0.2)
    assert left.value.exit_code == 0
    assert set(mlflow_rows(arrays.home).tags("state").values()) == {"done"}
    assert mlflow_rows(arrays.home).doubled_rows() == []


@pytest.mark.slow
def test_a_language_model_trained_by_an_array_comes_to_the_same_numbers(
    arrays: Arrays, tmp_path: Path
) -> None:
    def measured(home: Home) -> dict[str, float | None]:
        study = Study.load("lora-sweep", preset="smoke", home=home.root)
        (trial,) = [item for item in study.plan().trials if item.record.outcome is not None]
        assert trial.record.outcome is not None
        values = trial.record.outcome.values()
        return {name: v for name, v in values.items() if not name.endswith("_seconds")}

    here = Home.find(tmp_path / "here").writable()
    finish(Study.load("lora-sweep", preset="smoke", home=here.root), Selection(limit=1))
    study = Study.load("lora-sweep", preset="smoke", home=arrays.home.root)
    arrays.run(study, limit=1)
    assert measured(arrays.home) == measured(here)
