"""What a configuration means for its model, and whether it gives a meaningful trial. Torch-free."""

from __future__ import annotations

from typing import Any, Final

from workloads.datasets import check_task
from workloads.datasets.sources import resolve_data
from workloads.errors import InputError
from workloads.models import FileTokenizer, ModelDescription, check_tokenizer, describe
from workloads.models.byte_tokens import ByteTokenizer, reads_bytes
from workloads.monitors import check_layer, check_window
from workloads.phase_coupling.config import PhaseBlockSettings, PhaseCouplingConfig
from workloads.phase_coupling.coupling.layers import check_family, resolve_layer

_MOST_WORDS: Final = 8192
_OF_OSCILLATORS: Final = (
    "core", "site", "layer", "gain", "strength", "initial", "state", "target_r", "hold", "set_by",
)  # fmt: skip
_OF_KURAMOTO: Final = ("gain", "strength", "initial", "state")
_OF_SAMPLING: Final = ("samples", "prompt_tokens", "sample_tokens", "temperature")


def resolved(config: PhaseCouplingConfig) -> PhaseCouplingConfig:
    """The block that is meant by a share of the depth; what is not read returns to its default."""
    unread: set[str] = set()
    update: dict[str, Any] = {}
    if config.mode == "off":
        unread |= {*_OF_OSCILLATORS}
        if config.training.trains == "core":
            unread.add("training")
        if config.driven_by == "constant":
            unread.add("driven_by")
    else:
        if config.site == "logits":
            unread.add("layer")
        else:
            update["layer"] = resolve_layer(config.layer, describe(config.model).layers)
        if isinstance(config.core, PhaseBlockSettings):
            unread |= {*_OF_KURAMOTO}
        if config.target_r is None:
            unread |= {"hold", "set_by"}
    if "training" in unread or not config.training.steps:
        unread |= {"training", "telemetry"}
    if not config.sample_prompts:
        unread |= {*_OF_SAMPLING}
    fields = PhaseCouplingConfig.model_fields
    update |= {name: fields[name].default for name in unread}
    return config.model_copy(update=update)


def check_config(config: PhaseCouplingConfig) -> None:
    """Raises `InputError`, naming what does not fit and what to do."""
    model = describe(config.model)
    check_family(model.model_type, config.model)
    if not reads_bytes(model.ref):
        check_tokenizer(model.ref)
    check_task("continuation", config.data)
    check_layer(config.monitor_layer, model.modules)
    _check_settings(config)
    _check_size(config, model)
    _check_lengths(config, model)
    _check_texts(config, model)


def _check_settings(config: PhaseCouplingConfig) -> None:
    training = config.training
    anew = isinstance(config.core, PhaseBlockSettings)
    if anew and config.target_r is not None and not (config.hold and config.set_by == "solver"):
        raise InputError(
            f"target_r={config.target_r:g} with hold=false or set_by=linspace: phase_block makes "
            "its phases anew from every token; valid: hold=true and set_by=solver"
        )
    if training.steps and training.trains == "core" and config.mode == "observe":
        raise InputError(
            f"training.steps={training.steps} with mode=observe trains nothing: the oscillators "
            "touch no loss; valid: steps=0, trains=all, or mode=modulate_train_only"
        )
    if config.monitors and training.steps:
        check_window(config, training.steps, "steps of training")
    drift = training.drift
    if drift is not None and drift.low >= drift.high:
        raise InputError(
            f"training.drift: low={drift.low:g} is not below high={drift.high:g}; R is kept "
            "between them"
        )


def _check_size(config: PhaseCouplingConfig, model: ModelDescription) -> None:
    """A core with a square matrix per layer does not fit a large vocabulary."""
    if not isinstance(config.core, PhaseBlockSettings) or config.site != "logits":
        return
    if model.vocab_size > _MOST_WORDS:
        raise InputError(
            f"site=logits with core.kind=phase_block takes weights for every pair of the "
            f"{model.vocab_size} tokens of {config.model}; valid: core.kind=kuramoto, another "
            f"site, or a vocabulary of at most {_MOST_WORDS}"
        )


def _check_lengths(config: PhaseCouplingConfig, model: ModelDescription) -> None:
    limit = model.config.get("max_position_embeddings")
    if not isinstance(limit, int):
        return  # Mamba and RWKV read any length
    asked = {"text_tokens": config.text_tokens}
    if config.training.steps:
        asked["training.tokens"] = config.training.tokens
    if config.sample_prompts:
        asked["prompt_tokens + sample_tokens"] = config.prompt_tokens + config.sample_tokens
    for name, length in asked.items():
        if length > limit:
            raise InputError(f"{name} is {length}, and {config.model} reads {limit}; lower it")


def _check_texts(config: PhaseCouplingConfig, model: ModelDescription) -> None:
    """Whether there are texts enough, where this can be known without loading anything large."""
    kind = resolve_data(config.data).kind
    if model.ref.path is None or kind == "hub":
        return
    if kind == "embedded":  # generated texts have no end: whether they are long enough is all
        few = min(config.sample_prompts, 2)
        config = config.model_copy(update={"texts": 2, "sample_prompts": few})
    tokenizer = model.ref.path / "tokenizer.json"
    if reads_bytes(model.ref):
        _read_texts(config, ByteTokenizer())
    elif tokenizer.is_file():
        _read_texts(config, FileTokenizer(tokenizer.read_text(encoding="utf-8")))


def _read_texts(config: PhaseCouplingConfig, tokenizer: Any) -> None:
    from workloads.phase_coupling.measuring.texts import load_test_texts
    from workloads.phase_coupling.training.texts import load_training_texts

    load_test_texts(config, tokenizer)
    if config.training.steps:
        one = config.training.model_copy(update={"steps": 1})
        load_training_texts(config.model_copy(update={"training": one}), tokenizer)
