"""What is left of a subject: pieces, and how the point that does harm is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.evaluation.actor import Chunk, Result, SubjectSpec
from orchestrator.evaluation.points import asked_for, in_prefix_order
from orchestrator.evaluation.work import HOPELESS, MOST_NODES, Piece, Rows, SubjectWork

GOOD = Result({"accuracy": 1.0}, None, None)


def work_of(count: int) -> SubjectWork:
    names = tuple(f"p{index}" for index in range(12))
    points = [
        {"on": [name for bit, name in enumerate(names) if index >> (11 - bit) & 1]}
        for index in range(count)
    ]
    asked = asked_for(points, {})
    spec = SubjectSpec("subject", "trial", 0, "workload", {}, None)
    order = in_prefix_order(asked, names)
    work = SubjectWork(spec, "whole seed 0", asked, order, frozenset(asked.hashes))
    work.begin(work.wanted)
    return work


def chunk(count: int, raised: str | None = None, seconds: float = 0.1) -> Chunk:
    return Chunk((GOOD,) * count, seconds, raised)


def drain(work: SubjectWork, measure: Callable[[Piece], Chunk | None]) -> dict[int, Result]:
    """Measures all; `measure` gives None for a worker that dies."""
    found: dict[int, Result] = {}
    while (piece := work.take(1)) is not None:
        came = measure(piece)
        new = work.died(piece, "killed") if came is None else work.measured(piece, came)
        assert not found.keys() & new.keys()
        found |= new
    assert work.is_over
    return found


def test_every_point_goes_out_once_in_contiguous_pieces() -> None:
    work, pieces = work_of(1000), []
    while (piece := work.take(2)) is not None:
        pieces.append(piece)
        work.measured(piece, chunk(len(piece.indices), seconds=0.01 * len(piece.indices)))
    assert [index for piece in pieces for index in piece.indices] == list(work.order)
    assert all(len(piece.indices).bit_count() == 1 for piece in pieces)


def test_slow_points_go_out_one_by_one_from_the_first_on() -> None:
    """A whole piece is what a kill costs."""
    work, sizes = work_of(16), []
    while (piece := work.take(2)) is not None:
        sizes.append(len(piece.indices))
        work.measured(piece, chunk(len(piece.indices), seconds=2.0 * len(piece.indices)))
    assert set(sizes) == {1}


def test_rows_wait_until_they_are_written() -> None:
    work, rows = work_of(2), Rows("code")
    rows.add(work, {0: GOOD})
    assert rows.batch(work) == rows.batch(work) is not None
    rows.forget()
    assert rows.batch(work) is None


def test_pieces_shrink_so_that_workers_end_together() -> None:
    work = work_of(1024)
    sizes = []
    while (piece := work.take(4)) is not None:
        sizes.append(len(piece.indices))
        work.measured(piece, chunk(len(piece.indices), seconds=0.005 * len(piece.indices)))
    assert max(sizes) == 128
    assert sizes[-1] <= 8


@pytest.mark.parametrize("culprit", [0, 7, 63])
def test_the_point_that_kills_is_found_and_the_others_are_measured(culprit: int) -> None:
    work, deaths = work_of(64), 0

    def measure(piece: Piece) -> Chunk | None:
        nonlocal deaths
        if culprit in piece.indices:
            deaths += 1
            return None
        return chunk(len(piece.indices))

    found = drain(work, measure)
    assert len(found) == 64
    assert [index for index, result in found.items() if result.error] == [culprit]
    assert "died 2 times: killed" in (found[culprit].error or "")
    assert deaths <= 8


def test_the_point_that_raises_is_found_at_once_where_points_come_one_by_one() -> None:
    work, raises = work_of(64), 0

    def measure(piece: Piece) -> Chunk:
        nonlocal raises
        if 12 in piece.indices:
            raises += 1
            return chunk(piece.indices.index(12), "boom")
        return chunk(len(piece.indices))

    found = drain(work, measure)
    assert [index for index, result in found.items() if result.error == "boom"] == [12]
    assert len(found) == 64
    assert raises == 2


def test_the_point_that_raises_is_found_where_a_piece_is_measured_at_once() -> None:
    work = work_of(64)
    found = drain(
        work,
        lambda piece: chunk(0, "boom") if 9 in piece.indices else chunk(len(piece.indices)),
    )
    assert [index for index, result in found.items() if result.error] == [9]
    assert len(found) == 64


def test_a_subject_of_which_nothing_can_be_measured_is_given_up() -> None:
    work = work_of(1000)
    found = drain(work, lambda piece: chunk(0, "boom"))
    assert len(found) == HOPELESS
    assert "none was measured: boom" in work.why
    assert work.left == 0


def test_an_opening_that_kills_its_worker_gives_the_subject_up() -> None:
    work = work_of(8)
    for _ in range(3):
        assert not work.why
        work.opening_died("killed")
    assert "died 3 times" in work.why


def test_what_no_worker_began_goes_out_again() -> None:
    work = work_of(8)
    piece = work.take(1)
    assert piece is not None
    work.untouched(piece)
    assert work.take(1) == piece


def test_a_piece_that_takes_too_long_is_halved_until_the_point_is_alone() -> None:
    work, hanging, found = work_of(40), 23, {}
    while (piece := work.take(2)) is not None:
        if hanging in piece.indices:
            found |= work.late(piece, "took too long")
        else:
            found |= work.measured(piece, chunk(len(piece.indices)))
    assert sorted(found) == list(range(40))
    assert {i: r.error for i, r in found.items() if r.error} == {hanging: "took too long"}
    assert work.is_over


def test_a_piece_that_is_lost_with_its_node_goes_out_again_as_it_is() -> None:
    work = work_of(8)
    first = work.take(1)
    assert first is not None
    work.measured(first, chunk(1, seconds=0.01))
    piece = work.take(1)
    assert piece is not None
    assert len(piece.indices) > 1
    for _ in range(MOST_NODES - 1):
        assert work.node_lost(piece, "the node died") == {}
        again = work.take(1)
        assert again is not None
        assert again.indices == piece.indices
        piece = again
    work.node_lost(piece, "the node died")  # not for ever: now it is suspect
    again = work.take(1)
    assert again is not None
    assert len(again.indices) < len(piece.indices)
