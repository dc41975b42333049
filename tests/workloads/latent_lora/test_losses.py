"""The losses against calculations by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from workloads.latent_lora.losses import (
    distillation,
    first_token_ce,
    k_token_ce,
    reconstruction,
    reconstruction_loss,
)

LOGITS = torch.randn(3, 4, 11, generator=torch.Generator().manual_seed(1))
ANSWERS = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [7, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])


def test_reconstruction_loss_matches_a_hand_calculation() -> None:
    originals = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    rebuilt = torch.tensor([[[1.0, 1.0], [0.0, 1.0]]])
    parts = reconstruction(rebuilt, originals, torch.ones(1, 2))
    cosine = (0.5**0.5 + 1.0) / 2
    mse = (0.0 + 1.0 + 0.0 + 1.0) / 4
    expected = (1 - cosine) + 0.1 * mse
    assert float(reconstruction_loss(parts, 1.0, 0.1)) == pytest.approx(expected)
    assert float(parts.relative_error) == pytest.approx((1.0 + 0.5) / 2)


def test_pad_positions_have_no_effect_on_value_or_gradient() -> None:
    originals, mask = torch.randn(2, 3, 4), torch.tensor([[0, 1, 1], [1, 1, 1]])
    rebuilt = torch.randn(2, 3, 4, requires_grad=True)
    loss = reconstruction_loss(reconstruction(rebuilt, originals, mask), 1.0, 0.1)
    loss.backward()
    assert rebuilt.grad is not None
    assert float(rebuilt.grad[0, 0].abs().sum()) == 0.0
    changed = rebuilt.detach().clone()
    changed[0, 0] = 1e6
    again = reconstruction_loss(reconstruction(changed, originals, mask), 1.0, 0.1)
    assert float(again) == float(loss.detach())


def test_an_exact_reconstruction_has_cosine_one_and_loss_zero() -> None:
    originals = torch.randn(2, 3, 8)
    parts = reconstruction(originals, originals, torch.ones(2, 3))
    assert float(parts.cosine) == pytest.approx(1.0)
    assert float(reconstruction_loss(parts, 1.0, 0.1)) == pytest.approx(0.0, abs=1e-6)


def test_first_token_ce_is_k_token_ce_with_one_token() -> None:
    one = k_token_ce(LOGITS[:, :1], ANSWERS[:, :1], MASK[:, :1])
    assert float(first_token_ce(LOGITS, ANSWERS, MASK)) == float(one)
    assert float(one) == pytest.approx(float(functional.cross_entropy(LOGITS[:, 0], ANSWERS[:, 0])))


def test_k_token_ce_reads_no_position_after_the_answers_end() -> None:
    changed = LOGITS.clone()
    changed[1, 2:], changed[2, 1:] = 50.0, -50.0
    assert float(k_token_ce(changed, ANSWERS, MASK)) == float(k_token_ce(LOGITS, ANSWERS, MASK))


def test_distillation_is_zero_for_equal_models_and_positive_otherwise() -> None:
    assert float(distillation(LOGITS, LOGITS, MASK, 2.0)) == pytest.approx(0.0, abs=1e-6)
    assert float(distillation(LOGITS, LOGITS.flip(2), MASK, 2.0)) > 0.1
