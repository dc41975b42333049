"""The configuration of one run of the toy model. Importable without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from workloads.contract import Monitor, Observed, WorkloadConfig

Fault = Literal[
    "healthy", "numeric_explosion", "representation_collapse", "true_collapse", "slow_collapse"
]

MEASURED: tuple[Monitor, ...] = (
    "svd_ratio",
    "effective_rank",
    "implied_cosine",
    "rank",
    "activation_energy",
)
"""What every run measures at every step, beside the loss: columns of its scores."""


class StructuralHealthConfig(WorkloadConfig):
    """A small transformer that gives back the tokens it reads; the defaults are the source's size.

    Everything of the model and its data is a field, so that a study can use a smaller one.
    """

    fault: Fault = "healthy"
    """What goes wrong. `numeric_explosion`: the learning rate jumps. `representation_collapse`: all
    features but one fade, in the measured copy only; the model itself stays as it is, so this is a
    synthetic signal. `true_collapse`: the same, in the model. `slow_collapse`: a penalty pulls the
    hidden states together while the model goes on learning."""
    onset: int = Field(0, ge=0)
    """The step at which the fault sets in."""
    ramp: int = Field(20, ge=1)
    """Steps until it has its full strength. An explosion has it at once."""
    exploding_learning_rate: float = Field(1.0, gt=0)
    pull: float = Field(1.0, gt=0)
    """Weight of the penalty of `slow_collapse`, beside the task's loss."""

    vocabulary: int = Field(1000, ge=2)
    width: int = Field(512, ge=2)
    heads: int = Field(8, ge=1)
    layers: int = Field(4, ge=1)
    feedforward: int = Field(2048, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    sequences: int = Field(1000, ge=1)
    length: int = Field(32, ge=1)
    """Tokens of a sequence."""
    batch_size: int = Field(8, ge=1)
    steps: int = Field(61, ge=1)
    """Steps are counted from 0, as the source does."""
    learning_rate: float = Field(1e-4, gt=0)
    threads: int = Field(1, ge=1)

    monitor_window: int = Field(10, ge=2)
    """How many steps the window holds. Here it makes the results, and so is in the identity."""
    collapse_threshold: float = Field(0.8, gt=0, le=1)
    """A larger singular-value ratio counts as collapse: `collapse_step`."""
    monitors: Annotated[tuple[Monitor, ...], Observed(while_training=True)] = MEASURED
    """Rows `health/…`. What the scores hold is measured in any case; this adds to it."""
    checkpoint_steps: Annotated[int, Observed()] = Field(0, ge=0)
    """A checkpoint every so many steps; 0: only when the trial is about to be stopped."""
