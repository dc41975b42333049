"""The configuration of a small language model with oscillators in it. Importable without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from workloads.contract import Input, Monitor, Observed, WorkloadConfig

Variant = Literal["bistable", "monostable", "baseline", "unigram", "bigram"]
"""`bistable`: the control u of each position stays in [0.1, 10]. `monostable`: it is free.
`baseline`: a layer of as many parameters in the place of the oscillators. `unigram` and `bigram`:
counts over the tokens that the others train on; there is no model."""
COUNTED: tuple[Variant, ...] = ("unigram", "bigram")
"""Variants without a model."""
OSCILLATING: tuple[Variant, ...] = ("bistable", "monostable")
"""Variants with an order parameter R."""


class KssmConfig(WorkloadConfig):
    """A language model trained from scratch; each of its blocks has oscillators of its own."""

    data: Annotated[str, Input("data")] = "embedded:stories"
    """Texts: those of the training split train, those of the test split measure."""
    tokenizer: Annotated[str, Input("model")] = "embedded:llama"
    """The model whose tokenizer is used; its weights are not read."""

    variant: Variant = "bistable"
    mixing: Literal["attention", "none"] = "attention"
    """How a position reads those before it. `none`: not at all, as in the origin, so that what
    comes next is told from the newest token and its place alone."""
    hidden_size: int = Field(64, ge=8)
    layers: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    """Of attention."""
    oscillators: int = Field(32, ge=2)
    """Of each block."""
    harmonics: int = Field(32, ge=1)
    """n of the features: the mean of cos(n theta), of sin(n theta), and |Z_n|."""
    determinant_weight: float = Field(0.1, ge=0)
    """Of 1 / (|Delta| + 1e-5) in the loss."""
    control_weight: float = Field(0.5, ge=0)
    """Of -log u in the loss."""

    steps: int = Field(300, ge=1)
    batch_size: int = Field(16, ge=1)
    """Texts per optimizer step, over all ranks."""
    tokens: int = Field(64, ge=8)
    """Of each text, in training and in measuring; shorter ones are left out."""
    train_texts: int = Field(2048, ge=1)
    """Different texts to train on, at most; the order is drawn anew for each pass over them."""
    learning_rate: float = Field(3e-3, gt=0)
    warmup_steps: int = Field(20, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    grad_clip: float = Field(1.0, gt=0)

    texts: Annotated[int, Observed()] = Field(64, ge=2)
    """Test texts that measure."""
    eval_batch_size: int = Field(64, ge=1)
    checkpoint_steps: Annotated[int, Observed()] = Field(0, ge=0)
    """A checkpoint every so many steps; 0: only where one is wanted."""
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = Field(1, ge=1)

    monitors: Annotated[tuple[Monitor, ...], Observed(while_training=True)] = (
        "svd_ratio",
        "effective_rank",
        "entropy",
    )
