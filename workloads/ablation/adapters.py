"""LoRA in every layer, trained so that its adapters have something to be switched off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from workloads.ablation.config import LoraTraining
from workloads.ablation.scoring import token_scores
from workloads.ablation.texts import Texts
from workloads.contract import TrialContext
from workloads.errors import DivergedError, InputError
from workloads.training import checkpointing, generator, seeded

if TYPE_CHECKING:
    from accelerate import Accelerator

    from workloads.training.monitoring import Monitoring

WEIGHTS = "model.safetensors"
_OWNER = "weights."


class Adapters(nn.Module):
    """The adapters' weights by their names in the model: what is trained and saved."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        named = {name: p for name, p in model.named_parameters() if "lora_" in name}
        self.weights = nn.ParameterDict({n.replace(".", "/"): p for n, p in named.items()})


def with_adapters(model: Any, lora: LoraTraining, seed: int) -> None:
    """Puts LoRA into all layers of `model`, drawn from the stream `lora/init`; it starts at zero.

    Raises `InputError` for targets that the layers do not have.
    """
    from peft import LoraConfig, TaskType, inject_adapter_in_model

    settings = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=list(lora.targets),
    )
    model.requires_grad_(False)
    try:
        with seeded(seed, "lora/init"):
            inject_adapter_in_model(settings, model)
    except ValueError as error:
        raise InputError(
            f"lora.targets {', '.join(lora.targets)}: {str(error).splitlines()[0]}"
        ) from error


def saved_adapters(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The weights that a checkpoint holds, by their names in the model."""
    from safetensors.torch import load_file

    return {
        name.removeprefix(_OWNER).replace("/", "."): tensor
        for name, tensor in load_file(checkpoint / WEIGHTS).items()
    }


def train_adapters(
    model: Any,
    lora: LoraTraining,
    texts: Texts,
    context: TrialContext,
    accelerator: Accelerator,
    monitoring: Monitoring,
) -> float | None:
    """Trains from the newest checkpoint, or the start, to the last step, and saves a checkpoint.

    Ranks take every so many texts of each batch. Gives the last loss (nats a scored token); None
    where the checkpoint was the last step's. Raises `DivergedError` for a loss that is not finite.
    """
    adapters = Adapters(model)
    adapters.weights.requires_grad_(True)
    weights = list(adapters.weights.values())
    prepared, optimizer = accelerator.prepare(
        adapters, torch.optim.AdamW(weights, lr=lora.learning_rate, weight_decay=0.0)
    )
    saved = checkpointing.restore(accelerator, context.checkpoints, monitoring)
    done, loss = saved["step"] if saved else 0, saved["loss"] if saved else None
    order = torch.randperm(len(texts.ids), generator=generator(context.seed, "order")).tolist()
    for step in range(done + 1, lora.steps + 1):
        start = (step - 1) * lora.batch_size
        batch = [order[at % len(order)] for at in range(start, start + lora.batch_size)]
        loss = _step(model, weights, optimizer, texts, batch, accelerator)
        if not torch.isfinite(torch.tensor(loss)):
            raise DivergedError(f"the loss of step {step} is {loss}; lower lora.learning_rate")
        context.emitter.metrics({"train/loss": loss}, step=step)
        monitoring.step(step, emit=True)
        asked = checkpointing.wanted(accelerator, context.checkpoints, step)
        if asked or step % lora.checkpoint_steps == 0 or step == lora.steps:
            checkpointing.save(accelerator, context.checkpoints, step, {"loss": loss}, monitoring)
            context.report(step, {"train/loss": loss})
    adapters.weights.requires_grad_(False)
    del prepared
    return loss


def _step(
    model: Any,
    weights: list[nn.Parameter],
    optimizer: Any,
    texts: Texts,
    batch: list[int],
    accelerator: Accelerator,
) -> float:
    """One optimizer step; the loss of the whole batch. Gradients of ranks are added up."""
    scored = int(texts.scored[batch].sum())
    own = batch[accelerator.process_index :: accelerator.num_processes]
    optimizer.zero_grad()
    loss = torch.zeros((), device=accelerator.device)
    if own:
        ids = torch.from_numpy(texts.ids[own]).to(accelerator.device)
        marks = torch.from_numpy(texts.scored[own]).to(accelerator.device)
        _, nll = token_scores(model(input_ids=ids, use_cache=False).logits, ids, marks)
        loss = nll.sum() / scored
        accelerator.backward(loss)
    if accelerator.num_processes > 1:
        for weight in weights:
            given = weight.grad if weight.grad is not None else torch.zeros_like(weight)
            weight.grad = accelerator.reduce(given, "sum")
        loss = accelerator.reduce(loss.detach(), "sum")
    optimizer.step()
    return float(loss.detach())
