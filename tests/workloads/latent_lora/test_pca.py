"""PCA of token embeddings: exact, orthonormal, and blind to padding."""

from __future__ import annotations

import pytest
import torch

from workloads.latent_lora.pca import PCA, fit_pca, token_counts
from workloads.latent_lora.prompts import pad_left, pad_right

PROMPTS = [[1, 2, 3, 4], [5, 6], [7, 8, 9, 2, 2, 3], [4]]
TABLE = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))


def fitted(d_z: int) -> PCA:
    return fit_pca(TABLE, token_counts(*pad_left(PROMPTS, 0), 12), d_z)


def test_reconstruction_error_equals_the_tail_eigenvalues() -> None:
    pca = fitted(3)
    positions = torch.cat([TABLE[row] for row in PROMPTS])
    error = (pca.decode(pca.encode(positions)) - positions).square().sum(1).mean()
    assert float(error) == pytest.approx(pca.tail, rel=1e-4)


def test_components_are_orthonormal() -> None:
    pca = fitted(4)
    torch.testing.assert_close(pca.components.T @ pca.components, torch.eye(4))


def test_the_side_of_the_padding_changes_nothing() -> None:
    left, right = pad_left(PROMPTS, 0), pad_right(PROMPTS, 0, 6)
    fits = [fit_pca(TABLE, token_counts(*each, 12), 3) for each in (left, right)]
    torch.testing.assert_close(fits[0].components, fits[1].components, rtol=0, atol=0)
    torch.testing.assert_close(fits[0].mean, fits[1].mean, rtol=0, atol=0)


def test_all_directions_reconstruct_exactly_and_explain_everything() -> None:
    pca = fitted(6)
    torch.testing.assert_close(pca.decode(pca.encode(TABLE)), TABLE, rtol=1e-4, atol=1e-5)
    assert pca.explained == pytest.approx(1.0)


def test_more_directions_than_the_embedding_has_are_refused() -> None:
    with pytest.raises(ValueError, match="exceeds the embedding width 6"):
        fitted(7)
