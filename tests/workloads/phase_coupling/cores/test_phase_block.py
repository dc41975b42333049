"""The core with an oscillator per channel: against the dense sum, and its output."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from workloads.phase_coupling.config import KuramotoSettings, PhaseBlockSettings
from workloads.phase_coupling.cores.core import CoreOutput
from workloads.phase_coupling.cores.drift import Control
from workloads.phase_coupling.cores.kuramoto import KuramotoCore
from workloads.phase_coupling.cores.order import order_parameter
from workloads.phase_coupling.cores.phase_block import PhaseBlockCore
from workloads.phase_coupling.cores.reference import dense_pull
from workloads.phase_coupling.cores.solver import phases_for

WIDTH, TOKENS, BATCH = 48, 5, 2


def core_of(*, seed: int = 0, width: int = WIDTH, **settings: Any) -> PhaseBlockCore:
    core = PhaseBlockCore(PhaseBlockSettings(**settings), width)
    core.init(torch.Generator().manual_seed(seed))
    return core


def states(seed: int = 0, width: int = WIDTH) -> Tensor:
    return torch.randn(BATCH, TOKENS, width, generator=torch.Generator().manual_seed(seed))


def read(core: PhaseBlockCore, x: Tensor, **options: Any) -> CoreOutput:
    out: CoreOutput = core(x, core.initial_phases(len(x)), keep_trace=True, **options)
    return out


def output_of(out: CoreOutput) -> Tensor:
    assert out.output is not None
    return out.output


def dense_evolution(core: PhaseBlockCore, theta: Tensor) -> Tensor:
    """As the equations are written, over all pairs."""
    matrix = core.coupling * core.U @ core.V.T
    for _ in range(core.settings.steps):
        pull = dense_pull(theta, matrix).clamp(-10, 10)
        theta = (theta + core.settings.dt * (core.omega + pull)).clamp(-2 * math.pi, 2 * math.pi)
    return theta


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"coupling_sd": 0.3, "rank": 4},
        {"coupling_sd": 2.0, "k_scale": 5.0},  # the sum is clipped
        {"frequency_sd": 100.0, "steps": 5},  # phases are
    ],
)
def test_the_update_of_low_rank_is_the_sum_over_all_pairs(settings: dict[str, Any]) -> None:
    core = core_of(**settings).double()
    drawn = torch.rand(BATCH, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))
    theta = 4 * drawn.double() - 2
    with torch.no_grad():
        one, other = core.evolve(theta), dense_evolution(core, theta)
    assert torch.allclose(one, other, atol=1e-10)
    if settings.get("coupling_sd", 0) < 1:  # else terms of hundreds cancel, in single precision
        with torch.no_grad():
            single = core.float().evolve(theta.float()).double()
        assert torch.allclose(single, other, atol=1e-5)
    assert float(one.abs().max()) <= 2 * math.pi + 1e-6


def test_the_sum_is_clipped_and_phases_stop_at_two_turns() -> None:
    pulled = core_of(coupling_sd=2.0, k_scale=5.0, frequency_sd=0.0, steps=1)
    theta = math.pi * torch.tanh(states())
    with torch.no_grad():
        assert float(pulled.pull(theta).abs().max()) > 10
        moved = (pulled.evolve(theta) - theta).abs().max()
    assert float(moved) == pytest.approx(10 * 0.08, abs=1e-5)
    fast = core_of(frequency_sd=1000.0)
    with torch.no_grad():
        assert float(fast.evolve(theta).abs().max()) == pytest.approx(2 * math.pi)


def test_the_output_of_each_token_has_mean_0_and_variance_1() -> None:
    output = output_of(read(core_of(), 3 * states() + 1))
    assert torch.allclose(output.mean(-1), torch.zeros(BATCH, TOKENS), atol=1e-5)
    assert torch.allclose(output.var(-1, unbiased=False), torch.ones(BATCH, TOKENS), atol=1e-3)


def test_the_output_is_what_the_equations_say() -> None:
    core, x = core_of(), states()
    with torch.no_grad():
        theta = dense_evolution(core, math.pi * torch.tanh(core.enc(x)))
        y = x * theta.cos() * torch.sigmoid(core.dec_gain(x)) + 0.01 * torch.tanh(core.dec_bias(x))
        y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        out = read(core, x)
    assert out.gain is None
    assert torch.allclose(output_of(out), y, atol=1e-5)
    assert torch.allclose(out.r, order_parameter(theta), atol=1e-5)
    assert torch.allclose(out.phases_after, theta[:, -1].double(), atol=1e-5)


def test_a_token_reads_nothing_of_the_others() -> None:
    core, x = core_of(), states()
    changed = torch.cat([x[:, :2], states(seed=1)[:, 2:]], dim=1)
    assert torch.equal(output_of(read(core, x))[:, :2], output_of(read(core, changed))[:, :2])


@pytest.mark.parametrize("target", [0.1, 0.5, 0.9])
def test_held_phases_have_the_target_at_every_token(target: float) -> None:
    out = read(core_of(), states(), hold=phases_for(target, WIDTH))
    assert torch.allclose(out.r, torch.full((BATCH, TOKENS), target), atol=1e-5)


def test_a_constant_drive_gives_the_same_phases_at_every_token() -> None:
    r = read(core_of(), states(), drive="constant").r
    assert torch.allclose(r, r[:, :1].expand(BATCH, TOKENS))


def test_a_gradient_reaches_every_parameter() -> None:
    core = core_of()
    (output_of(read(core, states())) * states(seed=3)).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in core.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.norm()) > 0, name


def test_a_controller_scales_the_coupling_and_adds_noise_in_training_only() -> None:
    core, x = core_of(coupling_sd=0.3), states()
    assert core.coupling == 0.5
    before = read(core, x).r
    core.steer(Control("BRAKE", 0.1, 0.475), torch.Generator().manual_seed(1))
    noisy = read(core, x).r
    core.eval()
    quiet = read(core, x).r
    assert not torch.equal(before, quiet)
    assert not torch.equal(noisy, quiet)


def test_the_state_of_another_core_is_refused_and_both_are_named() -> None:
    core = core_of()
    back = core_of(seed=1)
    back.load_state(core.to_state())
    assert torch.equal(output_of(read(core, states())), output_of(read(back, states())))
    other = KuramotoCore(KuramotoSettings(), WIDTH)
    with pytest.raises(ValueError, match=r"kuramoto, oscillators 16.*phase_block, hidden size 48"):
        core.load_state(other.to_state())
    with pytest.raises(ValueError, match=r"rank 4.*rank 16"):
        core.load_state(core_of(rank=4).to_state())


def test_one_channel_is_refused() -> None:
    with pytest.raises(ValueError, match="2 or more"):
        PhaseBlockCore(PhaseBlockSettings(), 1)
