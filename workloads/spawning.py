"""Runs functions in new interpreters: one alone, or several that are the ranks of a trial."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from typing import Any, TypeVar

from workloads.training.rendezvous import LOOPBACK, Rendezvous, environment, rank_environments

T = TypeVar("T")


def in_fresh_process(function: Callable[..., T], *arguments: Any) -> T:
    """The function's result, from a new interpreter."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def in_ranks(function: Callable[..., T], *arguments: Any, ranks: int) -> list[T]:
    """The results of `function(*arguments, rank, ranks)` in so many new processes on this host,
    which find each other in their environment. Raises what the first of them raises."""
    meeting = Rendezvous.host(LOOPBACK)
    variables = rank_environments([LOOPBACK] * ranks, meeting.address, meeting.port)
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:  # which ends the processes of ranks that wait for one that failed
        pools = [stack.enter_context(spawn.Pool(1)) for _ in variables]
        running = [
            pool.apply_async(_within, (dict(variables[rank]), function, *arguments, rank, ranks))
            for rank, pool in enumerate(pools)
        ]
        waiting = list(running)
        while waiting:
            waiting[0].wait(0.1)
            for one in [one for one in waiting if one.ready()]:
                one.get()
                waiting.remove(one)
        return [one.get() for one in running]


def _within(variables: Mapping[str, str], function: Callable[..., T], *arguments: Any) -> T:
    with environment(variables):
        return function(*arguments)
