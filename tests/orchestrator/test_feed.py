"""The feed hands tickets out, and decides by kind of failure what is tried again."""

from __future__ import annotations

import errno

import msgspec
import pytest

from orchestrator import Study
from orchestrator.attempts import AttemptCheckpoints, HeldAttempt, attempts, claim_attempt
from orchestrator.engine.feed import BUSY_PAUSE_S, Feed, ListedTickets
from orchestrator.engine.ticket import Ticket
from orchestrator.home import Home
from orchestrator.ledger import read_trial
from orchestrator.records import Claim, Failure, FailureKind, State
from orchestrator.study_file import Retries
from tests.orchestrator.quick_study import arm, quick_study, tickets


@pytest.fixture
def some(home: Home) -> list[Ticket]:
    return tickets(Study.load(quick_study(arm("a")), home=home.root))


def feed_of(home: Home, some: list[Ticket], max_out: int = 1, **retries: int) -> Feed:
    return Feed(home, ListedTickets.of(some), Retries(**retries), max_out)


def take(feed: Feed, name: str = "t") -> Ticket:
    ticket = feed.take(name)
    assert ticket is not None
    return ticket


def claimed(home: Home, ticket: Ticket) -> HeldAttempt:
    return claim_attempt(
        home.trial(ticket.identity), outcome_number=0, study=ticket.study, token=ticket.token
    )


def fails(home: Home, feed: Feed, kind: FailureKind, name: str = "t") -> bool:
    """Whether a trial that fails like this is tried again."""
    ticket = take(feed, name)
    claimed(home, ticket).finish("failed", Failure(kind, "x"))
    told = feed.failed(name, "", False)
    assert told is not None
    assert told.failure.kind == kind
    return told.again


def lost(home: Home, feed: Feed, step: int | None = None) -> tuple[str, bool]:
    """Cause and whether it is tried again, of a trial whose process died."""
    ticket = take(feed)
    held = claimed(home, ticket)
    if step is not None:
        with AttemptCheckpoints(held).saving(step):
            pass
    told = feed.failed("t", "The actor died", False)
    assert told is not None
    assert told.failure.kind == "node_lost"
    return told.failure.cause, told.again


# -- handing out ----------------------------------------------------------------------------------


def test_tickets_go_out_in_order_while_there_is_room(home: Home, some: list[Ticket]) -> None:
    feed = feed_of(home, some, max_out=1)
    assert take(feed, "one").identity == some[0].identity
    assert feed.take("two") is None
    feed.succeeded("one", "done")
    assert take(feed, "two").identity == some[1].identity
    feed.succeeded("two", "done")
    assert feed.take("three") is None
    assert feed.finished()


def test_nothing_is_finished_while_something_is_out(home: Home, some: list[Ticket]) -> None:
    feed = feed_of(home, some, max_out=2)
    take(feed, "one"), take(feed, "two")
    feed.succeeded("one", "done")
    assert not feed.finished()
    feed.succeeded("two", "pruned")
    assert feed.finished()


def test_a_trial_that_another_process_holds_is_looked_at_again_later(
    home: Home, some: list[Ticket], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("orchestrator.engine.feed.time.monotonic", lambda: now)
    feed = feed_of(home, some[:1])
    take(feed, "one")
    feed.busy("one")
    assert feed.take("two") is None
    assert not feed.finished()
    now += BUSY_PAUSE_S + 1
    assert take(feed, "three").identity == some[0].identity


def test_what_is_not_out_ends_unheard(home: Home, some: list[Ticket]) -> None:
    feed = feed_of(home, some)
    assert feed.succeeded("nobody", "done") is None
    assert feed.failed("nobody", "", False) is None
    assert feed.refused("nobody", Failure("unknown", "x")) is None


def test_each_handing_out_has_a_token_of_its_own(home: Home, some: list[Ticket]) -> None:
    feed = feed_of(home, some, max_out=2, unknown=1)
    first, second = take(feed, "one"), take(feed, "two")
    claimed(home, first).finish("failed", Failure("unknown", "x"))
    feed.failed("one", "", False)
    again = take(feed, "three")
    assert again.identity == first.identity
    assert len({first.token, second.token, again.token, ""}) == 4


# -- retries --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["user_error", "diverged"])
def test_what_would_happen_again_is_not_tried_again(
    home: Home, some: list[Ticket], kind: FailureKind
) -> None:
    feed = feed_of(home, some[:1], unknown=5, out_of_memory=5, timed_out=5)
    assert not fails(home, feed, kind)
    assert feed.finished()


@pytest.mark.parametrize("kind", ["unknown", "out_of_memory", "timed_out"])
def test_other_kinds_are_tried_again_as_often_as_the_study_says(
    home: Home, some: list[Ticket], kind: FailureKind
) -> None:
    feed = feed_of(home, some[:1], **{kind: 2})
    assert [fails(home, feed, kind) for _ in range(3)] == [True, True, False]
    assert feed.finished()


def test_each_kind_and_each_trial_has_a_count_of_its_own(home: Home, some: list[Ticket]) -> None:
    feed = feed_of(home, some, unknown=1, timed_out=1)
    first = [fails(home, feed, kind) for kind in ("unknown", "timed_out", "unknown")]
    other = fails(home, feed, "unknown")
    assert (first, other) == ([True, True, False], True)


def test_three_losses_without_progress_fail_the_trial(home: Home, some: list[Ticket]) -> None:
    feed = feed_of(home, some[:1])
    told = [lost(home, feed) for _ in range(3)]
    assert [again for _, again in told] == [True, True, False]
    assert "no progress in 3 attempts in a row" in told[-1][0]
    record = read_trial(home, some[0].identity)
    assert (record.state, record.attempts) == ("failed", 3)
    assert record.failure is not None
    assert record.failure.kind == "node_lost"


def test_losses_are_free_while_progress_is_made(home: Home, some: list[Ticket]) -> None:
    feed = feed_of(home, some[:1])
    assert all(lost(home, feed, step)[1] for step in range(1, 8))
    assert [lost(home, feed)[1] for _ in range(2)] == [True, False]


def test_a_worker_that_dies_before_it_claims_is_counted_too(home: Home, some: list[Ticket]) -> None:
    feed = feed_of(home, some[:1])
    again = []
    for _ in range(3):
        take(feed)
        told = feed.failed("t", "died at start", False)
        assert told is not None
        again.append(told.again)
    assert again == [True, True, False]


def test_an_earlier_runs_attempt_is_not_blamed(home: Home, some: list[Ticket]) -> None:
    held = claimed(home, some[0])
    held.finish("failed", Failure("user_error", "of last week"))
    feed = feed_of(home, some[:1])
    take(feed)
    told = feed.failed("t", "died at start", False)
    assert told is not None
    assert told.failure.kind == "node_lost"


def test_another_studys_live_attempt_is_not_blamed_for_a_worker_that_never_claimed(
    home: Home, some: list[Ticket]
) -> None:
    feed = feed_of(home, some[:1])
    ticket = take(feed)
    theirs = claim_attempt(home.trial(ticket.identity), outcome_number=0, study="theirs")
    told = feed.failed("t", "died at start", False)
    assert told is not None
    assert (told.failure.kind, told.again) == ("node_lost", True)
    assert theirs.end() is None
    theirs.verify()


def test_an_attempt_that_could_not_begin_is_tried_again_as_the_study_says(
    home: Home, some: list[Ticket]
) -> None:
    ended: list[tuple[str, State]] = []

    class Listening(ListedTickets):
        def ended(self, ticket: Ticket, state: State) -> None:
            ended.append((ticket.identity, state))

    feed = Feed(home, Listening.of(some[:1]), Retries(unknown=1), 1)
    told = []
    for _ in range(2):
        ticket = take(feed)
        told.append(feed.refused("t", Failure("unknown", "OSError: Input/output error")))
    assert [one.again for one in told if one is not None] == [True, False]
    assert ended == [(ticket.identity, "failed")]
    assert feed.finished()


def test_a_kill_for_memory_is_out_of_memory(home: Home, some: list[Ticket]) -> None:
    feed = feed_of(home, some[:1])
    claimed(home, take(feed))
    told = feed.failed("t", "The actor died", True)
    assert told is not None
    assert (told.failure.kind, told.again) == ("out_of_memory", False)
    assert read_trial(home, some[0].identity).state == "failed"


def test_a_disk_that_refuses_the_end_of_a_lost_attempt_neither_ends_the_driver_nor_loops(
    home: Home, some: list[Ticket], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = feed_of(home, some, lost_without_progress=3)

    def refuse(*_: object, **__: object) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    again = []
    for _ in range(3):
        ticket = take(feed)
        claimed(home, ticket)
        with monkeypatch.context() as patched:
            patched.setattr("orchestrator.attempts.publish_once", refuse)
            patched.setattr("orchestrator.attempts.write_whole", refuse)
            told = feed.failed("t", "The actor died", False)
        assert told is not None
        again.append(told.again)
        attempts(home.trial(ticket.identity))[-1].finish("preempted")
    assert again == [True, True, False]


# -- a full disk ----------------------------------------------------------------------------------


FULL = "OSError: [Errno 28] No space left on device"


def out_of_space(home: Home, feed: Feed, name: str, host: str | None = None) -> None:
    held = claimed(home, take(feed, name))
    if host is not None:
        known = msgspec.json.decode((held.folder / "claim.json").read_bytes(), type=Claim)
        process = msgspec.structs.replace(known.process, host=host)
        elsewhere = msgspec.structs.replace(known, process=process)
        (held.folder / "claim.json").write_bytes(msgspec.json.encode(elsewhere))
    held.finish("failed", Failure("unknown", FULL))
    assert feed.failed(name, "", False) is not None


def test_after_a_full_disk_no_other_trial_is_begun(home: Home, some: list[Ticket]) -> None:
    feed = feed_of(home, some, max_out=2, unknown=3)
    other = take(feed, "two")
    out_of_space(home, feed, "one")
    assert feed.full_disk == FULL
    assert feed.take("three") is None
    assert feed.left() == 1
    assert not feed.finished()
    feed.succeeded("two", "done")
    assert feed.finished()
    assert other.identity not in feed.tries


def test_a_full_disk_that_no_file_tells_of_is_heard_from_what_tune_saw(
    home: Home, some: list[Ticket]
) -> None:
    feed = feed_of(home, some)
    take(feed)
    told = feed.failed("t", f"AttemptFailed: unknown: {FULL}", False)
    assert told is not None
    assert feed.full_disk
    assert feed.finished()
    refusing = feed_of(home, some)
    take(refusing)
    refusing.refused("t", Failure("unknown", FULL))
    assert refusing.finished()


def test_the_full_disk_of_another_node_stops_nothing(home: Home, some: list[Ticket]) -> None:
    feed = feed_of(home, some, unknown=0)
    out_of_space(home, feed, "one", host="another-node")
    assert not feed.full_disk
    assert feed.take("two") is not None
