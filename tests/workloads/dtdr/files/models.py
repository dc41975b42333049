"""Small models on the disk, as others write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor


def saved_model(
    folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, object] = {}
) -> Path:
    """A folder of these tensors. Nothing but the files is like a language model's."""
    folder.mkdir(parents=True)
    save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    return folder


def odd_tensors() -> dict[str, Tensor]:
    """Every kind that a model may have: matrices, more axes, vectors, empty, scalar, integers."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    return {
        "matrix": normal(10, 6),
        "half": normal(9, 16).half(),
        "brain": normal(7, 5).bfloat16(),
        "kernel": normal(3, 4, 5),
        "vector": normal(5),
        "short": normal(3).bfloat16(),
        "empty": torch.empty(0, 4),
        "scalar": torch.tensor(2.5),
        "numbers": torch.arange(6).reshape(2, 3),
        "flags": torch.tensor([True, False, True]),
    }


def saved_llama(folder: Path, *, dtype: str = "bfloat16", tied: bool = False) -> Path:
    """A tiny untrained Llama in several files, as `save_pretrained` writes it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=96,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).to(getattr(torch, dtype))
    model.save_pretrained(folder, max_shard_size="12KB")
    return folder
