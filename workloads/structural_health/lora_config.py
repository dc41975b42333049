"""The configuration of a LoRA fine-tuning that is watched. Importable without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from workloads.contract import Input, Monitor, Observed, WorkloadConfig
from workloads.structural_health.lora.sentences import SENTENCES

MEASURED: tuple[Monitor, ...] = ("svd_ratio", "implied_cosine", "effective_rank", "rank")
"""What every trial measures at each step: its scores are made of it."""

LORA_SETTINGS = ("rank", "alpha", "dropout", "targets", "learning_rate")
"""What a frozen model does not read."""


class LoraHealthConfig(WorkloadConfig):
    """A short LoRA fine-tuning on 50 sentences: the defaults are the origin's, on a small model."""

    model: Annotated[str, Input("model")] = "embedded:qwen2"

    train: bool = True
    """Off: the frozen model reads the same batches, and LoRA is not there."""
    rank: int = Field(8, ge=1)
    alpha: float = Field(32, gt=0)
    """LoRA's updates are scaled by alpha / rank."""
    dropout: float = Field(0.05, ge=0, lt=1)
    targets: tuple[str, ...] = Field(("q_proj", "v_proj"), min_length=1)
    """Last names of the modules that carry LoRA, in every layer."""
    learning_rate: float = Field(5e-5, gt=0)

    batch_size: int = Field(4, ge=1)
    epochs: int = Field(1, ge=1)
    max_steps: int = Field(30, ge=1)
    """Ends training before the last epoch does. One epoch is 13 steps of 4 sentences."""
    max_length: int = Field(32, ge=2)
    """Tokens of a sentence; what is beyond is cut off."""

    window: int = Field(5, ge=2)
    """How many steps' hidden vectors the ratio is of."""
    threshold: float = Field(0.8, gt=0, lt=1)
    """A ratio above this is what the origin calls a collapse."""
    layer: str | None = None
    """The module that is watched; None: the last block, found by the kind of model."""
    watch: Literal["batch", "sentence"] = "batch"
    """Whose hidden vector is taken at each step: that of the first sentence of the step's batch, so
    that the window holds different sentences; or always of one sentence, after the step."""
    pads: Literal["masked", "read"] = "masked"
    """`read`: padding is read, watched and learned as if it were text, as in the origin."""

    monitors: Annotated[tuple[Monitor, ...], Observed(while_training=True)] = MEASURED
    """What is asked for beyond `MEASURED` is watched too, through the same `window`."""
    checkpoint_steps: Annotated[int, Observed()] = Field(0, ge=0)
    """A checkpoint every so many steps; 0: only where one is wanted."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one pass over the sentences.

        >>> LoraHealthConfig().steps_per_epoch
        13
        """
        return -(-len(SENTENCES) // self.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of a trial.

        >>> LoraHealthConfig().steps, LoraHealthConfig(epochs=3).steps
        (13, 30)
        """
        return min(self.max_steps, self.epochs * self.steps_per_epoch)
