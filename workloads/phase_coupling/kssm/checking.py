"""What a configuration must fit, before anything is run. Torch-free."""

from __future__ import annotations

from workloads.datasets import check_task, resolve_data
from workloads.errors import InputError
from workloads.models import FileTokenizer, check_tokenizer, resolve_model
from workloads.models.byte_tokens import ByteTokenizer, reads_bytes
from workloads.phase_coupling.kssm_config import COUNTED, KssmConfig


def check_config(config: KssmConfig) -> None:
    """Raises `InputError`, naming what does not fit and what to do."""
    heads, width = config.heads, config.hidden_size
    if config.variant not in COUNTED and config.mixing == "attention" and width % heads:
        valid = [count for count in range(1, width + 1) if width % count == 0]
        raise InputError(
            f"heads is {heads}, which does not part hidden_size={width} evenly; valid: "
            f"{', '.join(map(str, valid))}"
        )
    if config.warmup_steps >= config.steps:
        raise InputError(
            f"warmup_steps is {config.warmup_steps} of {config.steps} steps; give fewer than steps"
        )
    ref = resolve_model(config.tokenizer)
    if not reads_bytes(ref):
        check_tokenizer(ref)
    check_task("continuation", config.data)
    _check_texts(config)


def _check_texts(config: KssmConfig) -> None:
    """Whether there are texts enough, where this can be known without loading anything large."""
    from workloads.phase_coupling.kssm.texts import load_texts

    kind = resolve_data(config.data).kind
    ref = resolve_model(config.tokenizer)
    if ref.path is None or kind == "hub":
        return
    if kind == "embedded":  # generated texts have no end: whether they are long enough is all
        config = config.model_copy(update={"texts": 2, "train_texts": 1})
    tokenizer = ref.path / "tokenizer.json"
    if reads_bytes(ref):
        load_texts(config, ByteTokenizer())
    elif tokenizer.is_file():
        load_texts(config, FileTokenizer(tokenizer.read_text(encoding="utf-8")))
