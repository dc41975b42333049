"""The fast transform is Sylvester's matrix, orthonormal, and its own inverse."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard

from workloads.dtdr.codec.hadamard import walsh_hadamard, walsh_hadamard_

LENGTHS = [1 << power for power in range(15)]


def gaussian(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def test_it_is_the_product_with_the_dense_matrix() -> None:
    for n in (n for n in LENGTHS if n <= 2048):
        x = gaussian(5, n, dtype=torch.float64)
        dense = torch.from_numpy(hadamard(n).astype("float64")) / n**0.5
        torch.testing.assert_close(walsh_hadamard(x), x @ dense, rtol=0, atol=1e-12)


def test_twice_is_nothing_and_norms_are_kept() -> None:
    for n in LENGTHS:
        x = gaussian(3, n)
        once = walsh_hadamard(x)
        torch.testing.assert_close(walsh_hadamard(once), x, rtol=0, atol=1e-5)
        torch.testing.assert_close(once.norm(dim=1), x.norm(dim=1), rtol=1e-5, atol=0)


@pytest.mark.parametrize("n", [1, 2, 32, 64, 4096])
def test_in_place_gives_the_same_bits_in_the_same_memory(n: int) -> None:
    x = gaussian(300, n)
    expected = walsh_hadamard(x)
    place = x.data_ptr()
    assert walsh_hadamard_(x).data_ptr() == place
    assert torch.equal(x, expected)


def test_what_is_given_is_not_changed() -> None:
    x = gaussian(4, 64)
    before = x.clone()
    walsh_hadamard(x)
    assert torch.equal(x, before)


def test_many_rows_are_transformed_as_each_alone() -> None:
    x = gaussian(3, 70, 4096)  # several tiles, the last one not full
    alone = torch.stack([walsh_hadamard(row) for row in x.reshape(-1, 4096)])
    torch.testing.assert_close(walsh_hadamard(x).view(-1, 4096), alone, rtol=0, atol=1e-5)


def test_rows_that_are_not_contiguous_are_read_as_they_are_seen() -> None:
    x = gaussian(64, 6)
    torch.testing.assert_close(walsh_hadamard(x.T), walsh_hadamard(x.T.contiguous()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_are_computed_in_float32_and_given_as_halves(dtype: torch.dtype) -> None:
    x = gaussian(8, 1024, dtype=dtype)
    given_back = walsh_hadamard(x)
    assert given_back.dtype == dtype
    assert torch.equal(given_back, walsh_hadamard(x.float()).to(dtype))


def test_parameters_are_taken_without_their_gradients() -> None:
    weight = torch.nn.Parameter(gaussian(4, 16))
    assert not walsh_hadamard(weight).requires_grad


def test_no_rows_give_no_rows() -> None:
    assert walsh_hadamard(torch.empty(0, 8)).shape == (0, 8)


@given(
    rows=st.integers(1, 40),
    power=st.integers(0, 9),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_inner_products_are_kept(rows: int, power: int, seed: int) -> None:
    x = gaussian(rows, 1 << power, dtype=torch.float64, seed=seed)
    y = gaussian(rows, 1 << power, dtype=torch.float64, seed=seed + 1)
    kept = (walsh_hadamard(x) * walsh_hadamard(y)).sum(1)
    torch.testing.assert_close(kept, (x * y).sum(1), rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(2, 3), (2, 0), ()])
def test_a_length_that_is_no_power_of_two_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="power of two"):
        walsh_hadamard(torch.ones(shape))


def test_integers_and_scattered_memory_are_refused() -> None:
    with pytest.raises(ValueError, match="floats"):
        walsh_hadamard(torch.ones(2, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="contiguous"):
        walsh_hadamard_(torch.ones(4, 4).T[:, :2])
    with pytest.raises(ValueError, match="float32"):
        walsh_hadamard_(torch.ones(4, 4, dtype=torch.bfloat16))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_it_is_the_same_transform() -> None:
    x = gaussian(300, 4096)
    torch.testing.assert_close(walsh_hadamard(x.cuda()).cpu(), walsh_hadamard(x), rtol=0, atol=1e-5)
