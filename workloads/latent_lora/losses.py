"""The losses: reconstruction of embeddings, and what the language model makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Reconstruction:
    """How well embeddings were reconstructed: means over the tokens that are no padding.

    `cosine` and `mse` carry gradients; `relative_error` is ‖r−E‖/‖E‖ and `norm_ratio` ‖r‖/‖E‖.
    """

    cosine: torch.Tensor
    mse: torch.Tensor
    relative_error: torch.Tensor
    norm_ratio: torch.Tensor


def reconstruction(
    rebuilt: torch.Tensor, originals: torch.Tensor, mask: torch.Tensor
) -> Reconstruction:
    """Compares [batch, seq, dim] with [batch, seq, dim] where `mask` [batch, seq] is 1.

    The origin averaged its MSE over pad positions too; here they have no effect.
    """
    kept = mask.bool()
    r, e = rebuilt[kept].float(), originals[kept].float()
    error = r - e
    with torch.no_grad():
        norms = e.norm(dim=-1).clamp(min=1e-12)
        relative, ratio = error.norm(dim=-1) / norms, r.norm(dim=-1) / norms
    return Reconstruction(
        cosine=functional.cosine_similarity(r, e, dim=-1).mean(),
        mse=error.square().mean(),
        relative_error=relative.mean(),
        norm_ratio=ratio.mean(),
    )


def reconstruction_loss(
    parts: Reconstruction, cosine_weight: float, mse_weight: float
) -> torch.Tensor:
    """`cosine_weight`·(1 − cosine) + `mse_weight`·MSE."""
    return cosine_weight * (1.0 - parts.cosine) + mse_weight * parts.mse


def k_token_ce(logits: torch.Tensor, answers: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy (nats) of the answers' first tokens given prompt and answer so far.

    `logits` are [batch, k, vocabulary]: those at position t predict `answers` [batch, k] at t.
    Where `mask` [batch, k] is 0 the answer has ended; a batch without any answer token gives 0.
    """
    each = functional.cross_entropy(
        logits.float().transpose(1, 2), answers, reduction="none"
    )  # [batch, k]
    return (each * mask).sum() / mask.sum().clamp(min=1)


def first_token_ce(logits: torch.Tensor, answers: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`k_token_ce` of the first token alone, from inputs of any k."""
    return k_token_ce(logits[:, :1], answers[:, :1], mask[:, :1])


def distillation(
    student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Mean KL(teacher ‖ student) in nats at `temperature`, times its square (Hinton et al. 2015).

    Logits are [batch, k, vocabulary], `mask` [batch, k].
    """
    log_student = functional.log_softmax(student.float() / temperature, dim=-1)
    log_teacher = functional.log_softmax(teacher.float() / temperature, dim=-1)
    each = (log_teacher.exp() * (log_teacher - log_student)).sum(-1)
    return (each * mask).sum() / mask.sum().clamp(min=1) * temperature**2
