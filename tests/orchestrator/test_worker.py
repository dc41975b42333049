"""An attempt, from its claim to its outcome: what is published, and what is not."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator import Study
from orchestrator.attempts import Attempt, AttemptCheckpoints, attempts, claim_attempt, outcomes
from orchestrator.engine.ticket import Ticket
from orchestrator.engine.worker import AttemptFailed, run_attempt
from orchestrator.errors import BusyError
from orchestrator.home import Home
from orchestrator.records import Failure, FailureKind, Outcome
from tests.orchestrator.quick_study import (
    EVALUATED,
    arm,
    computed,
    finish,
    go_on,
    quick_study,
    tickets,
)


def study_of(home: Home, workload: dict[str, str] | None = None, **base: Any) -> Study:
    """A study of one trial."""
    mapping = quick_study(arm("a"), seeds=[0], base={"steps": 3, **base}, **(workload or {}))
    return Study.load(mapping, home=home.root)


def ticket_of(study: Study, **changes: Any) -> Ticket:
    (ticket,) = tickets(study)
    return msgspec.structs.replace(ticket, **changes)


def begun(home: Home, ticket: Ticket, step: int, code: str) -> None:
    """An attempt that was lost after it had saved a checkpoint, under the code `code`."""
    held = claim_attempt(
        home.trial(ticket.identity), outcome_number=0, study="theirs", code_digest=code
    )
    with AttemptCheckpoints(held).saving(step) as folder:
        (folder / "state.json").write_text(json.dumps({"step": step, "x": 100.0}))
    held.finish("preempted")


def failure_of_run(ticket: Ticket, report: Any = go_on) -> Failure:
    with pytest.raises(AttemptFailed) as caught:
        run_attempt(ticket, report)
    return caught.value.failure


def only_outcome(home: Home, ticket: Ticket) -> Outcome:
    (outcome,) = outcomes(home.trial(ticket.identity))
    return outcome


def test_a_worker_without_the_workload_records_that_once(home: Home) -> None:
    ticket = ticket_of(study_of(home), workload="not_here.columns:Columns")
    failure = failure_of_run(ticket)
    assert failure.kind == "user_error"
    assert "No module named 'not_here'" in failure.cause
    (attempt,) = attempts(home.trial(ticket.identity))
    end = attempt.end()
    assert end is not None
    assert (end.state, end.failure) == ("failed", failure)


# -- how it ends ----------------------------------------------------------------------------------


def test_the_claim_carries_the_tickets_token(home: Home) -> None:
    ticket = ticket_of(study_of(home), token="mine")
    run_attempt(ticket, go_on)
    (attempt,) = attempts(home.trial(ticket.identity))
    claim = attempt.claim()
    assert claim is not None
    assert claim.token == "mine"


def test_an_attempt_that_was_superseded_is_busy_and_no_failure(home: Home) -> None:
    ticket = ticket_of(study_of(home))
    folder = home.trial(ticket.identity)

    def taken_for_dead(step: int, metrics: Mapping[str, float | None]) -> None:
        Attempt(folder / "attempt-0000").finish("preempted", Failure("node_lost", "unplugged"))

    with pytest.raises(BusyError, match=r"attempt 0 .* was superseded"):
        run_attempt(ticket, taken_for_dead)
    end = Attempt(folder / "attempt-0000").end()
    assert end is not None
    assert end.state == "preempted"
    assert not (folder / "attempt-0000" / "error.txt").exists()
    assert run_attempt(ticket, go_on) == "done"


@pytest.mark.parametrize(
    ("fault", "kind", "cause"),
    [
        ("leave", "user_error", "SystemExit: 3"),
        ("interrupt", "unknown", "KeyboardInterrupt: no message"),
    ],
)
def test_a_workload_that_leaves_or_is_interrupted_has_failed(
    home: Home, fault: str, kind: FailureKind, cause: str
) -> None:
    ticket = ticket_of(study_of(home, fault=fault))
    assert failure_of_run(ticket) == Failure(kind, cause)
    (attempt,) = attempts(home.trial(ticket.identity))
    end = attempt.end()
    assert end is not None
    assert (end.state, end.failure) == ("failed", Failure(kind, cause))
    assert "Traceback" in (attempt.folder / "error.txt").read_text()


# -- what is there already ------------------------------------------------------------------------


def test_an_outcome_that_came_meanwhile_is_not_computed_again(home: Home) -> None:
    narrow = ticket_of(study_of(home, questions=10))
    finish(study_of(home, questions=20))
    assert run_attempt(narrow, go_on) == "done"
    assert len(attempts(home.trial(narrow.identity))) == 1


def test_an_outcome_that_observed_less_than_is_asked_leads_to_the_next(home: Home) -> None:
    """Two studies share a trial: the other one's came first, and asked for less."""
    wide = ticket_of(study_of(home, questions=20))
    finish(study_of(home, questions=10))
    assert run_attempt(wide, go_on) == "done"
    found = outcomes(home.trial(wide.identity))
    assert [(one.number, one.observed["questions"]) for one in found] == [(0, 10), (1, 20)]
    assert found[1].resumed_at_step == 3
    assert study_of(home, questions=20).plan().known == 1


# -- inputs ---------------------------------------------------------------------------------------


def test_an_input_that_changed_after_the_plan_fails_the_trial_at_once(
    home: Home, tmp_path: Path
) -> None:
    data, log = tmp_path / "data", tmp_path / "log"
    data.write_text("12345")
    ticket = ticket_of(study_of(home, data=str(data), log=str(log)))
    data.write_text("123456")
    failure = failure_of_run(ticket)
    assert failure.kind == "user_error"
    assert "has changed since this trial was planned" in failure.cause
    assert outcomes(home.trial(ticket.identity)) == []
    assert computed(log) == []


def test_an_input_that_changes_during_the_run_publishes_nothing(home: Home, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("12345")
    ticket = ticket_of(study_of(home, data=str(data)))

    def meddle(step: int, metrics: Mapping[str, float | None]) -> None:
        if step == 2:
            data.write_text("123456")

    failure = failure_of_run(ticket, meddle)
    assert failure.kind == "user_error"
    assert "has changed since this trial was planned" in failure.cause
    assert outcomes(home.trial(ticket.identity)) == []


def test_an_input_that_is_written_again_with_the_same_content_is_the_same(
    home: Home, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.write_text("12345")
    ticket = ticket_of(study_of(home, data=str(data)))
    data.unlink()
    data.write_text("12345")
    os.utime(data, (1, 1))
    assert run_attempt(ticket, go_on) == "done"


# -- code -----------------------------------------------------------------------------------------


def test_the_outcome_names_the_code_that_the_worker_has_loaded(home: Home) -> None:
    study = study_of(home)
    ticket = ticket_of(study)
    planned = msgspec.structs.replace(ticket.provenance, code_digest="of the driver's start")
    run_attempt(msgspec.structs.replace(ticket, provenance=planned), go_on)
    assert only_outcome(home, ticket).provenance.code_digest == study.code_digest


def test_a_trial_resumed_under_other_code_names_both(home: Home) -> None:
    study = study_of(home)
    ticket = ticket_of(study)
    begun(home, ticket, 2, "old")
    run_attempt(ticket, go_on)
    outcome = only_outcome(home, ticket)
    assert outcome.resumed_at_step == 2
    assert outcome.provenance.code_digest == f"old+{study.code_digest}"
    assert study.plan().other_code == 1


def test_a_trial_resumed_under_the_same_code_names_it_once(home: Home) -> None:
    study = study_of(home)
    ticket = ticket_of(study)
    begun(home, ticket, 2, study.code_digest)
    run_attempt(ticket, go_on)
    outcome = only_outcome(home, ticket)
    assert (outcome.resumed_at_step, outcome.provenance.code_digest) == (2, study.code_digest)


def test_a_ticket_for_the_same_code_passes_over_checkpoints_of_other_code(home: Home) -> None:
    study = study_of(home)
    ticket = ticket_of(study, same_code=True)
    begun(home, ticket, 2, "old")
    run_attempt(ticket, go_on)
    outcome = only_outcome(home, ticket)
    assert (outcome.resumed_at_step, outcome.provenance.code_digest) == (None, study.code_digest)


# -- what was reported ----------------------------------------------------------------------------

EVALUATION = {"workload": EVALUATED}


class Reported(list[float]):
    """A reporter that keeps `eval/x`."""

    def __call__(self, step: int, metrics: Mapping[str, float | None]) -> None:
        value = metrics["eval/x"]
        assert value is not None
        self.append(value)


def test_an_outcome_has_the_last_and_the_best_of_what_was_reported(home: Home) -> None:
    ticket = ticket_of(study_of(home, EVALUATION, steps=6))
    reported = Reported()
    run_attempt(ticket, reported)
    outcome = only_outcome(home, ticket)
    assert len(reported) == 6
    assert outcome.reported == {"eval/x": reported[-1]}
    assert outcome.metrics["best/x"] == max(reported) > reported[-1]


def test_a_resumed_trial_remembers_what_it_reported_before(home: Home) -> None:
    faulty = {"fault": "raise", "fault_step": 4, "fault_times": 1}
    ticket = ticket_of(study_of(home, EVALUATION, steps=6, **faulty))
    before, after = Reported(), Reported()
    failure_of_run(ticket, before)
    run_attempt(ticket, after)
    outcome = only_outcome(home, ticket)
    assert outcome.resumed_at_step == 3
    assert max(before) > max(after)
    assert outcome.metrics["best/x"] == max(before)
    assert outcome.reported == {"eval/x": after[-1]}


def test_a_wider_observation_of_a_trained_trial_keeps_what_it_reported(home: Home) -> None:
    finish(study_of(home, EVALUATION, questions=10))
    (identity,) = finish(study_of(home, EVALUATION, questions=20))
    first, second = outcomes(home.trial(identity))
    assert second.resumed_at_step == 3
    assert second.reported == first.reported != {}
    assert second.metrics["best/x"] == first.metrics["best/x"]
