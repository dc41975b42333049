"""Models and tokenizers in memory: safetensors only, no remote code."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError, did_you_mean
from workloads.models.reference import ModelRef, listed, resolve_model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_WHOLE = "TokenizersBackend"
"""What transformers calls the class of a tokenizer that is nothing but its tokenizer.json."""
_ADVICE = "valid: a model folder with tokenizer.json and tokenizer_config.json; copy them there"


def load_model(
    ref: ModelRef | str, dtype: str = "float32", device: str | torch.device | None = None
) -> PreTrainedModel:
    """The causal language model, in evaluation mode.

    dtype: `float32`, `bfloat16`, `float16` or `float64`. device: None leaves it on the CPU.
    An RWKV model does not rescale its weights as it reads, which would change them; it predicts
    the same. InputError when the weights are not safetensors, cannot be loaded, or are not those
    of the architecture: missing ones would be drawn at random, without a word.
    """
    import torch
    from transformers import AutoModelForCausalLM

    valid = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16", "float64")}
    if dtype not in valid:
        raise InputError(f"dtype {dtype!r} is not known; {did_you_mean(dtype, valid)}")
    model_ref = resolve_model(ref) if isinstance(ref, str) else ref
    try:
        with _quietly():
            model, found = AutoModelForCausalLM.from_pretrained(
                model_ref.source,
                dtype=valid[dtype],
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # refused below, by name
                output_loading_info=True,
                **_where(model_ref),
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"model {model_ref.given} cannot be loaded ({_first_line(error)}); valid: a causal "
            "language model that transformers knows, with config.json and *.safetensors"
        ) from error
    _refuse_other_weights(
        model_ref,
        type(model).__name__,
        found["missing_keys"],
        found["unexpected_keys"],
        {name for name, *_ in found["mismatched_keys"]},
    )
    _prepare_recurrence(model)
    if device is not None:
        model = model.to(device)
    loaded: PreTrainedModel = model.eval()
    return loaded


def _refuse_other_weights(
    ref: ModelRef,
    architecture: str,
    missing: Collection[str],
    unexpected: Collection[str],
    misshapen: Collection[str],
) -> None:
    parts = [
        f"{verb} {len(names)} tensor{'' if len(names) == 1 else 's'}{how} ({listed(sorted(names))})"
        for verb, how, names in (
            ("lacks", "", missing),
            ("has", " too many", unexpected),
            ("has", " in other shapes", misshapen),
        )
        if names
    ]
    if parts:
        raise InputError(
            f"model {ref.given}, by its config.json a {architecture}, {' and '.join(parts)}; "
            "valid: the weights of that architecture; copy the right config.json, or convert the "
            "weights again"
        )


def _prepare_recurrence(model: Any) -> None:
    """Has Mamba and RWKV read by our recurrences, and an RWKV model leave its weights alone."""
    from workloads.models.recurrences import use_here

    use_here(model.config.model_type)
    if getattr(model.config, "rescale_every", 0):
        model.config.rescale_every = 0


def load_tokenizer(ref: ModelRef | str) -> PreTrainedTokenizerBase:
    """The model's tokenizer, with a pad token (the end token where it has none of its own).

    InputError when the model comes without a tokenizer.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    model_ref = resolve_model(ref) if isinstance(ref, str) else ref
    check_tokenizer(model_ref)
    loader = PreTrainedTokenizerFast if _is_all_in_its_file(model_ref) else AutoTokenizer
    try:
        tokenizer: PreTrainedTokenizerBase = loader.from_pretrained(
            model_ref.source, **_where(model_ref)
        )
    except Exception as error:
        raise InputError(
            f"the tokenizer of {model_ref.given} cannot be loaded ({_first_line(error)}); {_ADVICE}"
        ) from error
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise InputError(
                f"the tokenizer of {model_ref.given} has neither pad nor end token; name one of "
                "them in its tokenizer_config.json"
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_tokenizer(ref: ModelRef) -> None:
    """Refuses (`InputError`) a model folder without a tokenizer. Loads nothing."""
    if ref.path is not None and not has_tokenizer(ref):
        raise InputError(f"{ref.path} has no tokenizer; {_ADVICE}")


def _is_all_in_its_file(ref: ModelRef) -> bool:
    """Whether a folder says that its tokenizer.json is the whole tokenizer.

    For some kinds of model (Qwen2) transformers takes the kind's own class whatever is said there,
    and would read another tokenizer's file as its own.
    """
    if ref.path is None or not (config := ref.path / "tokenizer_config.json").is_file():
        return False
    try:
        return bool(json.loads(config.read_text("utf-8")).get("tokenizer_class") == _WHOLE)
    except (ValueError, AttributeError):
        return False  # what is wrong with it, transformers will say


@contextmanager
def _quietly() -> Iterator[None]:
    """No progress bar, and no report of tensors that do not fit: these are refused in our words."""
    from transformers.utils import logging

    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


def _where(ref: ModelRef) -> dict[str, Any]:
    if ref.path is not None:
        return {"local_files_only": True}
    return {"revision": ref.revision}


def has_tokenizer(ref: ModelRef) -> bool:
    """Whether a model's folder has a tokenizer's file."""
    assert ref.path is not None
    names = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
    return any((ref.path / name).is_file() for name in names)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
