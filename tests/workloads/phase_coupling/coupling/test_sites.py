"""The modules at which oscillators are joined, in each family."""

from __future__ import annotations

import pytest
import torch

from tests.telemetry.probes.tiny_models import adapted
from tests.workloads.phase_coupling.coupling.joined import (
    BLOCKS,
    FAMILIES,
    SITES,
    VOCABULARY,
    model_of,
)
from workloads.errors import InputError
from workloads.phase_coupling.coupling.attach import site_width
from workloads.phase_coupling.coupling.sites import sites_of

_NAMES = {
    "llama": ("model.layers.1.self_attn", "model.layers.1.input_layernorm"),
    "qwen2": ("model.layers.1.self_attn", "model.layers.1.input_layernorm"),
    "mamba": ("backbone.layers.1.mixer.out_proj", "backbone.layers.1.norm"),
    "mamba2": ("backbone.layers.1.mixer.out_proj", "backbone.layers.1.norm"),
    "rwkv": ("rwkv.blocks.1.attention", "rwkv.blocks.1.ln1"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_all_sites(family: str) -> None:
    model = model_of(family)
    sites = sites_of(model)
    mixer, norm = (model.get_submodule(name) for name in _NAMES[family])
    assert (sites.names, len(sites.blocks)) == (SITES, BLOCKS)
    assert sites.at("residual", 1).module is sites.blocks[1]
    assert sites.at("mixer", 1).module is mixer
    assert sites.at("before_norm", 1).module is norm
    assert sites.at("logits", 99).module is model.get_output_embeddings()


@pytest.mark.parametrize(("family", "width"), [("mamba", 64), ("mamba2", 64), ("rwkv", 32)])
def test_a_mamba_is_wider_before_its_out_projection(family: str, width: int) -> None:
    model = model_of(family)
    assert site_width(model, "mixer", 0) == width
    assert site_width(model, "residual", 0) == 32
    assert site_width(model, "logits", 0) == VOCABULARY


def test_rwkvs_first_block_is_joined_behind_the_norm_that_makes_the_stream() -> None:
    model = model_of("rwkv")
    assert sites_of(model).at("before_norm", 0).module is model.rwkv.blocks[0].ln1


def test_a_model_in_wrappings_has_the_same_sites() -> None:
    wrapped = adapted("llama")
    inner = wrapped.get_base_model()
    assert sites_of(wrapped).blocks == tuple(inner.model.layers)
    assert sites_of(wrapped).at("logits", 0).module is inner.lm_head


def test_a_model_without_a_head_has_no_logits() -> None:
    sites = sites_of(model_of("mamba").backbone)
    assert "logits" not in sites.names
    with pytest.raises(InputError, match="without a head"):
        sites.at("logits", 0)


def test_another_architecture_is_refused() -> None:
    with pytest.raises(InputError, match=r"'gpt2'.*valid: llama, mamba"):
        sites_of(model_of("gpt2"))
    with pytest.raises(InputError, match="Linear is of the type 'unknown'"):
        sites_of(torch.nn.Linear(2, 2))


def test_a_block_beyond_the_model_is_refused() -> None:
    with pytest.raises(InputError, match="the model has 3 blocks"):
        sites_of(model_of("rwkv")).at("mixer", 3)
