"""Loads a trial's model, tokenizer and questions; small ones are kept for the process's next.

What is kept is a function of the inputs alone and never changes: a trial gets a copy of the model.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from workloads.datasets import fingerprint, load_task
from workloads.latent_lora.config import LatentLoraConfig
from workloads.latent_lora.prompts import Split, tokenise
from workloads.models import ModelRef, load_model, load_tokenizer, resolve_model

KEPT = 8
"""How many inputs (models, tokenizers, question sets) a process keeps."""
KEPT_PARAMETERS = 20_000_000
"""Models up to this size are kept, on the CPU; larger ones are loaded for each trial."""

_DTYPES = {"fp32": "float32", "bf16": "bfloat16"}

_T = TypeVar("_T")
_kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()


@dataclass(frozen=True)
class Inputs:
    """What a trial reads. Train, dev and test share no paragraph.

    `model` is the trial's own, on its device, in evaluation mode.
    """

    model: Any
    tokenizer: Any
    train: Split
    dev: Split
    test: Split
    max_new_tokens: int


def load_inputs(config: LatentLoraConfig, device: Any) -> Inputs:
    """Model and questions of a trial. Raises `InputError` for what cannot be used."""
    ref = resolve_model(config.model)
    tokenizer = _once(("tokenizer", ref.fingerprint), lambda: load_tokenizer(ref))
    asked = (
        fingerprint(config.data),
        config.task,
        config.samples,
        config.dev_questions,
        config.questions,
        config.max_prompt_tokens,
    )
    (train, dev, test), new_tokens = _once(
        ("questions", ref.fingerprint, *asked), lambda: _questions(config, tokenizer)
    )
    return Inputs(
        model=_model(ref, _DTYPES[config.precision], device),
        tokenizer=tokenizer,
        train=train,
        dev=dev,
        test=test,
        max_new_tokens=config.max_new_tokens or new_tokens,
    )


def _model(ref: ModelRef, dtype: str, device: Any) -> Any:
    key = ("model", ref.fingerprint, dtype)
    if key not in _kept:
        model = load_model(ref, dtype=dtype)
        if model.num_parameters() > KEPT_PARAMETERS:
            return model.to(device)
        _keep(key, model)
    return copy.deepcopy(_kept[key]).to(device)


def _questions(config: LatentLoraConfig, tokenizer: Any) -> tuple[list[Split], int]:
    data = load_task(
        config.task,
        config.data,
        samples=config.samples,
        dev_questions=config.dev_questions,
        test_questions=config.questions,
        tokenizer=tokenizer,
    )
    splits = (("train", data.train), ("dev", data.dev), ("test", data.test))
    return (
        [tokenise(name, each, tokenizer, config.max_prompt_tokens) for name, each in splits],
        data.max_new_tokens,
    )


def _once(key: tuple[Any, ...], make: Callable[[], _T]) -> _T:
    if key not in _kept:
        _keep(key, make())
    found: _T = _kept[key]
    return found


def _keep(key: tuple[Any, ...], value: Any) -> None:
    _kept[key] = value
    while len(_kept) > KEPT:
        _kept.popitem(last=False)
