"""LoRA on the language model through PEFT, verified after wrapping."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from workloads.errors import InputError, did_you_mean
from workloads.latent_lora.config import LoraSettings
from workloads.training import seeded

_LAYER = re.compile(r"\.(\d+)\.")


def adapted_layers(settings: LoraSettings, depth: int) -> list[int]:
    """Indices of the layers to adapt, of a model of `depth` layers; needs a resolved count."""
    count = settings.layers
    if not isinstance(count, int):
        raise ValueError(f"unresolved lora.layers: {count!r}")
    return list(range(count)) if settings.which == "first" else list(range(depth - count, depth))


def check_targets(settings: LoraSettings, modules: Iterable[str]) -> None:
    """Refuses a target of which the model has no module in its layers (`InputError`).

    `modules` are full names (`model.layers.0.self_attn.q_proj`). PEFT itself ignores a name that
    matches nothing as long as another one matches.
    """
    found = {name.rsplit(".", 1)[-1] for name in modules if _LAYER.search(name)}
    adaptable = {name for name in found if "norm" not in name}
    for target in settings.targets:
        if target not in adaptable:
            raise InputError(
                f"lora.targets: no layer of this model has a module '{target}'; "
                f"{did_you_mean(target, adaptable)}."
            )


def attach_lora(model: Any, settings: LoraSettings, seed: int) -> Any:
    """Wraps `model` in place with LoRA drawn from the stream `lora/init`; gives the `PeftModel`.

    Everything but the LoRA matrices is frozen. Raises `InputError`, with what was found, unless
    exactly the asked modules of exactly the asked layers were adapted: PEFT silently skips layers
    out of range and names that match nothing.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    layers = adapted_layers(settings, int(model.config.num_hidden_layers))
    with seeded(seed, "lora/init"):
        wrapped = get_peft_model(
            model,
            LoraConfig(
                task_type=TaskType.CAUSAL_LM,
                r=settings.rank,
                lora_alpha=settings.alpha,
                lora_dropout=settings.dropout,
                use_rslora=settings.rslora,
                target_modules=list(settings.targets),
                layers_to_transform=layers,
            ),
        )
    asked = {(layer, target) for layer in layers for target in settings.targets}
    found = found_adapters(wrapped)
    if found != asked:
        raise InputError(
            f"LoRA was asked for on layers {layers} × {list(settings.targets)} "
            f"({len(asked)} modules) but PEFT adapted {sorted(found)}."
        )
    return wrapped


def found_adapters(model: Any) -> set[tuple[int, str]]:
    """(layer index, module name) of every module of `model` that carries LoRA."""
    found = set()
    for name, _ in _lora_modules(model):
        layer = _LAYER.search(name)
        found.add((int(layer[1]) if layer else -1, name.rsplit(".", 1)[-1]))
    return found


def lora_dropouts(model: Any) -> list[Any]:
    """LoRA's dropout modules: what alone is switched to training, the frozen model never is."""
    return [module.lora_dropout for _, module in _lora_modules(model)]


def _lora_modules(model: Any) -> list[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return [(name, m) for name, m in model.named_modules() if isinstance(m, LoraLayer)]
