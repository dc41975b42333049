"""What a norm leaves of a gain: nothing of a scalar but for eps, nearly all of one per channel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.workloads.phase_coupling.coupling.joined import (
    FAMILIES,
    core_for,
    join,
    logits,
    model_of,
    tokens,
)
from tests.workloads.phase_coupling.coupling.washing import scalar_residue, through_norm
from workloads.phase_coupling.coupling.sites import sites_of
from workloads.phase_coupling.coupling.survival import survival


def _norm_and_input(family: str) -> tuple[nn.Module, Tensor, float]:
    """The first norm of a real block, what it reads in a real forward pass, and its eps."""
    model = model_of(family)
    norm = sites_of(model).at("before_norm", 1).module
    read: list[Tensor] = []
    handle = norm.register_forward_pre_hook(lambda _module, args: read.append(args[0]))
    logits(model, tokens())
    handle.remove()
    eps = next(getattr(norm, name) for name in ("variance_epsilon", "eps") if hasattr(norm, name))
    return norm, read[0], float(eps)


@pytest.mark.parametrize("gain", [0.5, 1.1, 2.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_of_a_scalar_a_norm_leaves_what_eps_makes_of_it(family: str, gain: float) -> None:
    norm, x, eps = _norm_and_input(family)
    norm, x = norm.double(), x.double()
    if family == "rwkv":
        size = x.var(-1, unbiased=False)
    else:
        size = x.square().mean(-1)
        # These norms compute in float32 whatever they read: without eps, rounding alone is left.
        x = x.float()
    expected = scalar_residue(size, torch.tensor(gain), eps)
    left = through_norm(norm, x, torch.full((1,), gain, dtype=x.dtype))
    assert torch.allclose(left, expected, rtol=1e-3, atol=1e-6)
    assert float(expected.max()) < 0.05


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gain_per_channel_goes_through_a_norm(family: str) -> None:
    norm, x, _ = _norm_and_input(family)
    gain = 1 + 0.1 * torch.randn(x.shape[-1], generator=torch.Generator().manual_seed(0))
    assert float(through_norm(norm, x, gain).min()) > 0.02


def test_without_eps_a_scalar_leaves_nothing() -> None:
    assert float(scalar_residue(torch.tensor(0.3), torch.tensor(7.0), eps=0.0)) < 1e-12


@pytest.mark.parametrize("family", FAMILIES)
def test_only_before_a_norm_is_a_scalar_washed_out(family: str) -> None:
    model, ids = model_of(family), tokens()
    left = {}
    for site, gain in [
        ("before_norm", "scalar"),
        ("before_norm", "channel"),
        ("residual", "scalar"),
        ("residual", "channel"),
    ]:
        core = core_for(model, site, gain=gain, strength=0.5)
        with join(model, site, core=core) as coupling:
            scores = survival(model, coupling, [(ids, None)])
        change = scores.columns["relative_change"][scores.units.index("logits")]
        assert change is not None
        left[site, gain] = change
    washed = left.pop(("before_norm", "scalar"))
    assert washed < 0.02 * left["before_norm", "channel"]
    assert washed < 0.02 * left["residual", "channel"]
    assert washed < 0.2 * left["residual", "scalar"]


@pytest.mark.parametrize("family", FAMILIES)
def test_behind_the_last_block_the_last_norm_washes_a_scalar_out(family: str) -> None:
    model, ids = model_of(family), tokens()
    left = {}
    for gain in ("scalar", "channel"):
        core = core_for(model, "residual", gain=gain, strength=0.5)
        with join(model, "residual", layer="1/1", core=core) as coupling:
            scores = survival(model, coupling, [(ids, None)])
        change = dict(zip(scores.units, scores.columns["relative_change"], strict=True))
        assert change["block.2"] is not None
        assert change["block.2"] > 1e-3
        left[gain] = change["logits"]
    assert left["scalar"] is not None
    assert left["channel"] is not None
    assert left["scalar"] < 0.02 * left["channel"]
