"""Runs functions in new interpreters: one alone, or several that are the ranks of a trial."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from workloads.training.rendezvous import (
    LOOPBACK,
    Rendezvous,
    environment,
    let_go_of_groups,
    rank_environments,
)

T = TypeVar("T")


def in_fresh_process(function: Callable[..., T], *arguments: Any) -> T:
    """The function's result, from a new interpreter."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def in_ranks(function: Callable[..., T], *arguments: Any, ranks: int) -> list[T]:
    """The results of `function(*arguments, rank, ranks)` in so many new processes on this host,
    which find each other in their environment. Raises what the first of them raises, and
    `RuntimeError` if one ends without a result; the others, which may wait for it, are ended."""
    meeting = Rendezvous.host(LOOPBACK)
    variables = rank_environments([LOOPBACK] * ranks, meeting.address, meeting.port)
    started: list[_Rank] = []
    try:
        for rank in range(ranks):
            started.append(_start(variables[rank], function, *arguments, rank, ranks))
        results: dict[int, T] = {}
        while len(results) < ranks:
            running = [rank for rank in range(ranks) if rank not in results]
            ready = wait([end for rank in running for end in started[rank].ends()])
            for rank in running:
                if any(end in ready for end in started[rank].ends()):
                    results[rank] = started[rank].result(rank)
        return [results[rank] for rank in range(ranks)]
    finally:
        for one in started:
            one.end()


@dataclass(frozen=True)
class _Rank:
    """The process of a rank, and where its answer comes from."""

    process: BaseProcess
    answers: Connection

    def ends(self) -> list[Any]:
        """One of them is ready once there is an answer, or there will be none."""
        return [self.answers, self.process.sentinel]

    def result(self, rank: int) -> Any:
        """What the function gave. Raises what it raised, or `RuntimeError` without an answer."""
        try:
            answered = self.answers.poll()
            result, error = self.answers.recv() if answered else (None, None)
        except (EOFError, OSError):
            answered = False
        if not answered:
            self.process.join()
            code = self.process.exitcode
            raise RuntimeError(f"rank {rank} ended with exit code {code} and without a result")
        if error is not None:
            raise error
        return result

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.answers.close()


def _start(variables: Mapping[str, str], function: Callable[..., T], *arguments: Any) -> _Rank:
    spawn = multiprocessing.get_context("spawn")
    answers, answering = spawn.Pipe(duplex=False)
    process = spawn.Process(
        target=_answer, args=(answering, dict(variables), function, *arguments), daemon=True
    )
    process.start()
    answering.close()  # the rank has its own: where it ends, so does the pipe
    return _Rank(process, answers)


def _answer(
    answering: Connection, variables: Mapping[str, str], function: Callable[..., T], *arguments: Any
) -> None:
    """Sends (result, None), or (None, what was raised)."""
    with environment(variables):
        try:
            result = function(*arguments)
        except Exception as error:
            error.add_note("In the rank's own process:\n" + traceback.format_exc())
            answering.send((None, error))
        else:
            let_go_of_groups()
            answering.send((result, None))
