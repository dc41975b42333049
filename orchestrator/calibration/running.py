"""Cells over processes, with random numbers that do not hang on how many there are."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

from orchestrator.calibration.cell import Cell, Counts
from orchestrator.errors import OrreryError

CHUNK = 250
"""Studies that are drawn from one random stream."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Progress = Callable[[int, int], None]
"""Called with how many chunks are done, and of how many."""


class CellError(OrreryError):
    """Cells could not be simulated."""


def simulate(
    cells: Sequence[Cell],
    studies: int,
    seed: int,
    *,
    draw: str = "first",
    processes: int | None = None,
    progress: Progress = lambda done, total: None,
) -> list[Counts]:
    """What comes of so many studies in each cell.

    Args:
        draw: another word gives fresh random numbers.
        processes: by default as many as there are CPUs for this process; 1 works in this one.

    Raises:
        CellError: a cell raised, and is named; or a process was ended from outside.
    """
    chunks = [
        (place, chunk, min(CHUNK, studies - start))
        for place in range(len(cells))
        for chunk, start in enumerate(range(0, studies, CHUNK))
    ]
    workers = min(len(chunks), processes or len(os.sched_getaffinity(0)))
    found = [Counts() for _ in cells]
    if workers <= 1:
        for done, (place, chunk, count) in enumerate(chunks):
            found[place] += _simulated(cells[place], seed, draw, chunk, count)
            progress(done + 1, len(chunks))
        return found
    with _pool(workers, cells) as pool:
        with _deaf_children():
            waiting: dict[Future[Counts], int] = {
                pool.submit(_chunk, place, seed, draw, chunk, count): place
                for place, chunk, count in chunks
            }
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                found[waiting.pop(future)] += future.result()
            progress(len(chunks) - len(waiting), len(chunks))
    return found


@contextmanager
def _pool(workers: int, cells: Sequence[Cell]) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes that know the cells; gone at the end, however it comes."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    others = set(multiprocessing.active_children())
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start, initargs=(cells,)
    )
    try:
        yield pool
        pool.shutdown()
    except BrokenProcessPool as error:
        _end(pool, others)
        raise CellError(
            "A process that simulated was ended from outside, perhaps for want of memory. Nothing "
            "was written: give the command again, with fewer processes if memory is short "
            "(taskset -c 0)."
        ) from error
    except BaseException:
        _end(pool, others)
        raise
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _end(pool: ProcessPoolExecutor, others: set[BaseProcess]) -> None:
    """Ends the pool's processes now; `others` were there before it."""
    pool.shutdown(wait=False, cancel_futures=True)
    for child in set(multiprocessing.active_children()) - others:
        child.terminate()
        child.join()


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes that are started within do not hear Ctrl-C; this one does at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_cells: Sequence[Cell] = ()


def _start(cells: Sequence[Cell]) -> None:
    """In a fresh process: it knows the cells, and without the parent it ends."""
    global _cells
    _cells = cells
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _chunk(place: int, seed: int, draw: str, chunk: int, studies: int) -> Counts:
    return _simulated(_cells[place], seed, draw, chunk, studies)


def _simulated(cell: Cell, seed: int, draw: str, chunk: int, studies: int) -> Counts:
    import numpy as np

    name = "\n".join((draw, cell.part, cell.name))
    key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest())
    try:
        stream = np.random.SeedSequence([seed, key], spawn_key=(chunk,))
        return cell.simulate(studies, np.random.default_rng(stream))
    except Exception as error:
        raise CellError(
            f"The cell '{cell.name}' of {cell.part} cannot be simulated: "
            f"{type(error).__name__}: {error}"
        ) from error
