"""A scheduler's or a shell's notice to end, taken as Ctrl-C is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
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
