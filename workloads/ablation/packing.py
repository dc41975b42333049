"""A model on its way to workers: arrays that they share, and the configuration to put them in."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from workloads.ablation.adapters import with_adapters
from workloads.models.recurrences import use_here

if TYPE_CHECKING:
    from workloads.ablation.config import LoraTraining


def packed_model(model: Any) -> dict[str, Any]:
    """Its configuration as plain data, and its parameters and buffers as arrays by name.

    Bfloat16, which numpy has not, goes as uint16.
    """
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    return {
        "config": model.config.to_dict(),
        "arrays": {name: _array(tensor) for name, tensor in tensors.items()},
        "dtypes": {name: str(t.dtype).removeprefix("torch.") for name, t in tensors.items()},
    }


def unpacked_model(packed: Mapping[str, Any], lora: LoraTraining | None, device: Any) -> Any:
    """The model in evaluation mode, with adapters where `lora` says so.

    On the CPU its weights lie where `packed` has them, and must not be written to.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    fields = dict(packed["config"])
    kind = fields.pop("model_type")
    use_here(kind)  # as whoever packed it did
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **fields))
        if lora is not None:
            with_adapters(model, lora, seed=0)
    for name, array in packed["arrays"].items():
        _place(model, name, _tensor(array, packed["dtypes"][name]))
    model.tie_weights()
    left = [name for name, tensor in model.named_parameters() if tensor.is_meta]
    left += [name for name, tensor in model.named_buffers() if tensor.is_meta]
    if left:
        raise RuntimeError(f"the packed model has no {', '.join(left)}")
    return model.requires_grad_(False).to(device).eval()


def _place(model: nn.Module, name: str, tensor: torch.Tensor) -> None:
    place, _, last = name.rpartition(".")
    module = model.get_submodule(place)
    if last in module._parameters:
        module._parameters[last] = nn.Parameter(tensor, requires_grad=False)
    else:
        module._buffers[last] = tensor


def _array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    plain = tensor.detach().cpu().contiguous()
    if plain.dtype == torch.bfloat16:
        plain = plain.view(torch.uint16)
    array: np.ndarray[Any, Any] = plain.numpy()
    return array


def _tensor(array: np.ndarray[Any, Any], dtype: str) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable.*")
        tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if dtype == "bfloat16" else tensor
