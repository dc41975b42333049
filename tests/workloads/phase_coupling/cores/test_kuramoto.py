"""The core of N oscillators: what drives it, what it gives, and what it keeps."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from workloads.phase_coupling.config import KuramotoSettings
from workloads.phase_coupling.cores.core import CoreOutput
from workloads.phase_coupling.cores.drift import Control
from workloads.phase_coupling.cores.kuramoto import KuramotoCore
from workloads.phase_coupling.cores.order import mean_field, order_parameter, wrapped
from workloads.phase_coupling.cores.solver import phases_for

WIDTH, TOKENS, BATCH = 24, 12, 3


def core_of(
    *, seed: int = 0, gain: Literal["channel", "scalar"] = "channel", **settings: Any
) -> KuramotoCore:
    core = KuramotoCore(KuramotoSettings(**settings), WIDTH, gain)
    core.init(torch.Generator().manual_seed(seed))
    return core


def states(seed: int = 0, tokens: int = TOKENS) -> Tensor:
    return torch.randn(BATCH, tokens, WIDTH, generator=torch.Generator().manual_seed(seed))


def read(core: KuramotoCore, x: Tensor, **options: Any) -> CoreOutput:
    out: CoreOutput = core(x, core.initial_phases(len(x)), keep_trace=True, **options)
    return out


def gain_of(out: CoreOutput) -> Tensor:
    assert out.gain is not None
    return out.gain


def trace_of(out: CoreOutput) -> Tensor:
    assert out.trace is not None
    return out.trace


@pytest.mark.parametrize("features", ["sin", "sin_cos"])
def test_a_token_is_pushed_and_stepped_and_read_as_the_equations_say(features: str) -> None:
    core, x = core_of(features=features, frequency_sd=0.3), states(tokens=1)
    start = core.initial_phases(BATCH, "uniform")
    out: CoreOutput = core(x, start)
    with torch.no_grad():
        pushed = start + 0.1 * math.pi * torch.tanh(x[:, 0].double() @ core.W.T.double())
        cosine, sine = mean_field(pushed)
        pull = 2.0 * (sine[:, None] * pushed.cos() - cosine[:, None] * pushed.sin())
        phases = wrapped(pushed + 0.1 * (core.omega.double() + pull))
        of = [phases.sin()] if features == "sin" else [phases.sin(), phases.cos()]
        gain = 1 + 0.1 * torch.tanh(torch.cat(of, dim=-1) @ core.V.T.double())
    assert torch.allclose(out.phases_after, phases, atol=1e-6)
    assert torch.allclose(out.r[:, 0].double(), order_parameter(phases), atol=1e-6)
    assert torch.allclose(gain_of(out)[:, 0].double(), gain, atol=1e-6)


def test_a_gain_for_each_channel_or_one_for_all() -> None:
    assert gain_of(read(core_of(), states())).shape == (BATCH, TOKENS, WIDTH)
    assert gain_of(read(core_of(gain="scalar"), states())).shape == (BATCH, TOKENS, 1)


def test_the_same_seed_gives_the_same_core_and_another_one_another() -> None:
    x = states()
    assert torch.equal(gain_of(read(core_of(), x)), gain_of(read(core_of(), x)))
    assert not torch.equal(gain_of(read(core_of(), x)), gain_of(read(core_of(seed=1), x)))


def test_later_tokens_change_nothing_before_them() -> None:
    core, x = core_of(), states()
    changed = torch.cat([x[:, :5], states(seed=1)[:, 5:]], dim=1)
    one, other = read(core, x), read(core, changed)
    assert torch.equal(gain_of(one)[:, :5], gain_of(other)[:, :5])
    assert torch.equal(one.r[:, :5], other.r[:, :5])
    assert not torch.equal(gain_of(one)[:, 5:], gain_of(other)[:, 5:])


def test_the_origins_pool_is_one_step_that_later_tokens_and_other_rows_reach() -> None:
    core, x = core_of(pool="sequence"), states()
    out = read(core, x)
    assert gain_of(out).shape == (BATCH, TOKENS, WIDTH)
    assert torch.equal(gain_of(out), gain_of(out)[:1, :1].expand(BATCH, TOKENS, WIDTH))
    changed = x.clone()
    changed[-1, -1] += 5
    assert not torch.equal(gain_of(out)[0, 0], gain_of(read(core, changed))[0, 0])
    mean = x.mean((0, 1), keepdim=True).expand(BATCH, 1, WIDTH)
    assert torch.allclose(gain_of(out)[:, :1], gain_of(read(core_of(), mean)), atol=1e-6)


def test_rows_apart_move_as_if_they_were_read_one_by_one() -> None:
    core, x = core_of(pool="sequence"), states()
    alone = [gain_of(read(core, row[None])) for row in x]
    core.rows_apart = True
    assert torch.allclose(gain_of(read(core, x)), torch.cat(alone), atol=1e-6)


@pytest.mark.parametrize("pool", ["causal", "sequence"])
def test_padding_is_not_read(pool: str) -> None:
    core, x = core_of(pool=pool), states()
    mask = torch.ones(BATCH, TOKENS, dtype=torch.bool)
    mask[:, 8:] = False
    changed = x.masked_fill(~mask[..., None], 100.0)
    one, other = read(core, x, mask=mask), read(core, changed, mask=mask)
    assert torch.allclose(one.phases_after, read(core, x[:, :8]).phases_after, atol=1e-6)
    assert torch.allclose(one.r, other.r, atol=1e-6)
    assert torch.equal(one.r[:, 8:], one.r[:, 7:8].expand(BATCH, 4))


def test_reading_goes_on_from_the_phases_after() -> None:
    core, x = core_of(), states()
    at_once, start = read(core, x), read(core, x[:, :4])
    rest: CoreOutput = core(x[:, 4:], start.phases_after)
    assert torch.allclose(torch.cat([start.r, rest.r], 1), at_once.r, atol=1e-6)
    assert torch.allclose(rest.phases_after, at_once.phases_after, atol=1e-6)


@pytest.mark.parametrize("target", [0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_held_phases_have_the_target_at_every_token(target: float) -> None:
    core, x = core_of(frequency_sd=1.0), states()
    out = read(core, x, hold=phases_for(target, 16))
    assert torch.allclose(out.r, torch.full((BATCH, TOKENS), target), atol=1e-5)
    assert torch.equal(gain_of(out)[:, 0], gain_of(out)[:, -1])
    assert torch.allclose(out.phases_after, phases_for(target, 16).expand(BATCH, 16))
    rows = phases_for(target, 16).expand(BATCH, 16)
    assert torch.equal(gain_of(read(core, x, hold=rows)), gain_of(out))


def test_what_cannot_be_held_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[16\], or \[3, 16\]"):
        read(core_of(), states(), hold=phases_for(0.5, 8))


def test_a_constant_drive_is_the_mean_one_at_every_token() -> None:
    core, x = core_of(), states()
    mixed = x[:, torch.randperm(TOKENS, generator=torch.Generator().manual_seed(2))]
    one, other = read(core, x, drive="constant"), read(core, mixed, drive="constant")
    assert torch.allclose(one.r, other.r, atol=1e-6)
    assert not torch.allclose(one.r, read(core, x).r, atol=1e-3)
    weak = core_of(drive=0.0)
    assert torch.equal(read(weak, x).r, read(weak, mixed, drive="constant").r)


@pytest.mark.parametrize("pool", ["causal", "sequence"])
@pytest.mark.parametrize("backprop", ["through_time", "detached"])
def test_a_gradient_reaches_every_parameter(pool: str, backprop: str) -> None:
    core = core_of(pool=pool, backprop=backprop)
    out = core(states(), core.initial_phases(BATCH, "random", torch.Generator().manual_seed(1)))
    (gain_of(out) * states(seed=3)).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in core.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.norm()) > 0, name


def test_detached_phases_carry_no_gradient_from_token_to_token() -> None:
    def reached(backprop: str) -> Tensor:
        core, x = core_of(backprop=backprop), states().requires_grad_()
        core(x, core.initial_phases(BATCH, "uniform")).gain[:, -1].sum().backward()
        assert x.grad is not None
        return x.grad.norm(dim=-1).sum(0) > 0

    assert reached("through_time").all()
    assert reached("detached").tolist() == [False] * (TOKENS - 1) + [True]


def test_hidden_states_of_half_precision_are_read_in_full() -> None:
    core, x = core_of(), states().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = read(core, x)
    assert gain_of(out).dtype == out.r.dtype == torch.float32
    assert torch.equal(gain_of(out), gain_of(read(core, x.float())))


def test_a_controller_changes_coupling_and_adds_noise_in_training_only() -> None:
    core, x = core_of(), states()
    before = read(core, x)
    core.steer(Control("ESCAPE", 0.0, 4.0))
    assert core.coupling == 4.0
    assert not torch.equal(read(core, x).r, before.r)
    quiet = read(core, x).r
    core.steer(Control("BRAKE", 0.2, 4.0), torch.Generator().manual_seed(5))
    noisy = read(core, x).r
    core.steer(Control("BRAKE", 0.2, 4.0), torch.Generator().manual_seed(5))
    assert torch.equal(read(core, x).r, noisy)
    assert not torch.equal(noisy, quiet)
    core.eval()
    assert torch.equal(read(core, x).r, quiet)
    with pytest.raises(ValueError, match="give steer\\(\\) a generator"):
        core.steer(Control("BRAKE", 0.2, 4.0))


def test_a_core_comes_back_from_its_state() -> None:
    core, x = core_of(), states()
    core.steer(Control("ESCAPE", 0.0, 2.2))
    other = core_of(seed=9)
    other.load_state(core.to_state())
    assert torch.equal(gain_of(read(core, x)), gain_of(read(other, x)))


def test_the_state_of_another_core_is_refused_and_both_are_named() -> None:
    state = core_of().to_state()
    for core in (core_of(oscillators=8), core_of(gain="scalar"), core_of(features="sin_cos")):
        with pytest.raises(ValueError, match=r"oscillators 16.*this one is kuramoto"):
            core.load_state(state)


def test_one_oscillator_is_refused() -> None:
    with pytest.raises(ValueError, match="2 or more"):
        KuramotoCore(KuramotoSettings.model_construct(oscillators=1), WIDTH)


def test_no_tokens_leave_the_phases() -> None:
    core = core_of()
    start = core.initial_phases(BATCH, "uniform")
    out: CoreOutput = core(states()[:, :0], start)
    assert out.r.shape == (BATCH, 0)
    assert torch.equal(out.phases_after, start)
