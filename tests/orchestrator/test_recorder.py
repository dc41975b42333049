"""How attempts end goes from the worker to the feed, and from there to the study."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from orchestrator import Study
from orchestrator.engine.feed import Feed, ListedTickets
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.ticket import Ticket
from orchestrator.engine.trainable import TICKET, AttemptTrainable
from orchestrator.errors import BusyError
from orchestrator.home import Home
from orchestrator.records import Failure, State
from orchestrator.study_file import Retries
from tests.orchestrator.quick_study import arm, quick_study, tickets


class Told:
    """A listener, and a source of tickets, that write down what they are told."""

    def __init__(self) -> None:
        self.words: list[tuple[Any, ...]] = []

    def started(self, ticket: Ticket) -> None:
        self.words.append(("started",))

    def reported(self, ticket: Ticket, step: int, metrics: Mapping[str, float | None]) -> None:
        self.words.append(("reported", step, metrics))

    def ended(self, ticket: Ticket, state: State) -> None:
        self.words.append(("ended", state))

    def failed(self, ticket: Ticket, failure: Failure, again: bool) -> None:
        self.words.append(("failed", failure, again))


class ToldSource(Told, ListedTickets):
    """The list's own way to be told is replaced."""

    def __init__(self, some: list[Ticket]) -> None:
        Told.__init__(self)
        ListedTickets.__init__(self, ListedTickets.of(some).waiting)


@pytest.fixture
def ticket(home: Home) -> Ticket:
    (made,) = tickets(Study.load(quick_study(arm("a"), seeds=[0]), home=home.root))
    return made


def trial(**last: Any) -> Any:
    """A trial of Tune's with its last result."""
    return SimpleNamespace(trial_id="t", last_result=last)


def end(home: Home, ticket: Ticket, **last: Any) -> tuple[Feed, ToldSource, Told]:
    source, listener = ToldSource([ticket]), Told()
    feed = Feed(home, source, Retries(), 1)
    recorder = Recorder(feed, listener)
    feed.take("t")
    recorder.on_trial_complete(0, [], trial(**last))
    assert feed.out == {}
    return feed, source, listener


def test_an_attempt_that_could_not_begin_has_failed(home: Home, ticket: Ticket) -> None:
    feed, source, listener = end(home, ticket, state="refused", cause="OSError: disk full")
    assert listener.words == [("failed", Failure("unknown", "OSError: disk full"), False)]
    assert source.words == [("ended", "failed")]
    assert feed.finished()


def test_an_attempt_at_a_trial_of_another_process_has_not_ended(home: Home, ticket: Ticket) -> None:
    feed, source, listener = end(home, ticket, state="busy", cause="x")
    assert (source.words, listener.words) == ([], [])
    assert not feed.finished()


def test_a_trial_that_its_scheduler_ended_is_pruned(home: Home, ticket: Ticket) -> None:
    _, source, listener = end(home, ticket, state="running", step=2, metrics={})
    assert source.words == listener.words == [("ended", "pruned")]


def test_what_a_trial_reports_is_told_to_its_source_and_to_the_study(
    home: Home, ticket: Ticket
) -> None:
    source, listener = ToldSource([ticket]), Told()
    feed = Feed(home, source, Retries(), 1)
    feed.take("t")
    result = {"state": "running", "step": 2, "metrics": {"x": 1.0}}
    Recorder(feed, listener).on_trial_result(0, [], trial(), result)
    assert source.words == listener.words == [("reported", 2, {"x": 1.0})]


@pytest.mark.parametrize(
    ("error", "state", "cause"),
    [
        (OSError(28, "No space left on device"), "refused", "No space left on device"),
        (BusyError("attempt 0 is alive"), "busy", "attempt 0 is alive"),
    ],
)
def test_a_worker_says_why_it_did_not_begin(
    error: Exception, state: str, cause: str, ticket: Ticket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any) -> State:
        raise error

    monkeypatch.setattr("orchestrator.engine.trainable.run_attempt", refuses)
    worker = AttemptTrainable.__new__(AttemptTrainable)  # without the Ray that Tune's part needs
    worker.setup({TICKET: msgspec.json.encode(ticket)})
    result = worker.step()
    assert (result["done"], result["state"]) == (True, state)
    assert cause in result["cause"]
