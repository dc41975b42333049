"""The configuration of one ablation trial. Importable without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from workloads.contract import Input, Observed, WorkloadConfig

Units = Literal["layers", "heads", "lora"]
MOST = 12
"""Switches of one model: 2^12 coalitions is what can still be enumerated in minutes."""


class LoraTraining(BaseModel):
    """LoRA in every layer, trained on the data before its adapters are switched off."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rank: int = Field(8, ge=1)
    alpha: float = Field(16, gt=0)
    targets: tuple[str, ...] = Field(("q_proj", "v_proj"), min_length=1)
    steps: int = Field(60, ge=1)
    batch_size: int = Field(8, ge=1)
    """Texts per optimizer step, over all ranks."""
    learning_rate: float = Field(1e-3, gt=0)
    checkpoint_steps: int = Field(20, ge=1)


class AblationConfig(WorkloadConfig):
    """A causal language model whose parts are switched off while it reads texts."""

    model: Annotated[str, Input("model")] = "embedded:llama"
    data: Annotated[str, Input("data")] = "embedded:stories"
    task: Literal["continuation", "qa"] = "continuation"
    """What is predicted: how a text goes on, or a question's answer."""
    units: Units = "layers"
    which: tuple[str, ...] | None = None
    """The parts that have a switch: `L3` a layer (or its adapters), `L3H0` a head, and with
    units=heads `L3` all heads of a layer. None: all, where they are at most 12."""

    texts: Annotated[int, Observed()] = Field(200, ge=1)
    """Texts of the test split that are scored."""
    prefix_tokens: int = Field(32, ge=1)
    """Of a continuation: what is read before the first token that is scored."""
    scored_tokens: int = Field(32, ge=1)
    """Of a continuation: how many tokens are scored."""
    max_prompt_tokens: int = Field(256, ge=8)
    """Of a question: a longer context is cut."""
    eval_batch_size: int = Field(50, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    lora: LoraTraining | None = None
    """Of units=lora; filled in by default."""

    @field_validator("which")
    @classmethod
    def _named_once(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and not names:
            raise ValueError("names no part; leave it out for all of them")
        twice = sorted({name for name in names or () if (names or ()).count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is named twice: switches must not overlap")
        return names
