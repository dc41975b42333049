"""Tiny models with random weights, of every family whose blocks discovery knows."""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import nn

from telemetry.probes.monitors import Monitor

VOCABULARY = 64
DIM = 32
BLOCKS = 3
ALL: tuple[Monitor, ...] = get_args(Monitor)
MASK = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
"""One sample padded on the right, one without padding."""
_ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48}

# model_type: class of the configuration, its own fields, a module that LoRA can adapt, the list
# of blocks, and the class of a block.
FAMILIES: dict[str, tuple[str, dict[str, Any], str, str, str]] = {
    "llama": ("LlamaConfig", _ATTENTION, "q_proj", "model.layers", "LlamaDecoderLayer"),
    "qwen2": ("Qwen2Config", _ATTENTION, "q_proj", "model.layers", "Qwen2DecoderLayer"),
    "mistral": ("MistralConfig", _ATTENTION, "q_proj", "model.layers", "MistralDecoderLayer"),
    "gpt2": (
        "GPT2Config",
        {"n_head": 4, "n_positions": 64},
        "c_attn",
        "transformer.h",
        "GPT2Block",
    ),
    "gpt_neox": (
        "GPTNeoXConfig",
        {"num_attention_heads": 4, "intermediate_size": 48},
        "query_key_value",
        "gpt_neox.layers",
        "GPTNeoXLayer",
    ),
    "mamba": ("MambaConfig", {"state_size": 4}, "in_proj", "backbone.layers", "MambaBlock"),
    "mamba2": (
        "Mamba2Config",
        {"state_size": 4, "num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 8},
        "in_proj",
        "backbone.layers",
        "Mamba2Block",
    ),
    "rwkv": ("RwkvConfig", {"attention_hidden_size": DIM}, "key", "rwkv.blocks", "RwkvBlock"),
}


def causal_model(family: str = "llama", *, seed: int = 0, **fields: Any) -> Any:
    """A causal language model of three blocks: vocabulary 64, width 32."""
    import transformers

    name, own, *_ = FAMILIES[family]
    config = getattr(transformers, name)(
        vocab_size=VOCABULARY,
        hidden_size=DIM,
        num_hidden_layers=BLOCKS,
        bos_token_id=0,
        eos_token_id=1,
        **{**own, **fields},
    )
    torch.manual_seed(seed)
    return transformers.AutoModelForCausalLM.from_config(config)


def adapted(family: str = "llama", **fields: Any) -> Any:
    """The same in PEFT's wrapping, with a LoRA adapter."""
    import peft

    config = peft.LoraConfig(
        r=2,
        target_modules=[FAMILIES[family][2]],
        task_type="CAUSAL_LM",
        fan_in_fan_out=family == "gpt2",
    )
    return peft.get_peft_model(causal_model(family, **fields), config)


class Toy(nn.Module):
    """An embedding, PyTorch's own encoder and a head: logits [batch, seq, vocabulary]."""

    def __init__(self, *, batch_first: bool = True, encoders: int = 1) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.embedding = nn.Embedding(VOCABULARY, DIM)
        self.encoder = nn.Sequential(
            *(
                nn.TransformerEncoder(
                    nn.TransformerEncoderLayer(DIM, 4, 48, batch_first=batch_first), BLOCKS
                )
                for _ in range(encoders)
            )
        )
        self.head = nn.Linear(DIM, VOCABULARY)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.embedding(tokens if self.batch_first else tokens.T)
        logits: torch.Tensor = self.head(self.encoder(hidden))
        return logits


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random tokens, which are none that mean something."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(2, VOCABULARY, shape, generator=draw)
