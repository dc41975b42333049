"""Trials that take their node down, those beside them, and those that are told to leave."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator import Study
from orchestrator.attempts import AttemptCheckpoints, HeldAttempt, attempts, claim_attempt
from orchestrator.engine.feed import TOLD_WITHOUT_PROGRESS, Feed, ListedTickets
from orchestrator.engine.ticket import Ticket
from orchestrator.home import Home
from orchestrator.ledger import read_trial
from orchestrator.study_file import Retries
from tests.orchestrator.quick_study import arm, quick_study, tickets


@pytest.fixture
def some(home: Home) -> list[Ticket]:
    return tickets(Study.load(quick_study(arm("a"), seeds=list(range(8))), home=home.root))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass for the feed."""
    at = [1000.0]
    monkeypatch.setattr("orchestrator.engine.feed.time.monotonic", lambda: at[0])

    def later(seconds: float) -> None:
        at[0] += seconds

    return later


def feed_of(home: Home, some: list[Ticket], places: int) -> Feed:
    return Feed(home, ListedTickets.of(some), Retries(), places)


def claimed(home: Home, ticket: Ticket) -> HeldAttempt:
    return claim_attempt(
        home.trial(ticket.identity), outcome_number=0, study=ticket.study, token=ticket.token
    )


def fill(home: Home, feed: Feed) -> dict[str, str]:
    """Hands out as many as there are places for, and claims them: identities by key."""
    for key in (f"t{number}" for number in range(feed.max_out)):
        if key not in feed.out and (ticket := feed.take(key)) is not None:
            claimed(home, ticket)
    return {key: ticket.identity for key, ticket in feed.out.items()}


def test_a_poison_trial_fails_alone(home: Home, some: list[Ticket]) -> None:
    """Whatever is out with it dies with its node; everything else ends well after that."""
    poison = some[1].identity
    feed = feed_of(home, some, places=3)
    failed, done, rounds = [], [], 0
    while not feed.finished():
        rounds += 1
        assert rounds < 50
        out = fill(home, feed)
        assert out, "something can always go out"
        if poison in out.values():
            for key in out:
                told = feed.failed(key, "the node died", False)
                assert told is not None
                failed += [] if told.again else [told.ticket.identity]
        else:
            for key in out:
                feed.succeeded(key, "done")
            done += out.values()
    assert failed == [poison]
    assert sorted(done) == sorted({ticket.identity for ticket in some} - {poison})


def test_one_suspect_at_most_is_out_while_others_go_on(home: Home, some: list[Ticket]) -> None:
    feed = feed_of(home, some[:4], places=2)
    for _ in range(2):  # two of them are lost twice
        for key in fill(home, feed):
            feed.failed(key, "the node died", False)
    suspects = {ticket.identity for ticket in some[:2]}
    assert feed.suspects == suspects
    out = set(fill(home, feed).values())
    assert len(out) == 2
    assert len(out & suspects) == 1
    key = next(key for key, ticket in feed.out.items() if ticket.identity in suspects)
    feed.succeeded(key, "done")
    out = set(fill(home, feed).values())
    assert len(out & suspects) == 1, "the other one's turn"


def test_what_an_earlier_run_saw_lost_twice_is_a_suspect_too(
    home: Home, some: list[Ticket]
) -> None:
    before = feed_of(home, some[:2], places=2)
    for _ in range(2):
        for key in fill(home, before):
            before.failed(key, "the node died", False)
    feed = feed_of(home, some[:3], places=3)
    assert len(fill(home, feed)) == 2
    assert feed.left() == 3


def test_a_suspect_that_saves_something_new_is_none_any_more(
    home: Home, some: list[Ticket]
) -> None:
    feed = feed_of(home, some[:1], places=1)
    for step in (None, None, 5):
        ticket = feed.take("t")
        assert ticket is not None
        held = claimed(home, ticket)
        if step is not None:
            with AttemptCheckpoints(held).saving(step):
                pass
        told = feed.failed("t", "the node died", False)
        assert told is not None
        assert told.again
        assert bool(feed.suspects) == (read_trial(home, ticket.identity).lost_in_a_row == 2)


# -- told to leave --------------------------------------------------------------------------------


def left(home: Home, feed: Feed, now: Callable[[float], None], step: int | None = None) -> bool:
    """Whether a trial that was told to leave is handed out again."""
    ticket = feed.take("t")
    assert ticket is not None
    held = claimed(home, ticket)
    if step is not None:
        with AttemptCheckpoints(held).saving(step):
            pass
    held.finish("preempted", told="the time limit is near")
    told = feed.told_to_leave("t")
    assert told is not None
    assert told.failure.cause.startswith("told to leave: the time limit is near")
    now(60.0)
    return told.again


def test_being_told_to_leave_never_burns_a_retry(
    home: Home, some: list[Ticket], now: Callable[[float], None]
) -> None:
    feed = feed_of(home, some[:1], places=1)
    for step in range(1, 3 * TOLD_WITHOUT_PROGRESS):
        assert left(home, feed, now, step)
    assert read_trial(home, some[0].identity).lost_in_a_row == 0
    assert not feed.suspects


def test_a_trial_that_never_saves_before_it_is_told_to_leave_ends_some_day(
    home: Home, some: list[Ticket], now: Callable[[float], None]
) -> None:
    feed = feed_of(home, some[:1], places=1)
    assert [left(home, feed, now) for _ in range(TOLD_WITHOUT_PROGRESS)] == [
        *[True] * (TOLD_WITHOUT_PROGRESS - 1),
        False,
    ]
    record = read_trial(home, some[0].identity)
    assert record.state == "failed"
    assert record.failure is not None
    assert "ask for a longer time limit" in record.failure.cause
    assert feed.finished()


def test_a_process_that_dies_after_it_was_told_counts_as_told(
    home: Home, some: list[Ticket], now: Callable[[float], None]
) -> None:
    feed = feed_of(home, some[:1], places=1)
    for _ in range(5):
        ticket = feed.take("t")
        assert ticket is not None
        claimed(home, ticket).note_told("preempted by urgent")
        told = feed.failed("t", "The actor died", False)
        assert told is not None
        assert told.again
        now(60.0)
    assert read_trial(home, some[0].identity).lost_in_a_row == 0


def test_losses_before_and_after_a_notice_are_counted_together(
    home: Home, some: list[Ticket], now: Callable[[float], None]
) -> None:
    feed = feed_of(home, some[:1], places=1)
    for again in (True, True, False):
        ticket = feed.take("t")
        assert ticket is not None
        claimed(home, ticket)
        told = feed.failed("t", "The actor died", False)
        assert told is not None
        assert told.again == again
        if again:
            assert left(home, feed, now)


# -- cancelled ------------------------------------------------------------------------------------


def test_a_stopped_feed_hands_out_nothing_and_is_finished_once_nothing_is_out(
    home: Home, some: list[Ticket]
) -> None:
    feed = feed_of(home, some, places=2)
    fill(home, feed)
    feed.stop()
    assert feed.take("t9") is None
    assert feed.left() == 2
    assert not feed.finished()
    feed.succeeded("t0", "cancelled")
    feed.succeeded("t1", "cancelled")
    assert feed.finished()


def test_a_process_that_was_ended_as_cancelled_has_not_failed(
    home: Home, some: list[Ticket]
) -> None:
    feed = feed_of(home, some[:2], places=2)
    one, other = (feed.take(key) for key in ("one", "other"))
    assert one is not None
    assert other is not None
    claimed(home, one).finish("cancelled", told="orrery cancel")
    claimed(home, other)
    assert feed.cancelled("one") is not None
    assert feed.cancelled("other") is None, "it died of something else"
    assert feed.cancelled("nobody") is None
    feed.stop()
    assert feed.cancelled("other") is not None, "it died as the study was cancelled"
    assert read_trial(home, other.identity).state == "cancelled"


def test_a_trial_whose_workers_never_come_to_claim_it_is_recorded_as_failed(
    home: Home, some: list[Ticket]
) -> None:
    feed = feed_of(home, some[:1], 1)
    told = None
    while feed.take("t") is not None:
        told = feed.failed("t", "The actor died", False)
    assert told is not None
    assert not told.again
    assert feed.finished()
    (attempt,) = attempts(home.trial(some[0].identity))
    end = attempt.end()
    assert end is not None
    assert (end.state, end.failure) == ("failed", told.failure)
