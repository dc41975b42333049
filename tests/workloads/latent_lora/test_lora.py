"""LoRA through PEFT: scaling, which modules, and verification after wrapping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from workloads.errors import InputError
from workloads.latent_lora.config import LatentLoraConfig, LoraSettings
from workloads.latent_lora.lora import attach_lora, check_targets, found_adapters
from workloads.latent_lora.workload import LatentLora
from workloads.models import describe, load_model


@pytest.fixture
def model(tiny_model: Path) -> Any:
    return load_model(str(tiny_model))


def settings(**changed: Any) -> LoraSettings:
    return LoraSettings(**{"rank": 4, "alpha": 8, "layers": 2, **changed})


def test_exactly_the_asked_layers_are_adapted(model: Any) -> None:
    attach_lora(model, settings(layers=2), 0)
    assert {layer for layer, _ in found_adapters(model)} == {0, 1}


def test_the_last_layers_can_be_asked_for(model: Any) -> None:
    attach_lora(model, settings(layers=1, which="last"), 0)
    assert found_adapters(model) == {(3, f"{name}_proj") for name in "qkvo"}


@pytest.mark.parametrize(("rslora", "scale"), [(False, 8 / 4), (True, 8 / 2)])
def test_updates_are_scaled_by_alpha_over_rank(model: Any, rslora: bool, scale: float) -> None:
    attach_lora(model, settings(rslora=rslora), 0)
    assert model.model.layers[0].self_attn.q_proj.scaling["default"] == pytest.approx(scale)


def test_only_lora_is_trainable_and_starts_as_no_change(model: Any) -> None:
    ids = torch.arange(6).unsqueeze(0)
    before = model(ids).logits
    attach_lora(model, settings(), 0)
    torch.testing.assert_close(model(ids).logits, before, rtol=0, atol=0)
    assert all("lora_" in n for n, p in model.named_parameters() if p.requires_grad)


def test_layers_that_peft_would_skip_silently_are_found_missing(model: Any) -> None:
    with pytest.raises(InputError, match="PEFT adapted"):
        attach_lora(model, settings(layers=9), 0)


def test_a_target_that_matches_nothing_is_refused_with_the_nearest(tiny_model: Path) -> None:
    with pytest.raises(InputError, match="did you mean q_proj"):
        check_targets(settings(targets=["q_prj", "v_proj"]), describe(str(tiny_model)).modules)


def resolved(config: LatentLoraConfig, **changed: Any) -> LatentLoraConfig:
    merged = LatentLoraConfig.model_validate({**config.model_dump(), **changed})
    return LatentLora().resolve(merged)


def test_lora_without_a_gradient_path_is_refused(config: LatentLoraConfig) -> None:
    arm = resolved(config, lora={"rank": 4}, first_token_ce_weight=0)
    with pytest.raises(InputError, match="no gradient path"):
        LatentLora().check(arm)


def test_a_depth_share_is_resolved_and_an_absolute_count_beyond_the_depth_refused(
    config: LatentLoraConfig,
) -> None:
    arm = resolved(config, lora={"layers": "12/32"})
    assert arm.lora is not None
    assert arm.lora.layers == 2
    with pytest.raises(InputError, match="the model has 4 layers"):
        resolved(config, lora={"layers": 5})


def test_a_code_wider_than_the_embedding_is_refused(config: LatentLoraConfig) -> None:
    with pytest.raises(InputError, match="d_z=33 exceeds the model's embedding width 32"):
        LatentLora().check(resolved(config, d_z=33))


def test_a_text_prompt_is_one_trial_whatever_the_arms_train_for(config: LatentLoraConfig) -> None:
    assert resolved(config, input="text", d_z=3) == resolved(config, input="text", epochs=9)
