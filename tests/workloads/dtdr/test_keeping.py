"""What a fraction keeps of a tensor."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workloads.dtdr.asking import Domain
from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.codec.tensors import encode_tensor
from workloads.dtdr.codec.transforms import restored, transformed
from workloads.dtdr.keeping import kept, kept_rows, ranks

FRACTIONS = st.floats(0, 1, exclude_min=True)


@given(st.integers(1, 10_000), FRACTIONS)
def test_a_fraction_keeps_its_share_rounded_down_and_never_nothing(
    total: int, fraction: float
) -> None:
    assert kept(total, fraction) == max(1, int(total * fraction)) <= total
    assert kept(total, 1.0) == total


@given(st.integers(1, 30), st.integers(1, 8), FRACTIONS)
def test_kept_rows_are_those_of_whole_blocks(rows: int, block_rows: int, fraction: float) -> None:
    encoded = encode_tensor("t", torch.ones(rows, 4), Recipe("none", "row", block_rows))
    count = kept(encoded.blocks, fraction)
    assert kept_rows(encoded, fraction) == min(rows, count * block_rows)


@pytest.mark.parametrize("domain", ["leading", "random", "largest"])
def test_ranks_order_each_row_and_so_larger_fractions_keep_what_smaller_ones_keep(
    domain: Domain,
) -> None:
    coefficients = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    places = ranks(coefficients, domain, 0, "t")
    assert torch.equal(places.sort(dim=1).values, torch.arange(32).expand(5, 32).int())


def test_the_largest_are_kept_first_and_of_equals_the_first() -> None:
    coefficients = torch.tensor([[1.0, -3.0, 2.0, 3.0], [0.0, 0.0, 0.0, -1.0]])
    assert ranks(coefficients, "largest", 0, "t").tolist() == [[3, 0, 2, 1], [1, 2, 3, 0]]


def test_what_is_kept_at_random_depends_on_row_draw_and_tensor_alone() -> None:
    coefficients = torch.zeros(3, 64)
    first = ranks(coefficients, "random", 0, "t")
    assert torch.equal(first, ranks(torch.ones(3, 64), "random", 0, "t"))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, ranks(coefficients, "random", 1, "t"))
    assert not torch.equal(first, ranks(coefficients, "random", 0, "u"))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 0.9])
def test_a_random_share_of_coefficients_keeps_the_root_of_it_as_cosine(share: float) -> None:
    vectors = torch.randn(400, 128, generator=torch.Generator().manual_seed(0))
    coefficients = transformed(vectors, "hadamard")
    is_kept = ranks(coefficients, "random", 0, "t") < kept(128, share)
    back = restored(torch.where(is_kept, coefficients, 0.0), "hadamard", 128)
    cosine = torch.cosine_similarity(vectors, back, dim=1).mean()
    assert float(cosine) == pytest.approx((kept(128, share) / 128) ** 0.5, abs=0.02)
