"""Coalitions that share prefixes come to what each comes to by itself."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workloads.switching.towers import Plain, Switched, Tower, batches, score
from workloads.switching import (
    Coalition,
    CoalitionScores,
    all_coalitions,
    evaluate_coalitions,
    evaluate_naively,
    segment_passes,
    undisturbed,
)


def assert_bit_equal(one: list[CoalitionScores], other: list[CoalitionScores]) -> None:
    assert [each.coalition for each in one] == [each.coalition for each in other]
    for mine, theirs in zip(one, other, strict=True):
        assert mine.error == theirs.error
        for a, b in ((mine.scores, theirs.scores), (mine.losses, theirs.losses)):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("switches", [0, 1, 3, 6])
def test_all_coalitions_are_bit_equal_to_the_naive_ones(switches: int) -> None:
    tower, asked = Tower(switches), all_coalitions(switches)
    with undisturbed(tower):
        shared = evaluate_coalitions(tower.segments(), asked, batches(), score)
        naive = evaluate_naively(tower.segments(), asked, batches(), score)
    assert len(shared) == 2**switches
    assert_bit_equal(shared, naive)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(st.integers(0, 3), max_size=3, unique=True).map(tuple), min_size=1, max_size=5
    ).filter(lambda held: set().union(*held) == {0, 1, 2, 3}),
    st.lists(st.tuples(*[st.booleans()] * 4), min_size=1, max_size=12),
)
def test_any_cut_and_any_list_of_coalitions_is_bit_equal(
    held: list[tuple[int, ...]], asked: list[Coalition]
) -> None:
    """Segments with several switches or none, switches in several segments, repeated coalitions."""
    tower = Tower(len(held))
    blocks = zip(tower.blocks, tower.afters, held, strict=True)
    segments = [Plain(tower.stem), *(Switched(*each) for each in blocks), Plain(tower.head)]
    with undisturbed(tower):
        shared = evaluate_coalitions(segments, asked, batches(), score)
        naive = evaluate_naively(segments, asked, batches(), score)
    assert_bit_equal(shared, naive)


def test_coalitions_differ_where_switches_matter() -> None:
    tower = Tower(3)
    with undisturbed(tower):
        found = evaluate_coalitions(tower.segments(), all_coalitions(3), batches(), score)
    assert len({each.losses.tobytes() for each in found if each.losses is not None}) == 8


class Counted:
    """A segment that counts its passes and what of its outputs is still alive."""

    def __init__(self, segment: Any, alive: weakref.WeakSet[torch.Tensor], log: list[int]) -> None:
        self.segment, self.factors = segment, segment.factors
        self._alive, self._log = alive, log

    def run(self, x: torch.Tensor, on: Coalition) -> torch.Tensor:
        self._log.append(len(self._alive))
        y: torch.Tensor = self.segment.run(x, on).clone()
        self._alive.add(y)
        return y


@pytest.mark.parametrize("switches", [1, 4, 7])
def test_all_coalitions_take_one_pass_for_each_edge_and_keep_n_plus_one_activations(
    switches: int,
) -> None:
    tower = Tower(switches)
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    log: list[int] = []
    whole = tower.segments()
    segments = [Counted(each, alive, log) for each in whole]
    gc.disable()
    try:
        with undisturbed(tower):
            evaluate_coalitions(segments, all_coalitions(switches), batches(1), score)
    finally:
        gc.enable()
    assert segment_passes(whole[:-1], all_coalitions(switches)) == 2 ** (switches + 1) - 1
    assert len(log) == segment_passes(whole, all_coalitions(switches))
    assert max(log) == switches + 1
    assert not alive


def test_a_switch_in_two_segments_does_not_part_coalitions_twice() -> None:
    tower = Tower(3)
    held = [Switched(tower.blocks[i], tower.afters[i], (i % 2,)) for i in range(3)]
    assert segment_passes(held, all_coalitions(2)) == 2 + 4 + 4


def test_a_coalition_that_fails_fails_alone() -> None:
    class Breaks(Switched):
        def run(self, x: torch.Tensor, on: Coalition) -> torch.Tensor:
            if on == (True, False) and len(x) < 8:  # of the second batch only
                raise FloatingPointError("overflow in the block")
            return super().run(x, on)

    tower = Tower(3)
    segments = list(tower.segments())
    segments[2] = Breaks(tower.blocks[1], tower.afters[1], (1, 0))
    asked = all_coalitions(3)
    with undisturbed(tower):
        shared = evaluate_coalitions(segments, asked, batches(3), score)
        naive = evaluate_naively(segments, asked, batches(3), score)
    assert_bit_equal(shared, naive)
    failed = {each.coalition for each in shared if each.error}
    assert failed == {(False, True, False), (False, True, True)}
    assert {each.error for each in shared if each.error} == {
        "FloatingPointError: overflow in the block"
    }


def test_a_score_that_is_not_finite_is_no_result() -> None:
    class Poisoned(Switched):
        def run(self, x: torch.Tensor, on: Coalition) -> torch.Tensor:
            y = super().run(x, on)
            return y.index_fill(0, torch.tensor([0]), float("nan")) if on[0] else y

    tower = Tower(2)
    segments = list(tower.segments())
    segments[1] = Poisoned(tower.blocks[0], tower.afters[0], (0,))
    with undisturbed(tower):
        found = evaluate_coalitions(segments, all_coalitions(2), batches(2), score)
    assert [each.error is None for each in found] == [True, True, False, False]
    assert found[-1].scores is None
    assert found[-1].error == "score or loss of 2 of 13 examples is not finite"


def test_segments_that_do_not_hold_the_switches_are_refused() -> None:
    tower = Tower(2)
    with pytest.raises(ValueError, match=r"no segment holds the switches \[2\]"):
        evaluate_coalitions(tower.segments(), all_coalitions(3), batches(), score)
    with pytest.raises(ValueError, match=r"name the switches \[1\], but a coalition has 1"):
        evaluate_coalitions(tower.segments(), all_coalitions(1), batches(), score)
    with pytest.raises(ValueError, match="no segments"):
        evaluate_coalitions([], all_coalitions(1), batches(), score)


def test_a_score_that_is_not_by_example_is_a_programming_error() -> None:
    tower = Tower(1)
    with undisturbed(tower), pytest.raises(TypeError, match="for each example"):
        evaluate_coalitions(
            tower.segments(),
            all_coalitions(1),
            batches(),
            lambda logits, _: (logits.mean(), logits.mean()),
        )


def test_scores_are_in_the_order_of_the_batches() -> None:
    tower, asked = Tower(2), all_coalitions(2)
    with undisturbed(tower):
        whole = evaluate_coalitions(tower.segments(), asked, batches(3), score)
        parts = [evaluate_coalitions(tower.segments(), asked, [b], score) for b in batches(3)]
    for index, each in enumerate(whole):
        assert each.scores is not None
        assert each.scores.dtype == np.float32
        by_batch = [part[index].scores for part in parts]
        assert (
            each.scores.tobytes()
            == np.concatenate([b for b in by_batch if b is not None]).tobytes()
        )
