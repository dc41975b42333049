"""A scheduler's or a shell's notice to end, taken as Ctrl-C is, and never lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_KEPT = (signal.SIGINT, signal.SIGTERM)


class _Noting:
    """A handler that raises `KeyboardInterrupt` and remembers that it did."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        raise KeyboardInterrupt


@contextmanager
def interrupted_by_terminate() -> Iterator[None]:
    """Within the block SIGTERM raises `KeyboardInterrupt`, so that nothing is left half done.

    In a thread other than the main one, where handlers can't be set, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def interruption_noticed() -> Iterator[None]:
    """Within the block SIGINT and SIGTERM raise `KeyboardInterrupt`, at its end at the latest.

    Python drops what is raised in a finaliser or in a weak reference's callback, and every import
    has one: whatever imports a lot would otherwise go on as if nobody had asked it to end. In a
    thread other than the main one, where handlers can't be set, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noting = _Noting()
    before = [signal.signal(one, noting) for one in _KEPT]
    try:
        yield
    finally:
        for one, handler in zip(_KEPT, before, strict=True):
            signal.signal(one, handler)
    if noting.came:
        raise KeyboardInterrupt


def interrupts(number: signal.Signals) -> bool:
    """Whether this signal raises `KeyboardInterrupt` now."""
    handler = signal.getsignal(number)
    return handler is signal.default_int_handler or isinstance(handler, _Noting)


@contextmanager
def interruption_kept() -> Iterator[Callable[[], None]]:
    """Within the block SIGINT and SIGTERM are kept; what is yielded raises `KeyboardInterrupt` if
    there was one, and is to be called after the block.

    For starting a process that must be ended again: an exception in the midst of that would lose
    it. In a thread other than the main one, where handlers can't be set, nothing is kept.
    """
    came: list[int] = []

    def tell() -> None:
        if came:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield tell
        return
    before = [signal.signal(one, lambda number, _: came.append(number)) for one in _KEPT]
    try:
        yield tell
    finally:
        for one, handler in zip(_KEPT, before, strict=True):
            signal.signal(one, handler)
