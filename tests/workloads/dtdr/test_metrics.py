"""Measures between predictions, each against its definition written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.dtdr.metrics import cosine, distinct, divergence, mean_error, membership, overlap

LOGITS = st.lists(st.integers(-3, 3), min_size=12, max_size=12)


def top(row: list[float], k: int, drawn: np.random.Generator) -> set[int]:
    """The k likeliest, level ones in random order."""
    order = drawn.permutation(len(row))
    return set(sorted(order, key=lambda token: -row[token])[:k])


def test_without_ties_the_overlap_is_that_of_two_sets() -> None:
    drawn = torch.Generator().manual_seed(0)
    one, other = (torch.randn(40, 100, generator=drawn) for _ in range(2))
    other = one + 0.5 * other
    found = overlap(membership(one, 10), membership(other, 10))
    for row, (a, b) in enumerate(zip(one.tolist(), other.tolist(), strict=True)):
        sets = [set(np.argsort(np.negative(values))[:10].tolist()) for values in (a, b)]
        assert float(found[row]) == pytest.approx(len(sets[0] & sets[1]) / 10, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(LOGITS)
def test_with_ties_it_is_the_mean_over_random_orders(row: list[int]) -> None:
    reference = [float(token) for token in range(12)]
    found = overlap(membership(torch.tensor([reference]), 3), membership(torch.tensor([row]), 3))
    drawn = np.random.default_rng(1)
    likeliest, rounds = {9, 10, 11}, 1500
    common = [len(top([float(v) for v in row], 3, drawn) & likeliest) / 3 for _ in range(rounds)]
    assert float(found) == pytest.approx(np.mean(common), abs=0.06)


@settings(max_examples=50, deadline=None)
@given(LOGITS, st.integers(1, 20))
def test_what_is_compared_with_itself_agrees_wholly(row: list[int], k: int) -> None:
    mine = membership(torch.tensor([row], dtype=torch.float32), k)
    assert float(overlap(mine, mine)) == 1.0
    assert float(mine.sum()) == pytest.approx(min(k, 12))


def test_a_model_of_zeros_agrees_no_more_than_chance() -> None:
    reference = membership(torch.arange(1000.0)[None], 10)
    assert float(overlap(reference, membership(torch.zeros(1, 1000), 10))) == pytest.approx(0.01)


def test_a_cosine_is_never_above_one_and_centring_ignores_an_offset() -> None:
    drawn = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 300, generator=drawn)
    assert cosine(logits, logits * 3).max() <= 1
    assert cosine(logits, -logits).tolist() == pytest.approx([-1] * 50)
    moved = cosine(logits, logits + 100, centred=True)
    assert moved.tolist() == pytest.approx([1] * 50, abs=1e-9)
    assert cosine(logits, logits + 100).max() < 0.5
    assert cosine(logits, torch.zeros_like(logits)).isnan().all()


def test_the_divergence_is_that_of_the_distributions() -> None:
    one, other = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    p, q = (np.exp(x[0].double().numpy()) for x in (one, other))
    p, q = p / p.sum(), q / q.sum()
    assert float(divergence(one, other)) == pytest.approx((p * np.log(p / q)).sum())
    assert float(divergence(one, one + 7)) == 0


def test_distinct_counts_different_n_grams() -> None:
    assert distinct([[1, 2, 1, 2]], 1) == 0.5
    assert distinct([[1, 2, 1, 2]], 2) == pytest.approx(2 / 3)
    assert distinct([[1, 1], [1, 2], []], 1) == 0.75
    assert distinct([[1], []], 2) is None


def test_the_standard_error_is_the_clustered_sandwich() -> None:
    values = [1.0, 3.0, 2.0, 6.0, 4.0, 5.0]
    alone = mean_error(values, list("abcdef"))
    assert alone == pytest.approx(np.std(values, ddof=1) / math.sqrt(6))
    pairs = mean_error(values, list("aabbcc"))
    sums = np.array([1 + 3 - 7, 2 + 6 - 7, 4 + 5 - 7])
    assert pairs == pytest.approx(math.sqrt(3 / 2 * (sums**2).sum()) / 6)
    assert mean_error(values, ["a"] * 6) is None
