"""Functions in new processes: what they give, and what happens when one of them ends."""

from __future__ import annotations

import os
import signal
import time

import pytest

from workloads.spawning import in_ranks


def place(word: str, rank: int, ranks: int) -> tuple[str, str, int]:
    return f"{word} {rank} of {ranks}", os.environ["RANK"], os.getpid()


def dies(rank: int, ranks: int) -> None:
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(3600)


def leaves(rank: int, ranks: int) -> None:
    if rank == 1:
        os._exit(9)
    time.sleep(3600)


def refuses(rank: int, ranks: int) -> None:
    if rank == 0:
        raise KeyError("this one")
    time.sleep(3600)


def test_ranks_give_their_results_in_order_from_processes_of_their_own() -> None:
    results = in_ranks(place, "rank", ranks=3)
    assert [result[:2] for result in results] == [(f"rank {r} of 3", str(r)) for r in range(3)]
    assert len({os.getpid(), *(pid for _, _, pid in results)}) == 4


def test_a_rank_that_dies_ends_the_others_and_is_named() -> None:
    with pytest.raises(RuntimeError, match="rank 1 ended with exit code 9 and without a result"):
        in_ranks(leaves, ranks=2)
    with pytest.raises(RuntimeError, match="rank 1 ended with exit code -9"):
        in_ranks(dies, ranks=2)


def test_what_a_rank_raises_is_raised_and_ends_the_others() -> None:
    with pytest.raises(KeyError, match="this one") as caught:
        in_ranks(refuses, ranks=2)
    assert "in refuses" in caught.value.__notes__[0]
