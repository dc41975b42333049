"""The adapter's shape, and RMS matching."""

from __future__ import annotations

import torch

from workloads.latent_lora.adapter import Adapter, rms_match
from workloads.latent_lora.losses import reconstruction


def test_parameters_at_the_origins_size_add_up_as_its_layers_do() -> None:
    with torch.device("meta"):
        adapter = Adapter(1024, 4096)
    assert sum(p.numel() for p in adapter.parameters()) == 50_374_657


def test_rms_match_makes_the_norm_ratio_one() -> None:
    originals, rebuilt = torch.randn(3, 7, 16), 100 * torch.randn(3, 7, 16)
    parts = reconstruction(rms_match(rebuilt, originals), originals, torch.ones(3, 7))
    assert abs(float(parts.norm_ratio) - 1.0) < 1e-3


def test_without_rms_match_the_norm_ratio_shows_the_magnitude() -> None:
    originals = torch.randn(3, 7, 16)
    parts = reconstruction(100 * originals, originals, torch.ones(3, 7))
    assert abs(float(parts.norm_ratio) - 100.0) < 1e-2


def test_a_zero_embedding_gives_no_infinite_gradient() -> None:
    rebuilt = torch.zeros(1, 4, requires_grad=True)
    rms_match(rebuilt, torch.zeros(1, 4)).sum().backward()
    assert rebuilt.grad is not None
    assert torch.isfinite(rebuilt.grad).all()
