"""A causal language model as a place for weights: built from its configuration, filled later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from workloads.errors import InputError
from workloads.models.recurrences import use_here


def blank_model(config: Mapping[str, Any], dtype: torch.dtype, device: Any) -> Any:
    """In evaluation mode, without gradients; its weights hold nothing yet.

    `config`: what the `config.json` holds.
    """
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    fields = dict(config)
    kind = fields.pop("model_type")
    use_here(kind)
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **fields), dtype=dtype)
    model.tie_weights()
    return model.requires_grad_(False).to(device).eval()


def weights_by_name(
    model: Any, stored: Mapping[str, tuple[int, ...]], tied: Mapping[str, str]
) -> dict[str, Tensor]:
    """Name in the encoding -> the live tensor of the model, to be written to in place.

    `stored`: shapes by name; `tied`: other names of the same tensors, which are made one in the
    model too. Names may lack the prefix of the model's body, and one that the model does not know
    is left out, as `from_pretrained` does. Raises `InputError`, naming the tensor, if the encoding
    lacks one that the model has, or has it in another shape.
    """
    for name, target in tied.items():
        _share(model, name, target)
    live = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers())
    found = {}
    for name, shape in stored.items():
        tensor = live.get(name, live.get(f"{model.base_model_prefix}.{name}"))
        if tensor is None:
            continue
        if tuple(tensor.shape) != tuple(shape):
            raise InputError(
                f"tensor {name} is {list(tensor.shape)} in the model and {list(shape)} in its "
                "encoding; encode this model anew"
            )
        found[name] = tensor.data
    places = {tensor.data_ptr() for tensor in found.values()}
    for name, parameter in model.named_parameters():
        if parameter.numel() and parameter.data_ptr() not in places:
            raise InputError(
                f"the encoding has no tensor {name}, which the model has; encode this model anew"
            )
    return found


def _share(model: nn.Module, name: str, target: str) -> None:
    """Makes the parameter `name` the very parameter `target`, where the model has both."""
    known = dict(model.named_parameters(remove_duplicate=False))
    if name in known and target in known:
        owner, _, last = name.rpartition(".")
        model.get_submodule(owner)._parameters[last] = known[target]
