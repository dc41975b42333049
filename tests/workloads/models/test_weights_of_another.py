"""Weights that are not the architecture's are refused, and reading leaves weights as they are."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from workloads.errors import InputError
from workloads.models import load_model, resolve_model


@pytest.fixture
def rwkv(tmp_path: Path) -> Path:
    return Path(shutil.copytree(resolve_model("embedded:rwkv").source, tmp_path / "rwkv"))


def test_missing_and_unexpected_tensors_are_named(rwkv: Path) -> None:
    weights = load_file(rwkv / "model.safetensors")
    weights["rwkv.blocks.0.attention.gate.weight"] = weights.pop("rwkv.blocks.0.ln1.weight")
    save_file(weights, rwkv / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        InputError,
        match=r"by its config.json a RwkvForCausalLM, lacks 1 tensor \(rwkv.blocks.0.ln1.weight\) "
        r"and has 1 tensor too many \(rwkv.blocks.0.attention.gate.weight\); valid: the weights of",
    ):
        load_model(str(rwkv))


def test_a_configuration_of_more_blocks_is_refused(rwkv: Path) -> None:
    file = rwkv / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_hidden_layers": 5}))
    with pytest.raises(InputError, match=r"lacks 18 tensors \(rwkv.blocks.4.*15 more\)"):
        load_model(str(rwkv))


def test_tensors_of_another_shape_are_named_in_our_words_alone(
    rwkv: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = load_file(rwkv / "model.safetensors")
    weights["rwkv.ln_out.weight"] = torch.ones(32)
    save_file(weights, rwkv / "model.safetensors", {"format": "pt"})
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    try:
        with pytest.raises(
            InputError, match=r"has 1 tensor in other shapes \(rwkv.ln_out.weight\)"
        ):
            load_model(str(rwkv))
    finally:
        logger.removeHandler(caplog.handler)
    assert not caplog.text


def test_rwkv_does_not_rescale_its_weights_as_it_reads(rwkv: Path) -> None:
    ids = torch.arange(3, 13)[None]
    with torch.no_grad():
        expected = load_model(str(rwkv))(input_ids=ids).logits
    file = rwkv / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rescale_every": 1}))
    model = load_model(str(rwkv))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        given = model(input_ids=ids).logits
    assert torch.equal(given, expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_reading_says_nothing_of_kernels(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    try:
        model = load_model("embedded:mamba")
        with torch.no_grad():
            model(input_ids=torch.arange(3, 8)[None])
    finally:
        logger.removeHandler(caplog.handler)
    assert "falling back" not in caplog.text
