"""A watch over the attempts of this process: it beats for them, keeps their time limits, and ends
those that were cancelled and do not end by themselves.

One thread for the process, since a thread's start and end would be a third of a short trial.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from orchestrator.attempts import HEARTBEAT_PERIOD_S, HeldAttempt
from orchestrator.cancelling import GRACE_S
from orchestrator.leaving import LISTEN_EVERY_S, Ear, Word, noticed
from orchestrator.records import Failure


@dataclass(eq=False)
class _Watched:
    attempt: HeldAttempt
    limit_s: float | None
    since_s: float
    ear: Ear = field(default_factory=Ear)
    word: Word | None = None
    cancelled_at_s: float = float("inf")

    @property
    def left_s(self) -> float:
        """Until its time limit."""
        end_s = float("inf") if self.limit_s is None else self.since_s + self.limit_s
        return end_s - time.monotonic()

    def listen(self) -> None:
        """Notes what the attempt is told."""
        if self.word is None and (word := self.ear.heard(self.attempt)) is not None:
            self.word = word
            self.attempt.note_told(word.cause)
            if word.state == "cancelled":
                self.cancelled_at_s = time.monotonic()


_lock = threading.Lock()
_watched: list[_Watched] = []
_changed = threading.Event()
_thread: threading.Thread | None = None


@contextmanager
def watched(attempt: HeldAttempt, time_limit_s: float | None) -> Iterator[None]:
    """Beats for other hosts while the block runs; past the time limit, and some time after it was
    cancelled, the process is ended."""
    global _thread
    entry = _Watched(attempt, time_limit_s, time.monotonic())
    with _lock:
        _watched.append(entry)
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_watch, name="orrery-watch", daemon=True)
            _thread.start()
    if time_limit_s is not None:
        _changed.set()
    try:
        yield
    finally:
        with _lock:
            _watched.remove(entry)


@contextmanager
def passing_on(attempt: HeldAttempt) -> Iterator[None]:
    """While the block runs, what this process is told of its node is kept where all processes of
    the attempt see it. For ranks: those on other nodes have had no notice, and all have to end."""
    done = threading.Event()

    def listen() -> None:
        while not done.wait(LISTEN_EVERY_S):
            if (word := noticed()) is not None:
                attempt.note_told(word.cause)
                return

    threading.Thread(target=listen, name="orrery-notice", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _watch() -> None:
    beat_at_s = time.monotonic() + HEARTBEAT_PERIOD_S
    while True:
        with _lock:
            left_s = min((entry.left_s for entry in _watched), default=LISTEN_EVERY_S)
        _changed.wait(max(0.0, min(left_s, LISTEN_EVERY_S, beat_at_s - time.monotonic())))
        _changed.clear()
        with _lock:  # so that none of these ends meanwhile
            for entry in _watched:
                entry.listen()
                if entry.left_s <= 0:
                    _end_at_limit(entry)
                if time.monotonic() - entry.cancelled_at_s > GRACE_S:
                    _end_cancelled(entry)
            if time.monotonic() >= beat_at_s:
                for entry in _watched:
                    entry.attempt.beat()
                beat_at_s = time.monotonic() + HEARTBEAT_PERIOD_S


def _end_at_limit(entry: _Watched) -> None:
    """A computation cannot be interrupted from another thread: its process is ended."""
    cause = f"ran longer than its limit of {entry.limit_s:g} s"
    try:
        entry.attempt.finish("failed", Failure("timed_out", cause))
    finally:
        os._exit(1)


def _end_cancelled(entry: _Watched) -> None:
    """As at the time limit: it had its time to save, and goes on from its newest checkpoint."""
    try:
        entry.attempt.finish("cancelled", told=entry.word.cause if entry.word else "")
    finally:
        os._exit(1)
