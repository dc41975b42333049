"""The cosine transform is scipy's, orthonormal, by matrix and by FFT."""

from __future__ import annotations

import pytest
import torch
from scipy.fft import dct, idct

from workloads.dtdr.codec.cosine import dct2, idct2

LENGTHS = [1, 2, 3, 7, 64, 255, 256, 257, 258, 509, 1000, 1376, 4096]
"""On either side of where the FFT takes over; even, odd and prime."""


def gaussian(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def test_it_is_that_of_scipy() -> None:
    for n in LENGTHS:
        x = gaussian(6, n)
        theirs = torch.from_numpy(dct(x.numpy(), norm="ortho"))
        torch.testing.assert_close(dct2(x), theirs, rtol=0, atol=1e-12)
        back = torch.from_numpy(idct(x.numpy(), norm="ortho"))
        torch.testing.assert_close(idct2(x), back, rtol=0, atol=1e-12)


def test_in_float32_the_inverse_undoes_it_and_norms_are_kept() -> None:
    for n in LENGTHS:
        x = gaussian(6, n, dtype=torch.float32)
        there = dct2(x)
        assert there.dtype == torch.float32
        torch.testing.assert_close(idct2(there), x, rtol=0, atol=1e-5)
        torch.testing.assert_close(there.norm(dim=1), x.norm(dim=1), rtol=1e-5, atol=0)


def test_many_rows_are_transformed_as_each_alone() -> None:
    x = gaussian(2, 150, 2048)
    alone = torch.stack([dct2(row) for row in x.reshape(-1, 2048)])
    torch.testing.assert_close(dct2(x).view(-1, 2048), alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(idct2(dct2(x)), x, rtol=0, atol=1e-12)


def test_a_constant_row_has_one_coefficient() -> None:
    coefficients = dct2(torch.ones(1, 300, dtype=torch.float64))
    assert coefficients[0, 0].item() == pytest.approx(300**0.5)
    assert coefficients[0, 1:].abs().max().item() < 1e-12


def test_what_has_no_last_axis_or_no_floats_is_refused() -> None:
    for shape in ((), (3, 0)):
        with pytest.raises(ValueError, match="last axis"):
            dct2(torch.ones(shape))
    with pytest.raises(ValueError, match="floats"):
        idct2(torch.ones(2, 4, dtype=torch.int32))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("n", [64, 1376])
def test_on_a_gpu_it_is_the_same_transform(n: int) -> None:
    x = gaussian(50, n, dtype=torch.float32)
    torch.testing.assert_close(dct2(x.cuda()).cpu(), dct2(x), rtol=0, atol=1e-5)
    torch.testing.assert_close(idct2(x.cuda()).cpu(), idct2(x), rtol=0, atol=1e-5)
