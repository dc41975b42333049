"""Attempts that are told to leave, or are cancelled: they save, end, and are resumed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from orchestrator import Study, cancelling
from orchestrator.attempts import AttemptCheckpoints, attempts, claim_attempt, outcomes
from orchestrator.engine import notice
from orchestrator.engine.job import Job, RankCheckpoints, RankFailed, RankLost
from orchestrator.engine.ticket import Ticket
from orchestrator.engine.watching import passing_on
from orchestrator.engine.worker import AttemptFailed, run_attempt
from orchestrator.home import Home
from orchestrator.leaving import ToldToLeave
from orchestrator.ledger import read_trial
from orchestrator.records import End, Failure
from tests.orchestrator.quick_study import (
    arm,
    environment,
    go_on,
    quick_study,
    tickets,
    wait_until,
    write_study,
)
from workloads.contract import Reporter, TrialStopped


@pytest.fixture(autouse=True)
def no_notice() -> Iterator[None]:
    notice.withdraw()
    yield
    notice.withdraw()


@pytest.fixture
def study(home: Home) -> Study:
    return Study.load(quick_study(arm("a"), base={"steps": 6}, seeds=[0]), home=home.root)


@pytest.fixture
def ticket(study: Study) -> Ticket:
    (one,) = tickets(study)
    return msgspec.structs.replace(one, token="mine")


def ends(home: Home, ticket: Ticket) -> list[End | None]:
    return [attempt.end() for attempt in attempts(home.trial(ticket.identity))]


def cancel_at(study: Study, ticket: Ticket, at: int, whole: bool) -> Reporter:
    """A reporter that sees to it that the trial is cancelled at a step."""

    def report(step: int, metrics: Mapping[str, float | None]) -> None:
        if step == at:
            cancelling.ask(study.folder, None if whole else ticket.identity)

    return report


# -- the notice -----------------------------------------------------------------------------------


def test_nobody_is_told_without_a_notice() -> None:
    assert notice.wanted() is None


def test_a_notice_holds_with_its_first_cause() -> None:
    notice.give("the time limit is near")
    notice.give("another")
    assert notice.wanted() == "the time limit is near"


def test_a_notice_in_the_nodes_file_reaches_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "job" / "notice"
    monkeypatch.setenv(notice.FILE_VARIABLE, str(file))
    assert notice.wanted() is None
    notice.write(file, "preempted by urgent\n")
    assert wait_until(notice.wanted, "the notice") == "preempted by urgent"


def test_asking_costs_next_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is looked for once a second, however often somebody asks."""
    looks = 0

    def read(path: Path) -> str:
        nonlocal looks
        looks += 1
        raise FileNotFoundError

    monkeypatch.setenv(notice.FILE_VARIABLE, str(tmp_path / "notice"))
    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(notice.time, "monotonic", lambda: 1000.0)
    for _ in range(1000):
        assert notice.wanted() is None
    assert looks == 1


# -- an attempt that is told ----------------------------------------------------------------------


def test_an_attempt_that_is_told_to_leave_ends_after_its_checkpoint_and_is_no_failure(
    home: Home, ticket: Ticket
) -> None:
    def told(step: int, metrics: Mapping[str, float | None]) -> None:
        if step == 3:
            notice.give("time is up")

    assert run_attempt(ticket, told) == "preempted"
    (end,) = ends(home, ticket)
    assert end is not None
    assert (end.state, end.failure, end.checkpoint_step) == ("preempted", None, 3)
    assert end.told == "time is up"
    record = read_trial(home, ticket.identity)
    assert (record.state, record.failure, record.lost_in_a_row) == ("preempted", None, 0)


def test_it_goes_on_where_it_left_and_comes_to_the_same(home: Home, tmp_path: Path) -> None:
    results = []
    for name, at in (("whole", None), ("told", 2)):
        place = Home.find(tmp_path / name).writable()
        mapping = quick_study(arm("a"), base={"steps": 6}, seeds=[0])
        (ticket,) = tickets(Study.load(mapping, home=place.root))

        def told(step: int, metrics: Mapping[str, float | None], at: int | None = at) -> None:
            if step == at:
                notice.give("time is up")

        if at is not None:
            assert run_attempt(ticket, told) == "preempted"
            notice.withdraw()
        assert run_attempt(ticket, go_on) == "done"
        (outcome,) = outcomes(place.trial(ticket.identity))
        results.append((outcome.metrics, outcome.resumed_at_step))
    assert results == [(results[0][0], None), (results[0][0], 2)]


def test_a_process_that_is_to_leave_begins_nothing(home: Home, ticket: Ticket) -> None:
    notice.give("time is up")
    assert run_attempt(ticket, go_on) == "preempted"
    assert attempts(home.trial(ticket.identity)) == []


def test_a_checkpoint_is_wanted_once_the_notice_is_there(home: Home, ticket: Ticket) -> None:
    held = claim_attempt(home.trial(ticket.identity), outcome_number=0, study=ticket.study)
    for checkpoints in (AttemptCheckpoints(held), RankCheckpoints(held, None, 0)):
        assert not checkpoints.wanted()
    notice.give("time is up")
    for step, told in enumerate((AttemptCheckpoints(held), RankCheckpoints(held, None, 0)), 1):
        assert told.wanted()
        with pytest.raises(ToldToLeave), told.saving(step) as folder:
            (folder / "state").write_text("x")
        latest = told.latest()
        assert latest is not None, "it is complete before the attempt ends"
        assert latest.step == step


def test_ranks_that_lose_each_other_as_they_leave_have_not_failed(
    home: Home, ticket: Ticket
) -> None:
    def die(job: Job, report: Reporter) -> None:
        notice.give("time is up")
        raise RankLost("rank 1 of 2 died")

    def cut_off(job: Job, report: Reporter) -> None:
        raise RankFailed(Failure("unknown", "connection closed by peer"), "")

    assert run_attempt(ticket, go_on, launch=die) == "preempted"  # type: ignore[arg-type]
    notice.withdraw()
    with pytest.raises(AttemptFailed):
        run_attempt(ticket, go_on, launch=cut_off)  # type: ignore[arg-type]


def test_what_one_process_of_an_attempt_is_told_ends_all_of_it(
    home: Home, ticket: Ticket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank on another node is told; this process, which saves, has had no notice itself."""
    monkeypatch.setattr("orchestrator.leaving.LISTEN_EVERY_S", 0.0)
    folder = home.trial(ticket.identity)

    def told_there(step: int, metrics: Mapping[str, float | None]) -> None:
        if step == 2:
            attempts(folder)[-1].note_told("preempted")

    assert run_attempt(ticket, told_there) == "preempted"
    (end,) = ends(home, ticket)
    assert end is not None
    assert (end.state, end.failure, end.told) == ("preempted", None, "preempted")
    assert run_attempt(ticket, go_on) == "done", "it is this attempt's notice alone"
    (outcome,) = outcomes(folder)
    assert outcome.resumed_at_step == 2


def test_ranks_that_die_after_one_of_them_was_told_have_lost_nothing_that_counts(
    home: Home, ticket: Ticket
) -> None:
    def die(job: Job, report: Reporter) -> None:
        job.held.note_told("time limit")
        raise RankLost("rank 1 of 2 died")

    assert run_attempt(ticket, go_on, launch=die) == "preempted"  # type: ignore[arg-type]
    assert read_trial(home, ticket.identity).lost_in_a_row == 0


def test_a_rank_passes_on_what_its_node_is_told(
    home: Home, ticket: Ticket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.engine.watching.LISTEN_EVERY_S", 0.01)
    held = claim_attempt(home.trial(ticket.identity), outcome_number=0, study=ticket.study)
    with passing_on(held):
        assert held.told() == ""
        notice.give("preempted")
        assert wait_until(held.told, "the notice") == "preempted"


def test_a_process_that_dies_after_it_was_told_has_lost_nothing_that_counts(
    home: Home, ticket: Ticket
) -> None:
    """The watch notes what it was told; the next claim finds it dead."""
    folder = home.trial(ticket.identity)
    script = (
        "import sys, os, pathlib; from orchestrator.attempts import claim_attempt;"
        "a = claim_attempt(pathlib.Path(sys.argv[1]), outcome_number=0, study='s');"
        "a.note_told('time is up'); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], env=environment(), check=False)
    assert read_trial(home, ticket.identity).failure is None
    assert run_attempt(ticket, go_on) == "done"
    first = ends(home, ticket)[0]
    assert first is not None
    assert (first.state, first.failure, first.told) == ("preempted", None, "time is up")


# -- an attempt that is cancelled -----------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
def test_a_cancelled_attempt_ends_after_its_checkpoint(
    home: Home, study: Study, ticket: Ticket, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    monkeypatch.setattr("orchestrator.leaving.LISTEN_EVERY_S", 0.0)
    assert run_attempt(ticket, cancel_at(study, ticket, 2, whole)) == "cancelled"
    (end,) = ends(home, ticket)
    assert end is not None
    assert (end.state, end.failure, end.checkpoint_step) == ("cancelled", None, 2)
    cancelling.clear(study.folder, *([] if whole else [ticket.identity]))
    assert not (study.folder / cancelling.FOLDER).exists()
    assert run_attempt(ticket, go_on) == "done"
    (outcome,) = outcomes(home.trial(ticket.identity))
    assert outcome.resumed_at_step == 2


def test_an_attempt_that_its_driver_stops_as_it_is_cancelled_is_not_pruned(
    home: Home, study: Study, ticket: Ticket
) -> None:
    def stopped(step: int, metrics: Mapping[str, float | None]) -> None:
        cancelling.ask(study.folder)
        raise TrialStopped

    assert run_attempt(ticket, stopped) == "cancelled"
    assert [end.state for end in ends(home, ticket) if end] == ["cancelled"]


def test_an_attempt_that_publishes_as_it_is_cancelled_is_done(home: Home, ticket: Ticket) -> None:
    """Its watch ends no process that has come so far."""
    script = (
        "import sys, time, msgspec, pathlib;"
        "from orchestrator import attempts, cancelling, leaving;"
        "from orchestrator.engine import watching, worker, ticket;"
        "leaving.LISTEN_EVERY_S = watching.LISTEN_EVERY_S = watching.GRACE_S = 0.05;"
        "publish = attempts.HeldAttempt.publish;"
        "study = pathlib.Path(sys.argv[2]);"
        "attempts.HeldAttempt.publish = lambda held, outcome: ("
        "cancelling.ask(study), time.sleep(1.0), publish(held, outcome))[-1];"
        "mine = msgspec.json.decode(sys.argv[1], type=ticket.Ticket);"
        "print(worker.run_attempt(mine, lambda *a: None))"
    )
    folder = home.study(ticket.study)
    words = [sys.executable, "-c", script, msgspec.json.encode(ticket).decode(), str(folder)]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert cancelling.asked(folder)
    record = read_trial(home, ticket.identity)
    assert record.outcome is not None
    assert ends(home, ticket) == [None]


def test_a_trial_that_was_cancelled_before_it_began_ends_at_once(
    home: Home, study: Study, ticket: Ticket
) -> None:
    cancelling.ask(study.folder)
    assert run_attempt(ticket, go_on) == "cancelled"
    assert [end.state for end in ends(home, ticket) if end] == ["cancelled"]


def test_another_study_that_runs_the_trial_is_not_disturbed(
    home: Home, study: Study, ticket: Ticket
) -> None:
    cancelling.ask(study.folder)
    cancelling.ask(study.folder, ticket.identity)
    theirs = msgspec.structs.replace(ticket, study="another-0123456789")
    assert run_attempt(theirs, go_on) == "done"


def test_a_worker_ends_what_is_cancelled_and_neither_saves_nor_reports(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that trains on is ended by its own watch: no driver is there."""
    mapping = quick_study(arm("a"), base={"steps": 2, "step_s": 600.0}, seeds=[0])
    study = Study.load(write_study(tmp_path, mapping), home=home.root)
    (ticket,) = tickets(study)
    script = (
        "import sys, msgspec; from orchestrator.engine import watching, worker, ticket;"
        "watching.GRACE_S = 0.5;"
        "worker.run_attempt(msgspec.json.decode(sys.argv[1], type=ticket.Ticket), lambda *a: None)"
    )
    words = [sys.executable, "-c", script, msgspec.json.encode(ticket).decode()]
    worker = subprocess.Popen(words, env=environment())
    try:
        wait_until(lambda: attempts(home.trial(ticket.identity)), "the claim")
        wait_until(lambda: attempts(home.trial(ticket.identity))[0].claim(), "the claim")
        cancelling.ask(study.folder)
        assert worker.wait(timeout=60) == 1
    finally:
        worker.kill()
        worker.wait()
    (end,) = ends(home, ticket)
    assert end is not None
    assert (end.state, end.failure) == ("cancelled", None)


# -- the files ------------------------------------------------------------------------------------


def test_asking_twice_keeps_the_first_request(tmp_path: Path) -> None:
    first = cancelling.ask(tmp_path)
    time.sleep(0.01)
    assert cancelling.ask(tmp_path) == first
    assert json.loads((tmp_path / "cancel" / "study").read_bytes())["pid"] == first.pid


def test_the_whole_study_and_single_trials_are_asked_apart(tmp_path: Path) -> None:
    assert not cancelling.asked(tmp_path, "b")
    cancelling.ask(tmp_path, "a")
    assert cancelling.asked(tmp_path, "a")
    assert not cancelling.asked(tmp_path, "b")
    assert not cancelling.asked(tmp_path)
    cancelling.ask(tmp_path)
    assert cancelling.asked(tmp_path, "b")
    assert cancelling.cancelled_trials(tmp_path) == {"a"}
    cancelling.clear(tmp_path)
    assert cancelling.asked(tmp_path, "a")
    assert not cancelling.asked(tmp_path, "b")


def test_a_request_that_somebody_wrote_by_hand_is_meant(tmp_path: Path) -> None:
    (tmp_path / "cancel").mkdir()
    (tmp_path / "cancel" / "study").touch()
    assert cancelling.asked(tmp_path)
    assert cancelling.request(tmp_path) is not None
