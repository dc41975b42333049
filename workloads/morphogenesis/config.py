"""The configuration of one morphogenesis trial. Importable without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from workloads.contract import Input, Observed, WorkloadConfig

Blend = Literal["linear", "sigmoid", "gated"]
PolicyName = Literal["none", "schedule", "heuristic", "random", "learned", "static"]
CounterfactualMode = Literal["off", "ablation", "auto", "full"]


class SlotSettings(BaseModel):
    """A slot of the host in which a seed may grow. A slot that is not named stays empty."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    blueprint: str | None = None
    """What grows there; None: the policy chooses."""
    blend: Blend | None = None
    """How it is blended in; None: the policy chooses (a schedule: sigmoid)."""
    germinate_at: int = Field(0, ge=0)
    """The epoch, from 0, at whose beginning the policy `schedule` plants the seed."""


class LearnedSettings(BaseModel):
    """How the policy `learned` is trained before the trial's own episode: MaskablePPO."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    episodes: int = Field(48, ge=1)
    """Training episodes; each is a whole run of the host on its own random streams."""
    episodes_per_update: int = Field(8, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    gamma: float = Field(0.995, gt=0, le=1)
    entropy_weight: float = Field(0.02, ge=0)
    hidden: int = Field(32, ge=1)


class MorphogenesisConfig(WorkloadConfig):
    """A host that grows seeds in its slots under a policy; the defaults are the origin's."""

    threads: int = Field(1, ge=1)
    data: Annotated[str, Input("data")] = "sklearn:digits"
    """`sklearn:digits` (8 x 8 images, ships with scikit-learn), a folder of CIFAR-10 Parquet files,
    or, for the GPT host, text as for the other workloads."""
    host: Literal["cnn", "gpt"] = "cnn"
    slots: dict[str, SlotSettings | None] = Field({})
    """By slot: early, mid, late (of a host with more slots: slot0, slot1, ...). None: as if absent.
    """
    policy: PolicyName = "heuristic"
    """`none` grows nothing; `static` has all named slots grown and fully on from the start."""
    gates: Literal["enforce", "observe"] = "enforce"
    """`observe`: gates are judged and recorded, but hold nothing up (for a schedule)."""
    params_ratio: float | None = Field(None, gt=0)
    """A larger host and no seeds (policy `none`): so many times the parameters of the host with the
    seeds that `slots` names, which then are only counted."""

    samples: int | None = Field(None, ge=10)
    """Training examples; None: all."""
    eval_samples: int | None = Field(None, ge=10)
    """Examples of the validation and the test split, each; None: all. Validation steers growth, so
    it is in the identity."""
    epochs: int = Field(25, ge=1, le=100_000)
    batch_size: int = Field(64, ge=1, le=65_536)
    """Examples per optimizer step, over all ranks."""
    eval_batch_size: int = Field(256, ge=1, le=65_536)
    learning_rate: float = Field(2e-3, gt=0)
    seed_learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    precision: Literal["fp32", "bf16"] = "fp32"

    blocks: int = Field(3, ge=1, le=16)
    """Blocks of the CNN host, each followed by a slot; 3 are named early, mid, late."""
    channels: int = Field(8, ge=1, le=1024)
    """Of the first block; each of the first three blocks doubles them."""
    layers: int = Field(6, ge=1, le=128)
    width: int = Field(384, ge=8, le=16_384)
    heads: int = Field(6, ge=1, le=256)
    context: int = Field(128, ge=8, le=65_536)
    """Of the GPT host: layers, model width, attention heads, tokens."""

    training_share: float = Field(0.2, gt=0, le=1)
    """A seed trains apart for max(1, int(epochs x share)) epochs at least, before it is blended."""
    blend_epochs: int = Field(5, ge=1)
    blend_temperature: float = Field(1.0, gt=0)
    rollback: bool = True
    """Whether the governor puts the last good state back when training breaks."""
    learned: LearnedSettings | None = None
    """Of the policy `learned`; filled in by default, left out for the others."""

    checkpoint_steps: Annotated[int, Observed()] = Field(500, ge=0)
    """A checkpoint within an epoch every so many optimizer steps, beside the one after each epoch;
    0: only where the trial is about to be stopped."""
    counterfactual: Annotated[CounterfactualMode, Observed(while_training=True)] = "auto"
    """Which coalitions of the live seeds are measured each epoch: `ablation` all-on, each-off and
    all-off; `auto` every one for at most 6 seeds, else as `ablation`; `full` every one up to 12.
    What steers growth (each-off) is measured in any case where something is blended in."""
    matrix_examples: Annotated[int | None, Observed(while_training=True)] = Field(None, ge=1)
    """Validation examples that these coalitions are measured on, the first ones; None: all. What
    steers growth is measured on all of them whatever this says."""
    matrix_slots: Annotated[tuple[str, ...] | None, Observed(while_training=True)] = None
    """Slots that these coalitions switch, the others staying as they are; None: all."""
