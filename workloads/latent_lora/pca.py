"""PCA of the token embeddings that the training prompts contain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PCA:
    """An orthonormal projection to the `d_z` directions of largest variance.

    `mean` is [dim], `components` [dim, d_z] with orthonormal columns, `eigenvalues` [dim] all
    variances of the covariance, in descending order.
    """

    mean: torch.Tensor
    components: torch.Tensor
    eigenvalues: torch.Tensor

    @property
    def d_z(self) -> int:
        """The number of directions kept."""
        return int(self.components.shape[1])

    @property
    def tail(self) -> float:
        """The variance not kept: the mean squared error, summed over dimensions, of `decode`."""
        return float(self.eigenvalues[self.d_z :].sum())

    @property
    def explained(self) -> float:
        """The share of all variance that is kept, in [0, 1]."""
        return 1.0 - self.tail / float(self.eigenvalues.sum())

    def encode(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Codes [..., d_z] of embeddings [..., dim]."""
        return (embeddings - self.mean) @ self.components

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """The linear reconstruction [..., dim] of codes [..., d_z]."""
        return codes @ self.components.T + self.mean


def token_counts(token_ids: torch.Tensor, mask: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """How often each token stands at a position that is no padding: [vocabulary], float64.

    `token_ids` and `mask` are [prompts, tokens]; on which side the padding is has no effect.
    """
    import torch

    return torch.bincount(token_ids[mask.bool()], minlength=vocabulary).double()


def fit_pca(embedding: torch.Tensor, counts: torch.Tensor, d_z: int) -> PCA:
    """Fits on a corpus given by its token counts [vocabulary] and the table [vocabulary, dim].

    A prompt's embeddings are rows of the table, so the covariance over all positions is the
    covariance over the vocabulary weighted by counts: exact, and as cheap as one eigenproblem of
    [dim, dim]. The origin took a randomised SVD (torch.svd_lowrank, 4 iterations) of the centred
    position matrix, an approximation of the same directions. Computed in float64, on the table's
    device; returned in float32. Raises ValueError where `d_z` exceeds `dim`.
    """
    import torch

    dim = embedding.shape[1]
    if d_z > dim:
        raise ValueError(f"d_z={d_z} exceeds the embedding width {dim}")
    used = counts.nonzero().squeeze(1).to(embedding.device)
    rows = embedding.detach()[used].double()
    weights = (counts.to(embedding.device)[used] / counts.sum()).unsqueeze(1)
    mean = (weights * rows).sum(0)
    centred = rows - mean
    values, vectors = torch.linalg.eigh(centred.T @ (weights * centred))
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)[:, :d_z]
    # An eigenvector's sign is arbitrary: its largest entry is made positive.
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    vectors = vectors * largest.sign()
    return PCA(mean.float(), vectors.float().contiguous(), values.float())
