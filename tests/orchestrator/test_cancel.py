"""`orrery cancel`: a study or a trial is ended from another process, and goes on later."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Selection, Study, cancelling
from orchestrator.attempts import attempts, claim_attempt, latest_checkpoint
from orchestrator.cancellation import cancel_study, cancel_trial
from orchestrator.driving import driver_seat
from orchestrator.errors import UsageError
from orchestrator.home import Home
from orchestrator.ledger import read_trial
from orchestrator.plan_file import write_plan
from orchestrator.planning import CANCELLED_WHY
from orchestrator.verdict import Verdict
from tests.orchestrator.quick_study import (
    arm,
    driver,
    environment,
    finish,
    mlflow_rows,
    orrery,
    orrery_here,
    quick_study,
    rule,
    tickets,
    write_study,
)


@dataclass(frozen=True)
class Case:
    """A study whose trials take minutes, in a home of its own."""

    folder: Path
    home: Home
    file: Path

    def study(self) -> Study:
        return Study.load(self.file, home=self.home.root)

    def run(self, verb: str = "run") -> list[str | Path]:
        return [verb, self.file, "--home", self.home.root]

    def cancel(self, name: str, *more: str) -> tuple[int, dict[str, Any]]:
        words = ("cancel", name, "--home", str(self.home.root), "--json", *more)
        done = orrery(*words, cwd=self.folder)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def saved(self, at_least: int) -> list[str]:
        """Identities of the trials that have saved a checkpoint of that step."""
        found = []
        for identity in self.home.identities():
            latest = latest_checkpoint(self.home.trial(identity))
            if latest is not None and latest.step >= at_least:
                found.append(identity)
        return found


def case_in(folder: Path, home: Home, steps: int = 2000, **parts: Any) -> Case:
    mapping = quick_study(
        verdict=rule(),
        base={"steps": steps, "step_s": 0.1},
        resources={"max_concurrent": 2},
        **parts,
    )
    return Case(folder, home, write_study(folder, mapping))


@pytest.fixture
def case(tmp_path: Path, mlflow_home: Home) -> Case:
    return case_in(tmp_path, mlflow_home)


@pytest.fixture
def planned(home: Home) -> Study:
    """A study that was planned, and of which nothing runs."""
    study = Study.load(quick_study(verdict=rule()), home=home.root)
    write_plan(study, study.plan())
    return study


def silent(text: str) -> None:
    """Nobody reads the progress."""


# -- a real study ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_running_study_is_cancelled_from_another_process(case: Case) -> None:
    with driver(*case.run(), cwd=case.folder) as running:
        running.wait_until(lambda: len(case.saved(2)) == 2, "two trials have saved")
        began = set(case.saved(2))
        code, told = case.cancel("quick-study")
        assert (code, told["ended"], told["left"]) == (0, True, [])
        assert running.end() == 130
    assert "Cancelled (orrery cancel): nothing is lost" in running.err
    study = case.study()
    for identity in began:
        (attempt,) = attempts(case.home.trial(identity))
        end = attempt.end()
        assert end is not None
        assert (end.state, end.failure) == ("cancelled", None)
        assert end.checkpoint_step is not None
    plan = study.plan()
    assert set(plan.counts) <= {"cancelled", "planned"}
    assert {i.trial.identity for i in plan.to_run} == {i.trial.identity for i in plan.trials}
    query = "SELECT t.value, r.status FROM runs r JOIN tags t USING (run_uuid) WHERE t.key = "
    status = dict(mlflow_rows(case.home).ask(f"{query}'orrery.trial'"))
    assert {status[identity] for identity in began} == {"KILLED"}
    code, told = case.cancel("quick-study")
    assert (code, told["did"]) == (0, [])
    assert told["found"] == [
        "it is cancelled already, and nothing of it runs; 0 of 4 trials are done"
    ]


@pytest.mark.slow
def test_the_next_run_takes_the_request_back_and_goes_on(tmp_path: Path, mlflow_home: Home) -> None:
    case = case_in(tmp_path, mlflow_home, steps=80, seeds=[0])
    with driver(*case.run(), cwd=case.folder) as running:
        running.wait_until(lambda: len(case.saved(2)) == 2, "two trials have saved")
        began = case.saved(2)
        case.cancel("quick-study")
        running.end()
    done = orrery(*case.run(), cwd=case.folder)
    assert done.returncode == 0, done.stderr
    assert not (case.study().folder / "cancel").exists()
    assert case.study().plan().counts == {"done": 2}
    for identity in began:
        outcome = read_trial(case.home, identity).outcome
        assert outcome is not None
        assert outcome.resumed_at_step is not None


@pytest.mark.slow
def test_one_trial_is_cancelled_alone_and_retried(tmp_path: Path, mlflow_home: Home) -> None:
    case = case_in(tmp_path, mlflow_home, steps=80, seeds=[0])
    with driver(*case.run(), cwd=case.folder) as running:
        running.wait_until(lambda: len(case.saved(2)) == 2, "two trials have saved")
        one = case.saved(2)[0]
        code, told = case.cancel(one[:10])
        assert (code, told["trial"], told["found"]) == (0, one, ["it runs"])
        assert running.end() == 1
    assert case.study().plan().counts == {"cancelled": 1, "done": 1}
    again = orrery(*case.run(), cwd=case.folder)
    assert again.returncode == 1
    assert "0 ran now" in again.stderr
    assert orrery(*case.run("retry"), cwd=case.folder).returncode == 0
    assert case.study().plan().counts == {"done": 2}
    code, told = case.cancel(one)
    assert (code, told["found"]) == (0, ["it is done: nothing to cancel"])


@pytest.mark.slow
def test_a_study_whose_driver_was_killed_is_cancelled(case: Case) -> None:
    with driver(*case.run(), cwd=case.folder) as running:
        running.wait_until(lambda: len(case.saved(2)) == 2, "two trials have saved")
        os.kill(running.process.pid, signal.SIGKILL)
        running.end()
        code, told = case.cancel("quick-study")
        assert (code, told["left"]) == (0, [])
    states = {item.state for item in case.study().plan().trials}
    assert states <= {"cancelled", "preempted", "planned"}


@pytest.mark.slow
def test_a_second_run_that_follows_ends_with_the_study(case: Case) -> None:
    second = case.folder / "second"
    second.mkdir()
    with (
        driver(*case.run(), cwd=case.folder) as running,
        driver(*case.run(), cwd=second) as follower,
    ):
        running.wait_until(lambda: case.saved(2), "a trial has saved")
        both = (running, follower)
        running.wait_until(lambda: any("following it" in d.err for d in both), "one follows")
        case.cancel("quick-study")
        ended = [each.end() for each in both]
        assert ended == [130, 130], [each.out + each.err for each in both]


# -- what is found --------------------------------------------------------------------------------


def test_a_study_that_has_ended_is_left_alone(planned: Study) -> None:
    finish(planned)
    told = cancel_study(planned.home, planned.instance, silent)
    assert told.found == ["it has ended: all 4 trials are done"]
    assert (told.did, told.ended) == ((), True)
    assert not cancelling.asked(planned.folder)


def test_a_study_of_which_nothing_runs_is_left_alone(planned: Study) -> None:
    told = cancel_study(planned.home, planned.instance, silent)
    assert told.found == ["nothing of it runs; 0 of 4 trials are done"]
    assert not cancelling.asked(planned.folder)


def test_what_does_not_end_is_told(planned: Study) -> None:
    """This process holds the seat and an attempt, and obeys nothing."""
    first = tickets(planned)[0]
    folder = planned.home.trial(first.identity)
    held = claim_attempt(folder, outcome_number=0, study=planned.instance)
    with driver_seat(planned):
        told = cancel_study(planned.home, planned.instance, silent, limit_s=0.5)
    assert cancelling.asked(planned.folder)
    assert not told.ended
    me = f"process {os.getpid()} on"
    assert [me in line for line in told.left] == [True, True]
    assert held.end() is None


def test_an_attempt_whose_process_is_gone_is_recorded_as_cancelled(planned: Study) -> None:
    import subprocess
    import sys

    first = tickets(planned)[0]
    folder = planned.home.trial(first.identity)
    script = (
        "import sys, time, pathlib; from orchestrator.attempts import claim_attempt;"
        "claim_attempt(pathlib.Path(sys.argv[1]), outcome_number=0, study=sys.argv[2]);"
        "print('claimed', flush=True); time.sleep(600)"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", script, str(folder), planned.instance],
        env=environment(),
        stdout=subprocess.PIPE,
    )
    assert worker.stdout is not None
    worker.stdout.readline()

    def dies(text: str) -> None:
        worker.kill()
        worker.wait()

    told = cancel_study(planned.home, planned.instance, dies)
    worker.stdout.close()
    assert told.ended
    assert "1 attempt ended as cancelled" in told.did
    assert read_trial(planned.home, first.identity).state == "cancelled"


@pytest.mark.parametrize("name", ["nothing-of-this", "."])
def test_an_unknown_name_is_refused(planned: Study, name: str) -> None:
    done = orrery_here("cancel", name, "--home", str(planned.home.root), cwd=planned.home.root)
    assert done.returncode == 2
    assert f"No study and no trial '{name}'" in done.stderr
    assert not (planned.home.studies / "cancel").exists()


def test_a_few_digits_of_an_id_are_refused(planned: Study) -> None:
    """Of a home with one trial they would name it."""
    identity = tickets(planned)[0].identity
    planned.home.trial(identity).mkdir()
    done = orrery_here(
        "cancel", identity[:3], "--home", str(planned.home.root), cwd=planned.home.root
    )
    assert done.returncode == 2
    assert "give 6 digits or more" in done.stderr
    assert cancelling.cancelled_trials(planned.folder) == frozenset()


def test_a_study_that_has_never_run_is_refused(planned: Study) -> None:
    done = orrery_here("cancel", "lora-sweep", cwd=planned.home.root)
    assert done.returncode == 2
    assert "has never run" in done.stderr


# -- one trial ------------------------------------------------------------------------------------


def test_a_trial_that_has_not_begun_is_left_out_until_it_is_retried(planned: Study) -> None:
    first = tickets(planned)[0].identity
    told = cancel_trial(planned.home, first, silent)
    assert told.did == [f"cancelled it for {planned.instance}"]
    plan = planned.plan()
    (item,) = [i for i in plan.trials if i.trial.identity == first]
    assert (item.action, item.why, item.state) == ("left", CANCELLED_WHY, "cancelled")
    assert len(plan.to_run) == 3
    assert len(planned.plan(Selection(retry=True)).to_run) == 4
    again = cancel_trial(planned.home, first, silent)
    assert again.did == ["it was cancelled already"]
    finish(planned)
    verdict: Verdict = planned.verdict()
    assert "3 of 4" in verdict.answer


def test_a_trial_that_two_studies_want_is_cancelled_for_the_one_that_runs_it(home: Home) -> None:
    one = Study.load(quick_study(arm("a"), seeds=[0]), home=home.root)
    two = Study.load(quick_study(arm("a"), arm("b", effect=2.0), seeds=[0]), home=home.root)
    for study in (one, two):
        write_plan(study, study.plan())
    shared = tickets(one)[0].identity
    claim_attempt(home.trial(shared), outcome_number=0, study=two.instance)
    told = cancel_trial(home, shared, silent, limit_s=0.0)
    assert told.study == two.instance
    assert told.did == [f"cancelled it for {two.instance}", f"{one.instance} may still run it"]
    assert cancelling.asked(two.folder, shared)
    assert not cancelling.asked(one.folder, shared)


def test_a_trial_that_no_study_wants_is_refused(planned: Study) -> None:
    with pytest.raises(UsageError, match=r"No study in .* wants trial"):
        cancel_trial(planned.home, "0123456789abcdef0123", silent)
