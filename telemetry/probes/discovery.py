"""Where in a model the blocks are, whatever it is wrapped in; and modules by their name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

# `config.model_type` -> the model without its head, in the model with it; and its list of blocks.
_FAMILIES = {
    "llama": ("model", "layers"),
    "qwen2": ("model", "layers"),
    "mistral": ("model", "layers"),
    "gpt2": ("transformer", "h"),
    "gpt_neox": ("gpt_neox", "layers"),
    "mamba": ("backbone", "layers"),
    "mamba2": ("backbone", "layers"),
    "rwkv": ("rwkv", "blocks"),
}
_LISTS = tuple(dict.fromkeys(f"{base}.{blocks}" for base, blocks in _FAMILIES.values()))
_NAMES_SHOWN = 5
_PARALLEL = ("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel")
# Containers that models index, or iterate over, and never call: a hook on one would never fire.
_NEVER_CALLED = ("ModuleList", "ModuleDict", "ParameterList", "ParameterDict")

# What wrapping puts into the names of modules inside a model.
_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


class LayerNotFoundError(ValueError):
    """A model has no blocks that are known, or no module of that name; says what it does have."""


@dataclass(frozen=True)
class Blocks:
    """The blocks of a model, in order, and the name of their list in the model that was given."""

    path: str
    modules: tuple[nn.Module, ...]

    @property
    def last(self) -> nn.Module:
        """The block whose output the head reads."""
        return self.modules[-1]


def find_blocks(model: nn.Module) -> Blocks:
    """The blocks of a model: by its `config.model_type`, else by the lists that families use.

    Knows Llama, Qwen2, Mistral, GPT-2, GPT-NeoX, Mamba, Mamba2 and RWKV, with a head or without,
    models that name their blocks as one of these does, and models with one
    `nn.TransformerEncoder`. Sees through PEFT, DistributedDataParallel and `torch.compile`.
    Raises `LayerNotFoundError` for others, `TypeError` for what is no module.
    """
    _require_module(model, "model")
    inner = unwrapped(model)
    searched: list[str] = []
    for path in _candidates(inner):
        searched.append(path)
        blocks = _module_at(inner, path)
        if blocks is not None and _is_list_of_blocks(blocks):
            return Blocks(name_of(model, blocks), tuple(blocks))
    searched.append("an nn.TransformerEncoder")
    encoders = _encoders(inner)
    if len(encoders) == 1:
        return Blocks(name_of(model, encoders[0].layers), tuple(encoders[0].layers))
    raise LayerNotFoundError(_not_found(model, inner, searched))


def module_named(model: nn.Module, name: str) -> nn.Module:
    """The module of a name as `named_modules` gives it, in the model or in what it wraps.

    Raises `LayerNotFoundError` for a name that is none, with the nearest that are, and for a
    container that is never called.
    """
    _require_module(model, "model")
    for one in (model, unwrapped(model)):
        found = _module_at(one, name) if name else None
        if found is not None:
            return hookable(found, name)
    names = [known for known, _ in model.named_modules() if known]
    inner = [known for known, _ in unwrapped(model).named_modules() if known]
    near = difflib.get_close_matches(name, dict.fromkeys(inner + names), n=_NAMES_SHOWN, cutoff=0.5)
    shown = near or inner[:_NAMES_SHOWN]
    raise LayerNotFoundError(
        f"{type(unwrapped(model)).__name__} has no module '{name}'; "
        + ("nearest: " if near else "it has: ")
        + (", ".join(shown) or "no modules at all")
        + ". `[name for name, _ in model.named_modules()]` lists all"
    )


def hookable(target: object, name: str = "") -> nn.Module:
    """The target, if hooks on it would fire.

    Raises `TypeError` if it is no `nn.Module`, `LayerNotFoundError` if it is a list that no model
    calls.
    """
    module = _require_module(target, "layer")
    if type(module).__name__ in _NEVER_CALLED:
        label = name or "layers"
        children = [child for child, _ in module.named_children()]
        member = f"{label}.{children[-1]}" if children else "one of its members"
        raise LayerNotFoundError(
            f"layer '{label}' is a {type(module).__name__}, which is never called itself: name "
            f"one of its members, such as '{member}'"
        )
    return module


def name_of(model: nn.Module, module: nn.Module) -> str:
    """The name of a module within a model; '' for the model itself.

    Raises `LayerNotFoundError` if it is not in it.
    """
    for name, one in model.named_modules(remove_duplicate=False):
        if one is module:
            return str(name)
    raise LayerNotFoundError(
        f"layer, a {type(module).__name__}, is not part of the {type(model).__name__}: give a "
        "module of this model, or its name"
    )


def plain_name(model: nn.Module, module: nn.Module) -> str:
    """As `name_of`, but the same whether the model is wrapped or not."""
    inner = unwrapped(model)
    within = any(one is module for one in inner.modules())
    parts = name_of(inner if within else model, module).split(".")
    return ".".join(part for part in parts if part not in _WRAPPERS)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model within `torch.compile`, DistributedDataParallel, FSDP and PEFT, in any order."""
    while (inner := _inner(model)) is not None:
        model = inner
    return model


def around(model: nn.Module, layer: nn.Module) -> list[nn.Module]:
    """The model and the modules on the way down to a layer of it, from the outside in."""
    parts = name_of(model, layer).split(".")
    names = [".".join(parts[:depth]) for depth in range(len(parts))]
    modules = (model.get_submodule(name) for name in names)
    return [one for one in modules if type(one).__name__ not in _NEVER_CALLED]


def sequence_first(layer: nn.Module) -> bool:
    """Whether a layer's tensors are [seq, batch, dim], as those of PyTorch's layers may be."""
    attention = getattr(layer, "self_attn", None)
    return type(layer).__module__.startswith("torch.nn.") and (
        getattr(attention, "batch_first", True) is False
    )


def _inner(model: nn.Module) -> nn.Module | None:
    inner: Any = None
    if hasattr(model, "_orig_mod"):
        inner = model._orig_mod
    elif type(model).__name__ in _PARALLEL:
        inner = model.module
    elif type(model).__module__.startswith("peft."):
        # A PeftModel holds a tuner (LoraModel and its like), which holds the model; with prompt
        # learning it holds the model itself. A tuner passes other attributes on to its model.
        tuner = any(one.__name__ == "BaseTuner" for one in type(model).__mro__)
        inner = getattr(model, "model" if tuner else "base_model", None)
    return inner if isinstance(inner, torch.nn.Module) and inner is not model else None


def _candidates(model: nn.Module) -> Iterator[str]:
    """Names to look under: of the model's own family alone, where it is a known one."""
    family = _FAMILIES.get(str(getattr(getattr(model, "config", None), "model_type", "")))
    if family is not None:
        yield ".".join(family)
        yield family[1]
        return
    yield from _LISTS
    yield from dict.fromkeys(blocks for _, blocks in _FAMILIES.values())


def _is_list_of_blocks(module: nn.Module) -> bool:
    """Whether it is a list whose members could each be a block: never one of rotary embeddings."""
    if not isinstance(module, torch.nn.ModuleList) or not len(module):
        return False
    return not any("rotary" in type(one).__name__.lower() for one in module)


def _encoders(model: nn.Module) -> list[Any]:
    return [one for one in model.modules() if isinstance(one, torch.nn.TransformerEncoder)]


def _module_at(model: nn.Module, path: str) -> Any:
    """The module of that name, None if there is none."""
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def _require_module(target: object, role: str) -> nn.Module:
    if isinstance(target, torch.nn.Module):
        return target
    hint = " or the name of one" if role == "layer" else ""
    raise TypeError(f"{role} must be a torch.nn.Module{hint}, got {type(target).__name__}")


def _not_found(model: nn.Module, inner: nn.Module, searched: list[str]) -> str:
    kind = getattr(getattr(inner, "config", None), "model_type", None)
    lists = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module)
    ]
    has = ", ".join(f"{name} ({len(one)} × {type(one[-1]).__name__})" for name, one in lists)
    if lists:
        example = f"{lists[-1][0]}.{len(lists[-1][1]) - 1}"
    else:
        example = next((name for name, _ in model.named_children()), "decoder.blocks.3")
    return (
        f"no blocks found in {type(inner).__name__}"
        + (f" (model_type {kind})" if kind else "")
        + f"; looked for {', '.join(searched)}. "
        + (f"Its module lists: {has}. " if lists else "It has no module lists. ")
        + f'Name the layer yourself: layer="{example}"'
    )
