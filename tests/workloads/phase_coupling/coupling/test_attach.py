"""What a coupling does to a model, and what it leaves alone, in every family and at every site."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.telemetry.probes.tiny_models import adapted
from tests.workloads.phase_coupling.coupling.joined import (
    FAMILIES,
    JOINED,
    core_for,
    join,
    logits,
    model_of,
    tokens,
)
from workloads.errors import InputError
from workloads.phase_coupling.config import KuramotoSettings, PhaseBlockSettings
from workloads.phase_coupling.coupling.attach import Coupling


@pytest.mark.parametrize(("family", "site"), JOINED)
def test_observing_leaves_every_bit_and_modulating_does_not(family: str, site: str) -> None:
    model, ids = model_of(family), tokens()
    before = logits(model, ids)
    core = core_for(model, site)
    with join(model, site, "observe", core=core) as coupling:
        assert torch.equal(logits(model, ids), before)
        observed = coupling.r
    with join(model, site, "modulate", core=core) as coupling:
        assert not torch.equal(logits(model, ids), before)
        acting = coupling.r
    assert observed is not None
    assert acting is not None
    assert observed.shape == ids.shape
    assert torch.equal(observed, acting)
    assert bool(((observed > 0) & (observed <= 1)).all())
    assert torch.equal(logits(model, ids), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_phase_block_takes_the_values_place(family: str) -> None:
    model, ids = model_of(family), tokens()
    before = logits(model, ids)
    core = core_for(model, "residual", settings=PhaseBlockSettings())
    seen: list[Any] = []
    with join(model, "residual", "observe", core=core):
        assert torch.equal(logits(model, ids), before)
    with join(model, "residual", core=core) as coupling:
        block = coupling.sites.blocks[1]
        handle = block.register_forward_hook(lambda _module, _args, output: seen.append(output))
        assert not torch.equal(logits(model, ids), before)
        handle.remove()
    stream = seen[0] if isinstance(seen[0], torch.Tensor) else seen[0][0]
    assert torch.allclose(stream.mean(-1), torch.zeros(()), atol=1e-5)
    spread = stream.var(-1, unbiased=False)  # 1 but for eps, and these streams are thin
    assert 0.85 < float(spread.min()) <= float(spread.max()) < 1.001


@pytest.mark.parametrize("family", FAMILIES)
def test_acting_in_training_only_leaves_evaluation_alone(family: str) -> None:
    model, ids = model_of(family), tokens()
    before = logits(model, ids)
    with join(model, mode="modulate_train_only") as coupling:
        assert torch.equal(logits(model, ids), before)
        model.train()
        assert coupling.acts
        assert not torch.equal(logits(model, ids), before)
        coupling.training(False)
        assert torch.equal(logits(model, ids), before)
        model.eval()
        coupling.training(True)
        assert not torch.equal(logits(model, ids), before)
        coupling.training(None)
        assert not coupling.acts


def test_off_sets_no_hook_and_needs_no_core() -> None:
    model, ids = model_of("llama"), tokens()
    before = logits(model, ids)
    with Coupling.attach(model, None, site="residual", layer="1/2", mode="off") as coupling:
        coupling.begin(5)
        assert torch.equal(logits(model, ids), before)
        assert (coupling.r, coupling.collect(), coupling.phases) == (None, None, None)
        assert (coupling.layer, coupling.acts) == (1, False)


@pytest.mark.parametrize(("family", "site"), JOINED)
def test_a_token_is_not_changed_by_later_ones(family: str, site: str) -> None:
    model, ids = model_of(family), tokens()
    later = ids.clone()
    later[:, 4:] = tokens(seed=1)[:, 4:]
    with join(model, site) as coupling:
        first = logits(model, ids)
        coupling.begin(2)
        assert torch.equal(logits(model, later)[:, :4], first[:, :4])


def test_the_origins_pooling_lets_later_tokens_through() -> None:
    model, ids = model_of("mamba"), tokens()
    later = ids.clone()
    later[:, 4:] = tokens(seed=1)[:, 4:]
    core = core_for(model, settings=KuramotoSettings(pool="sequence", drive=0.5))
    with join(model, core=core) as coupling:
        first = logits(model, ids)
        coupling.begin(2)
        assert not torch.equal(logits(model, later)[:, :4], first[:, :4])


def test_held_phases_keep_their_order_parameter_until_they_run_free() -> None:
    model, ids = model_of("rwkv"), tokens()
    held = torch.linspace(0, 3, 16, dtype=torch.float64)
    order = torch.polar(torch.ones_like(held), held).mean().abs().float()
    with join(model) as coupling:
        coupling.hold(held)
        logits(model, ids)
        r = coupling.r
        assert r is not None
        assert torch.allclose(r.float(), order.expand(2, 7), atol=1e-6)
        coupling.hold(None)
        coupling.begin(2)
        logits(model, ids)
        free = coupling.r
        assert free is not None
        assert not torch.allclose(free.float(), order, atol=1e-3)


def test_phases_that_are_set_once_run_on_from_there() -> None:
    model, ids = model_of("rwkv"), tokens()
    start = torch.linspace(0, 5, 16, dtype=torch.float64)
    with join(model) as coupling:
        coupling.begin(2)
        coupling.set(start, batch=2)
        assert torch.equal(coupling.phases, start.expand(2, 16))
        logits(model, ids)
        r = coupling.r
        assert r is not None
        assert float(r[0, 0]) < 0.9
        assert float(r[0, 0]) != float(r[0, -1])


def test_a_constant_drive_is_the_same_at_every_token() -> None:
    model, ids = model_of("mamba"), tokens()
    core = core_for(model, settings=KuramotoSettings(coupling=0.0, frequency_sd=0.0, drive=0.05))
    core.eval()
    with join(model, mode="observe", core=core) as coupling:
        coupling.drive("constant")
        phases = []
        for length in (7, 7):
            coupling.begin(2)
            logits(model, ids[:, :length])
            phases.append(coupling.phases)
        assert phases[0] is not None
        assert phases[1] is not None
        assert torch.equal(phases[0], phases[1])
        # Uncoupled oscillators at rest that get the same push at each of 7 tokens have, after all
        # of them, moved by 7 pushes: by the sum of the pushes that the text itself gives.
        coupling.drive("text")
        coupling.begin(2)
        logits(model, ids)
        assert coupling.phases is not None
        assert torch.allclose(phases[0], coupling.phases, atol=1e-5)
    with pytest.raises(InputError, match="valid: text, constant"):
        coupling.drive("nothing")  # type: ignore[arg-type]


def test_a_pause_leaves_model_and_phases_alone() -> None:
    model, ids = model_of("llama"), tokens()
    before = logits(model, ids)
    with join(model) as coupling:
        logits(model, ids)
        phases = coupling.phases
        with coupling.paused():
            assert torch.equal(logits(model, ids), before)
        assert coupling.phases is phases
        assert not torch.equal(logits(model, ids), before)


def test_padding_makes_no_step() -> None:
    model = model_of("llama")
    ids = tokens(rows=1)
    padded = torch.cat([ids, torch.zeros(1, 3, dtype=ids.dtype)], dim=1)
    mask = (torch.arange(10) < 7).long()[None]
    with join(model) as coupling:
        logits(model, ids)
        alone = coupling.phases
        coupling.begin(1)
        logits(model, padded, attention_mask=mask)
        assert alone is not None
        assert coupling.phases is not None
        assert torch.allclose(coupling.phases, alone, atol=1e-6)
        coupling.begin(1)
        model(padded, mask)
        assert torch.allclose(coupling.phases, alone, atol=1e-6)
        coupling.begin(1)
        logits(model, padded)
        assert not torch.allclose(coupling.phases, alone, atol=1e-6)


def test_a_model_in_bfloat16_keeps_its_type_and_the_core_its_own() -> None:
    model, ids = model_of("mamba").bfloat16(), tokens()
    before = logits(model, ids)
    core = core_for(model)
    with join(model, mode="observe", core=core):
        assert torch.equal(logits(model, ids), before)
    with join(model, core=core):
        changed = logits(model, ids)
    assert changed.dtype == before.dtype
    assert not torch.equal(changed, before)
    assert {one.dtype for one in core.parameters()} == {torch.float32}


def test_autocast_changes_the_model_and_not_the_type_the_core_computes_in() -> None:
    model, ids = model_of("llama"), tokens()
    core = core_for(model)
    with join(model, core=core) as coupling, torch.autocast("cpu", dtype=torch.bfloat16):
        logits(model, ids)
        assert coupling.r is not None
        assert coupling.r.dtype == torch.float32


@pytest.mark.parametrize("family", ["llama", "rwkv"])
def test_a_model_with_an_adapter_is_coupled_like_any_other(family: str) -> None:
    model, ids = adapted(family).eval(), tokens()
    before = logits(model, ids)
    with join(model, "mixer") as coupling:
        assert not torch.equal(logits(model, ids), before)
        assert coupling.r is not None
        assert coupling.r.shape == (2, 7)


def test_a_core_of_another_width_is_refused() -> None:
    model = model_of("mamba")
    with pytest.raises(InputError, match=r"reads 32 channels.*64 at site=mixer"):
        join(model, "mixer", core=core_for(model, "residual"))


def test_a_mode_that_needs_a_core_says_so() -> None:
    with pytest.raises(InputError, match="needs a core"):
        Coupling.attach(model_of("llama"), None, site="residual", layer=0, mode="observe")


def test_a_model_that_computes_its_blocks_twice_is_refused() -> None:
    model = model_of("llama")
    core = core_for(model)
    model.gradient_checkpointing_enable()
    with pytest.raises(InputError, match="gradient checkpointing"):
        join(model, core=core)


def test_a_forward_pass_around_the_site_is_an_error_and_no_silence() -> None:
    model = model_of("mamba")
    with join(model, mode="observe"):
        model.backbone.layers[1] = model.backbone.layers[0]
        with pytest.raises(RuntimeError, match="did not pass through the site"):
            logits(model, tokens())


def test_no_hook_is_left_behind() -> None:
    model = model_of("rwkv")
    with join(model):
        pass
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())
