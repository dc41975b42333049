"""The configuration of one run of the inference probe. Torch-free."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from workloads.contract import Input, Observed, WorkloadConfig

RegimeName = Literal["healthy", "lock_in", "decoupled", "geodesic"]


class InferenceConfig(WorkloadConfig):
    """A causal language model that writes chunk after chunk, and how what it reads goes on."""

    model: Annotated[str, Input("model")] = "embedded:llama"
    data: Annotated[str, Input("data")] = "embedded:stories"
    """Texts of the test split: their beginnings are the prompts."""
    regime: RegimeName = "lock_in"
    steps: int | None = Field(None, ge=2)
    """Chunks. None: as many as the regime has. The first has no consistency: none came before."""
    chunk_tokens: int | None = Field(None, ge=1)
    """Tokens of a chunk. None: as many as the regime has."""
    temperature: float = Field(0.9, gt=0)
    top_p: float = Field(0.95, gt=0, le=1)
    """A sampled token is one of the likeliest that have this much probability together."""
    prompt_tokens: int = Field(16, ge=1)
    prompts: int = Field(64, ge=2)
    """Texts that replicates take theirs from: two each, in order of their seeds."""
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_steps: Annotated[int, Observed()] = Field(5, ge=0)
    """A checkpoint every so many chunks: with a large model a chunk takes minutes. 0: only when the
    trial is about to be stopped."""
