"""Whether a loss at a frozen model's output reaches the oscillators, by family and site."""

from __future__ import annotations

import pytest
import torch

from tests.workloads.phase_coupling.coupling.joined import (
    JOINED,
    core_for,
    join,
    model_of,
    tokens,
)
from workloads.phase_coupling.config import PhaseBlockSettings


def _gradients(family: str, site: str, core: torch.nn.Module, mode: str) -> dict[str, float]:
    model, ids = model_of(family), tokens()
    model.requires_grad_(False)
    with join(model, site, mode, core=core):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    if not loss.requires_grad:
        return {}
    loss.backward()
    return {
        name: 0.0 if one.grad is None else float(one.grad.norm())
        for name, one in core.named_parameters()
    }


@pytest.mark.parametrize(("family", "site"), JOINED)
def test_every_parameter_of_the_oscillators_gets_a_gradient(family: str, site: str) -> None:
    found = _gradients(family, site, core_for(model_of(family), site), "modulate")
    assert found
    assert all(0 < size < float("inf") for size in found.values()), found


@pytest.mark.parametrize("family", ["mamba", "rwkv", "llama"])
def test_every_parameter_of_a_phase_block_gets_a_gradient(family: str) -> None:
    core = core_for(model_of(family), settings=PhaseBlockSettings())
    found = _gradients(family, "residual", core, "modulate")
    assert found
    assert all(0 < size < float("inf") for size in found.values()), found


@pytest.mark.parametrize("mode", ["observe", "modulate_train_only"])
def test_none_where_they_do_not_act(mode: str) -> None:
    assert _gradients("mamba", "residual", core_for(model_of("mamba")), mode) == {}


def test_a_norm_that_washes_a_scalar_out_lets_hardly_any_gradient_through() -> None:
    sizes = {}
    for gain in ("scalar", "channel"):
        core = core_for(model_of("rwkv"), "before_norm", gain=gain)
        found = _gradients("rwkv", "before_norm", core, "modulate")
        sizes[gain] = sum(size**2 for size in found.values()) ** 0.5
    assert sizes["scalar"] < 1e-2 * sizes["channel"]


def test_the_order_parameter_carries_a_gradient_of_its_own() -> None:
    model = model_of("mamba")
    model.requires_grad_(False)
    core = core_for(model)
    with join(model, core=core) as coupling:
        model(input_ids=tokens(), use_cache=False)
        assert coupling.r is not None
        coupling.r.mean().backward()
    assert float(core.omega.grad.norm()) > 0


def test_a_core_within_data_parallel_training_gets_the_same_gradient(tmp_path: object) -> None:
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    class Joint(torch.nn.Module):
        def __init__(self, model: torch.nn.Module, core: torch.nn.Module) -> None:
            super().__init__()
            self.model, self.core = model, core

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            loss: torch.Tensor = self.model(input_ids=ids, labels=ids, use_cache=False).loss
            return loss

    model, ids = model_of("rwkv"), tokens()
    model.requires_grad_(False)
    core = core_for(model)
    found = []
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1
    )
    try:
        with join(model, core=core) as coupling:
            joint = Joint(model, core)
            for one in (joint, DistributedDataParallel(joint)):
                core.zero_grad()
                coupling.begin(2)
                one(ids).backward()
                found.append([parameter.grad.clone() for parameter in core.parameters()])
    finally:
        distributed.destroy_process_group()
    assert all(torch.equal(plain, wrapped) for plain, wrapped in zip(*found, strict=True))
