"""The configuration of one trial: a model, how it is encoded, and what it is asked. Torch-free."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from workloads.contract import Input, Observed, WorkloadConfig
from workloads.dtdr.codec.recipe import Quantiser, Recipe, Transform

MOST_PROMPTS: Final = 10_000
"""With so many an interval of a share goes at most 0.01 either way, and generated texts have no
end."""


class DtdrConfig(WorkloadConfig):
    """A causal language model that is encoded, and measured where only part of that is known."""

    model: Annotated[str, Input("model")] = "embedded:llama"
    data: Annotated[str, Input("data")] = "embedded:stories"
    """Texts of the test split: their beginnings are the prompts, and they are the held-out text."""
    transform: Transform = "hadamard"
    quantiser: Quantiser = "row"
    block_rows: int | None = Field(None, ge=1)
    """Rows in a unit of truncation. None: such that the largest tensor has at least 128 of them."""

    anchor: Annotated[str | None, Input("model")] = None
    """What a guided fill takes its values from: another model (a folder, a hub name), an encoded
    folder, a .pkl file. None: this model's own encoding, damaged at `anchor_rate`."""
    anchor_rate: float = Field(1e-4, ge=0, le=1)
    """Of an anchor that is this model: the share of its codes that is damaged. It is then nearly
    the model itself: a few dozen codes in half a million."""
    anchor_seed: int = Field(0, ge=0)

    prompts: Annotated[int, Observed()] = Field(64, ge=2, le=MOST_PROMPTS)
    prompt_tokens: int = Field(16, ge=1)
    held_out_tokens: int = Field(64, ge=8)
    """Of each prompt's text, how many tokens make up the perplexity."""
    samples: Annotated[int, Observed()] = Field(2, ge=0)
    """Prompts that are continued in text, greedily."""
    sample_tokens: int = Field(60, ge=1)
    eval_batch_size: int = Field(64, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"

    @property
    def recipe(self) -> Recipe:
        """Transform and quantiser. Of a resolved configuration."""
        assert self.block_rows is not None
        return Recipe(self.transform, self.quantiser, self.block_rows)
