"""Cells are simulated in chunks whose random numbers hang on nothing but their names."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import numpy as np
import pytest

from orchestrator.calibration.cell import Cell, Counts
from orchestrator.calibration.running import CHUNK, CellError, simulate


@dataclass(frozen=True)
class Coin(Cell):
    """Wrong in half of all studies."""

    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        return Counts(studies=studies, wrong=int((rng.random(studies) < 0.5).sum()))


class Broken(Coin):
    """Raises."""

    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        raise ZeroDivisionError("nothing to divide")


class Gone(Coin):
    """Its process is killed."""

    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        os.kill(os.getpid(), signal.SIGKILL)
        return Counts()


def test_counts_do_not_hang_on_processes_or_on_the_other_cells() -> None:
    studies = 2 * CHUNK + 10
    cells = [Coin("verdict", "one"), Coin("verdict", "two"), Coin("claims", "one")]
    before = dict(os.environ)

    alone = simulate(cells, studies, 5, processes=1)
    shared = simulate(cells, studies, 5, processes=2)

    assert alone == shared
    assert [one.studies for one in alone] == [studies] * 3
    assert len({one.wrong for one in alone}) > 1
    assert simulate(cells[1:2], studies, 5, processes=1) == alone[1:2]
    assert simulate(cells, studies, 6, processes=1) != alone
    assert simulate(cells, studies, 5, draw="fresh", processes=1) != alone
    assert dict(os.environ) == before


def test_progress_counts_chunks() -> None:
    seen: list[tuple[int, int]] = []
    told = lambda done, total: seen.append((done, total))  # noqa: E731

    simulate([Coin("verdict", "one")], 2 * CHUNK, 0, processes=1, progress=told)

    assert seen == [(1, 2), (2, 2)]


def test_a_cell_that_raises_is_named() -> None:
    with pytest.raises(CellError, match=r"'the odd one' of claims .*nothing to divide"):
        simulate([Broken("claims", "the odd one")], 10, 0, processes=1)


def test_a_process_that_is_killed_is_told() -> None:
    with pytest.raises(CellError, match="ended from outside"):
        simulate([Gone("claims", "killed")], 2 * CHUNK, 0, processes=2)
