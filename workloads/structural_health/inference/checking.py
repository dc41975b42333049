"""Whether a run can be what it is meant to be. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from workloads.datasets import check_task
from workloads.datasets.sources import resolve_data
from workloads.errors import InputError
from workloads.models import FileTokenizer, ModelRef, check_tokenizer, describe
from workloads.monitors import check_layer, check_window
from workloads.structural_health.inference_config import InferenceConfig

# Names that configurations of different families give to the most tokens a model reads.
_LIMITS: Final = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")


def context_limit(config: Mapping[str, Any]) -> int | None:
    """The most tokens that a model reads at once, from its configuration; None: no limit."""
    text = config.get("text_config", config)
    for name in _LIMITS:
        if isinstance(text.get(name), int):
            return int(text[name])
    return None


def check_config(config: InferenceConfig) -> None:
    """Raises `InputError`, naming what does not fit and what to do. Of a resolved configuration."""
    model = describe(config.model)
    if not model.architecture.endswith(("ForCausalLM", "LMHeadModel")):
        raise InputError(
            f"model {config.model} is a {model.architecture}; valid: a causal language model "
            "(…ForCausalLM), which can go on with a text"
        )
    check_tokenizer(model.ref)
    check_task("continuation", config.data)
    check_layer(config.monitor_layer, model.modules)
    assert config.steps is not None
    assert config.chunk_tokens is not None
    check_window(config, config.steps, "chunks")
    limit, longest = context_limit(model.config), config.prompt_tokens + config.chunk_tokens
    if limit is not None and longest > limit:
        raise InputError(
            f"prompt_tokens and chunk_tokens make {longest} tokens, and {config.model} reads "
            f"{limit}; lower them"
        )
    _check_texts(config, model.ref)


def _check_texts(config: InferenceConfig, ref: ModelRef) -> None:
    """Whether two texts are long enough, where this can be known without loading anything large."""
    if ref.path is None or resolve_data(config.data).kind == "hub":
        return
    tokenizer = ref.path / "tokenizer.json"
    if tokenizer.is_file():
        _check_prompts(tokenizer, config.data, config.prompt_tokens)


@cache  # all trials of a study ask the same, and texts of one's own take a second to cut
def _check_prompts(tokenizer: Path, data: str, prompt_tokens: int) -> None:
    from workloads.structural_health.inference.prompts import EACH, load_prompts

    few = InferenceConfig(data=data, prompt_tokens=prompt_tokens, prompts=EACH)
    load_prompts(few, 0, FileTokenizer(tokenizer.read_text(encoding="utf-8")))
