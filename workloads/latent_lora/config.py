"""The configuration of one latent-LoRA trial. Importable without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from workloads.contract import Input, Monitor, Observed, WorkloadConfig
from workloads.latent_lora.depth import parse_layers

PromptForm = Literal["reconstructed", "text", "replay", "snap", "constant", "mismatched"]

UNTRAINED: frozenset[str] = frozenset({"text", "replay", "snap", "constant", "mismatched"})
"""Prompt forms that need no adapter: they are evaluated at once, without training."""


class LoraSettings(BaseModel):
    """LoRA on a causal language model, through PEFT."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rank: int = Field(8, ge=1)
    alpha: float = Field(16, gt=0)
    """Updates are scaled by alpha / rank (by alpha / sqrt(rank) with `rslora`)."""
    layers: int | str = "all"
    """A count, a share of the depth such as "8/32" (rounded half up, at least 1), or "all"."""
    which: Literal["first", "last"] = "first"
    dropout: float = Field(0.05, ge=0, lt=1)
    targets: tuple[str, ...] = Field(("q_proj", "k_proj", "v_proj", "o_proj"), min_length=1)
    rslora: bool = False

    @field_validator("layers")
    @classmethod
    def _layers_are_readable(cls, layers: int | str) -> int | str:
        parse_layers(layers)
        return layers


class LatentLoraConfig(WorkloadConfig):
    """Phase 1a with minimal supervision: the defaults are the origin's baseline, on a small model.

    Losses add up with their weights, and a loss of weight 0 is never computed.
    """

    model: Annotated[str, Input("model")] = "embedded:llama"
    data: Annotated[str, Input("data")] = "embedded:questions"
    task: Literal["qa", "continuation"] = "qa"
    input: PromptForm = "reconstructed"
    """What the model reads: the reconstruction, or what a control puts in its place. `text` is the
    token ids, `replay` their embeddings, `snap` the tokens nearest to the codes, `constant` nothing
    (one answer learned on the training answers), `mismatched` the text with another's context."""

    samples: int = Field(5000, ge=1)
    epochs: int = Field(3, ge=1)
    batch_size: int = Field(32, ge=1)
    """Prompts per optimizer step, over all ranks."""
    answer_loss_prompts: int | None = Field(None, ge=1)
    """Of each (shuffled) batch, the losses on answers read this many prompts: an unbiased estimate
    of the same objective for a CPU, where the language model is what takes time. None: all."""

    d_z: int = Field(16, ge=1)
    """Width of the code. The origin: 1024 of 4096, a quarter, as 16 is of the embedded model's 64.
    """
    hidden_mult: int = Field(4, ge=1)
    """Width of the adapter's hidden layers, as a multiple of `d_z`."""
    dropout: float = Field(0.1, ge=0, lt=1)
    rms_match: bool = True
    """Scales each reconstructed embedding to the RMS of the original (side information: one number
    per token). Without it the origin's outputs were 115 times too large."""

    cosine_weight: float = Field(1.0, ge=0)
    mse_weight: float = Field(0.1, ge=0)
    first_token_ce_weight: float = Field(0.01, ge=0)
    k_token_ce_weight: float = Field(0.0, ge=0)
    kd_weight: float = Field(0.0, ge=0)
    kd_temperature: float = Field(1.0, gt=0)
    k_tokens: int = Field(4, ge=1)

    learning_rate: float = Field(5e-4, gt=0)
    lora_learning_rate: float = Field(1e-4, gt=0)
    grad_clip: float = Field(1.0, gt=0)
    lora: LoraSettings | None = None

    max_prompt_tokens: int = Field(256, ge=8)
    max_new_tokens: int | None = Field(None, ge=1)
    """None: what the data declare for their task."""
    eval_batch_size: int = Field(128, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = Field(1, ge=1)

    monitors: Annotated[tuple[Monitor, ...], Observed(while_training=True)] = (
        "svd_ratio",
        "effective_rank",
        "implied_cosine",
    )
    """Of the language model's last block while it trains; nothing where no loss reads the answer,
    since then the language model reads nothing."""
    test_questions: Annotated[int | None, Observed()] = Field(None, ge=1)
    """None: 1,000, and 2,000 for `continuation`, where one word more or less weighs more; fewer
    where the data hold no more."""
    dev_questions: Annotated[int, Observed()] = Field(200, ge=0)
    quick_eval_steps: Annotated[int, Observed()] = Field(100, ge=0)
    """A look at 32 dev questions every so many steps, into the diagnostics; 0: none."""
    checkpoint_steps: Annotated[int, Observed()] = Field(0, ge=0)
    """A checkpoint every so many steps beside the one after each epoch; 0: epochs only."""

    @property
    def questions(self) -> int:
        """How many test questions are asked for."""
        return self.test_questions or (2000 if self.task == "continuation" else 1000)

    @property
    def trains(self) -> bool:
        """Whether the trial trains anything."""
        return self.input not in UNTRAINED

    @property
    def answer_tokens(self) -> int:
        """How many answer positions the losses read: 0 when no loss reads the answer."""
        if self.k_token_ce_weight or self.kd_weight:
            return self.k_tokens
        return 1 if self.first_token_ce_weight else 0
