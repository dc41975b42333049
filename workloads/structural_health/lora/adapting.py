"""The language model with LoRA through PEFT, verified after wrapping."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError
from workloads.models import load_model
from workloads.structural_health.lora_config import LoraHealthConfig
from workloads.training import seeded

if TYPE_CHECKING:
    import torch

Trained = dict[str, "torch.nn.Parameter"]
"""Name of a LoRA matrix -> the matrix."""


def load_adapted(config: LoraHealthConfig, seed: int, device: torch.device) -> tuple[Any, Trained]:
    """The frozen model on its device with LoRA drawn from the stream `lora/init`, and what is
    trained of it; without training the model as it is, and nothing.

    Raises `InputError` when PEFT adapted other modules than were asked for: it passes over names
    that match nothing as long as another one matches.
    """
    model = load_model(config.model, device=device).requires_grad_(False)
    if not config.train:
        return model, {}
    from peft import LoraConfig, TaskType, get_peft_model
    from peft.tuners.lora import LoraLayer

    settings = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.targets),
        bias="none",
    )
    try:
        with seeded(seed, "lora/init"), warnings.catch_warnings():
            # PEFT asks transformers by a name that is to go: nothing that a reader can change.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            wrapped = get_peft_model(model, settings)
    except ValueError as error:
        raise InputError(
            f"targets {sorted(config.targets)} cannot all carry LoRA ({error}); give the last "
            "names of linear modules, such as q_proj"
        ) from error
    adapted = [name for name, module in wrapped.named_modules() if isinstance(module, LoraLayer)]
    found = {name.rpartition(".")[2] for name in adapted}
    if found != set(config.targets):
        raise InputError(
            f"LoRA was asked for on {sorted(config.targets)}, but PEFT adapted {sorted(found)}; "
            "give the last names of linear modules."
        )
    trained = {name: p for name, p in wrapped.named_parameters() if p.requires_grad}
    return wrapped, trained
