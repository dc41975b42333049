"""What a trial prints goes into a file of its attempt, whatever prints it.

For as long as an attempt runs, standard output and standard error of its process *are* the file
``attempt-NNNN/log/rank-NNNN.txt``: the descriptors 1 and 2 lead there, so that it holds Python's
prints and logging, what C libraries write, what child processes say, and the last words of a
process that dies. Only processes that exist to run trials do this: Tune's workers, rank actors,
tasks of a job array.
"""

from __future__ import annotations

import ctypes
import io
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

from orchestrator.engine.job import Job, Ran, run_here
from orchestrator.log_files import earlier_part, log_path
from workloads.contract import Reporter, TrialStopped

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger(__name__)

MOST_BYTES = 64 * 2**20
"""A log that has grown longer is put aside (`earlier_part`) and begun anew: of a trial that prints
without end, the newest 64 to 128 MiB are kept."""
LOOK_EVERY_S = 2.0
_DESCRIPTORS = (1, 2)
_held = threading.Lock()


def run_captured(job: Job, report: Reporter) -> Ran:
    """A `Launch`: as `run_here`, and what the trial prints goes into its attempt's log."""
    with captured(job.held.folder):
        return run_here(job, report)


@contextmanager
def captured(attempt_folder: Path, rank: int = 0) -> Iterator[None]:
    """Within the block this process's output goes into the log of that rank.

    An error that leaves the block is written there too. Where no file can be made, and within
    another such block, output goes on to where it went.
    """
    if not _held.acquire(blocking=False):
        yield
        return
    try:
        path = log_path(attempt_folder, rank)
        try:
            path.parent.mkdir(exist_ok=True)
            file = _opened(path)
        except OSError as error:
            logger.warning("what the trial prints cannot be kept in %s: %s", path, error)
            yield
            return
        with _streams(), _led_to(file), _kept_short(path):
            yield
    finally:
        _held.release()


@contextmanager
def _led_to(file: int) -> Iterator[None]:
    """Descriptors 1 and 2 lead to `file` inside, and to where they led before after."""
    _flush()
    before = [os.dup(descriptor) for descriptor in _DESCRIPTORS]
    _lead_to(file)
    try:
        yield
    except BaseException as error:
        if not isinstance(error, TrialStopped):
            _print_trace(error)
        raise
    finally:
        _flush()
        for descriptor, kept in zip(_DESCRIPTORS, before, strict=True):
            os.dup2(kept, descriptor)
            os.close(kept)


def _print_trace(error: BaseException) -> None:
    """As Python prints it, from where this module has been left."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


@contextmanager
def _kept_short(path: Path) -> Iterator[None]:
    """Begins the log anew, beside the block, whenever it has grown too long."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(LOOK_EVERY_S):
            try:
                if path.stat().st_size > MOST_BYTES:
                    os.replace(path, earlier_part(path))
                    _lead_to(_opened(path))
            except OSError as error:
                logger.warning("the log %s cannot be begun anew: %s", path, error)

    thread = threading.Thread(target=look, name="orrery-log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


def _lead_to(file: int) -> None:
    for descriptor in _DESCRIPTORS:
        os.dup2(file, descriptor)
    os.close(file)


class _Unbreakable(io.FileIO):
    """A descriptor to which a write never fails: training goes on where the disk is full."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


@lru_cache(maxsize=1)
def _our_streams() -> tuple[IO[str], IO[str]]:
    """Made once a process: handlers of logging may keep them beyond the attempt."""
    out, err = (_Unbreakable(descriptor, "w", closefd=False) for descriptor in _DESCRIPTORS)
    return _text(io.BufferedWriter(out)), _text(err)


def _text(lower: io.BufferedWriter | io.FileIO) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        lower,  # unbuffered where Python's own standard error is
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
        write_through=isinstance(lower, io.FileIO),
    )


@contextmanager
def _streams() -> Iterator[None]:
    """Inside, Python's own streams write to descriptors 1 and 2, line by line."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _our_streams()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _flush() -> None:
    """Writes what waits in buffers: Python's, and those of the C library.

    Python's own from its start too: others may have kept them, and their lines belong to the
    attempt in which they were printed.
    """
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with suppress(OSError, ValueError):  # where they led is full, or they were closed
            if stream is not None:
                stream.flush()
    ctypes.CDLL(None).fflush(None)
