"""How a driver obeys the file that cancels its study (`orchestrator.cancelling`)."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from orchestrator.attempts import attempts
from orchestrator.cancelling import GRACE_S, asked
from orchestrator.errors import DamagedFileError
from orchestrator.home import Home
from orchestrator.interruption import interrupts

if TYPE_CHECKING:
    from orchestrator.engine.feed import Feed

LOOK_EVERY_S = 1.0
IDLE_S = 5.0
"""So long with no attempt alive, what is out only waits for room, and never ends by itself."""
LIMIT_S = GRACE_S + 15.0
"""Workers end what was cancelled after the grace; one that does not is not waited for longer."""


class CancelWatch:
    """A watch beside a driver's work. Once the study is cancelled, the feed hands out nothing more
    and attempts end by themselves; what waits, or does not end, is interrupted, as by Ctrl-C.

    To be entered in the main thread, where `interrupted_by_terminate` holds: in another, what does
    not end by itself is waited for. May be entered again.
    """

    def __init__(self, home: Home, study: str, feed: Callable[[], Feed | None]) -> None:
        self._home, self._study, self._feed = home, study, feed
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self.asked = False
        """Whether the study was cancelled while this watch was kept."""

    def __enter__(self) -> CancelWatch:
        self._done.clear()
        here = threading.current_thread()
        self._thread = threading.Thread(
            target=self._watch, args=(here,), name="orrery-cancel", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        assert self._thread is not None
        self._thread.join()  # an interrupt that is on its way arrives here

    def _watch(self, driver: threading.Thread) -> None:
        folder = self._home.study(self._study)
        while not asked(folder):
            if self._done.wait(LOOK_EVERY_S):
                return
        self.asked = True
        since_s = busy_s = time.monotonic()
        while not self._done.is_set():
            feed, now = self._feed(), time.monotonic()
            if feed is not None:
                feed.stop()
                if self._any_alive(feed):
                    busy_s = now
            # without a feed it only waits for a cluster
            over = feed is None or now - busy_s > IDLE_S or now - since_s > LIMIT_S
            if over and not self._done.is_set() and _interrupt(driver):
                return
            self._done.wait(LOOK_EVERY_S)

    def _any_alive(self, feed: Feed) -> bool:
        """Whether an attempt of this study still runs."""
        return any(self._is_alive(ticket.identity) for ticket in list(feed.out.values()))

    def _is_alive(self, identity: str) -> bool:
        try:
            tries = attempts(self._home.trial(identity))
            claim = tries[-1].claim() if tries else None
            if claim is None or claim.study != self._study:
                return False
            return tries[-1].life() != "dead"
        except (OSError, DamagedFileError):  # not to be told: it is waited for, up to the limit
            return True


def _interrupt(thread: threading.Thread) -> bool:
    """Raises `KeyboardInterrupt` in the main thread; False while no signal would."""
    if thread is not threading.main_thread() or thread.ident is None:
        return False
    for number in (signal.SIGTERM, signal.SIGINT):
        if interrupts(number):
            signal.pthread_kill(thread.ident, number)
            return True
    return False
