"""A scheduler's or a shell's notice to end, taken as Ctrl-C is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
    kept = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, lambda number, _: came.append(number)) for one in kept]
    try:
        yield tell
    finally:
        for one, handler in zip(kept, before, strict=True):
            signal.signal(one, handler)
