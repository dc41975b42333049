"""The configuration of a language model with coupled oscillators. Importable without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from workloads.contract import Input, Monitor, Observed, WorkloadConfig

Mode = Literal["off", "observe", "modulate", "modulate_train_only"]
"""`off`: no oscillators. `observe`: they are driven and measured, the model is untouched.
`modulate`: they act, in training and in evaluation. `modulate_train_only`: only in training, as in
the origin, which guarantees that evaluation shows nothing."""
Site = Literal["residual", "mixer", "before_norm", "logits"]
"""`residual`: the stream after the block. `mixer`: what the block's mixer gives (Mamba: before its
gated out-projection; RWKV: time mixing; Llama: attention). `before_norm`: what the block's first
norm reads, and nothing else does. `logits`: the model's output."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class KuramotoSettings(_Settings):
    """N oscillators, driven by the hidden states: the origin's core of its quoted results."""

    kind: Literal["kuramoto"] = "kuramoto"
    oscillators: int = Field(16, ge=2)
    coupling: float = 2.0
    """K."""
    dt: float = Field(0.1, gt=0)
    drive: float = Field(0.1, ge=0)
    """What share of a token's phase pi * tanh(W x) is added before a step."""
    frequency_sd: float = Field(0.01, ge=0)
    """Of the natural frequencies, in radians per unit of time; they are learned."""
    features: Literal["sin", "sin_cos"] = "sin"
    """What of the phases the gain reads. The origin meant both, and read the sines."""
    pool: Literal["causal", "sequence"] = "causal"
    """`causal`: a step per token. `sequence`: one step per forward, driven by the mean over all of
    the batch's tokens, later ones too, as in the origin."""
    backprop: Literal["through_time", "detached"] = "through_time"
    """How far a gradient goes back: to the first token of a text, or to the last step only, as in
    the origin."""


class PhaseBlockSettings(_Settings):
    """An oscillator per channel and token, coupled by a matrix of low rank."""

    kind: Literal["phase_block"] = "phase_block"
    rank: int = Field(16, ge=1)
    steps: int = Field(2, ge=1)
    dt: float = Field(0.08, gt=0)
    k_scale: float = Field(0.5, gt=0)
    coupling_sd: float = Field(0.01, ge=0)
    """Of U and V as they are drawn."""
    frequency_sd: float = Field(0.01, ge=0)


def _of_a_kind(core: Any) -> Any:
    """Settings that name no kind are those of the default core."""
    return {"kind": "kuramoto", **core} if isinstance(core, Mapping) else core


Core = Annotated[
    KuramotoSettings | PhaseBlockSettings,
    Field(discriminator="kind"),
    BeforeValidator(_of_a_kind),
]


class DriftSettings(_Settings):
    """Keeps R in a range: noise and weaker coupling above it, stronger coupling below."""

    low: float = Field(0.30, ge=0, lt=1)
    high: float = Field(0.55, gt=0, le=1)
    strength: float = Field(0.05, gt=0, lt=1)
    most_noise: float = Field(0.2, ge=0)


class TrainingSettings(_Settings):
    """How the coupled model is trained before it is measured: by AdamW, with a gradient of norm 1
    at most. The defaults are the origin's."""

    steps: int = Field(0, ge=0)
    """0: measured as drawn."""
    trains: Literal["core", "all"] = "core"
    """`all`: the language model's own weights too."""
    learning_rate: float = Field(1e-4, gt=0)
    batch_size: int = Field(1, ge=1)
    """Texts per optimizer step, over all ranks."""
    tokens: int = Field(64, ge=8)
    """Of each text, the longest piece that is read."""
    terms: Literal["differentiable", "origin"] = "differentiable"
    """`origin`: the terms below are added as plain numbers, as in the source: no gradient."""
    entropy_weight: float = Field(0.0, ge=0)
    """Of |U - 0.5|, U the mean normalised entropy of the next token (the source: 0.1)."""
    presence_weight: float = Field(0.0, ge=0)
    """Of the mean of 1 - sum p² (the source: 0.05)."""
    tonal_weight: float = Field(0.0, ge=0)
    """Of what R exceeds 0.8 by (the source: 0.5)."""
    end_weight: float = Field(0.0, ge=0)
    """Of the end token's share (the source, of the targets': 10)."""
    drift: DriftSettings | None = None
    checkpoint_steps: int = Field(50, ge=1)
    """A copy of the core is kept so often; the newest five stay."""


class PhaseCouplingConfig(WorkloadConfig):
    """Oscillators at one site of a causal language model, trained or not, and measured."""

    model: Annotated[str, Input("model")] = "embedded:mamba"
    data: Annotated[str, Input("data")] = "embedded:stories"
    """Texts: those of the training split train, those of the test split measure."""

    core: Core = KuramotoSettings()
    """Of `kuramoto` where no kind is named."""
    mode: Mode = "modulate"
    site: Site = "residual"
    layer: int | str = "1/2"
    """The block, counted from 0, or a share of the depth such as "32/64" (rounded, the block at
    that depth). Not read at `logits`."""
    gain: Literal["channel", "scalar"] = "channel"
    """One gain a channel, or one for all of them."""
    strength: float = Field(0.1, ge=0)
    """The gain is 1 + strength * tanh(...). Only of `kuramoto`."""
    initial: Literal["equal", "uniform", "random"] = "equal"
    """Phases at the beginning of a text: all 0 (R = 1, as in the origin), spread evenly (R = 0), or
    drawn."""
    state: Literal["reset", "carried"] = "reset"
    """Whether phases begin anew with each text, or go on from where the last one left them."""
    driven_by: Literal["text", "shuffled", "constant"] = "text"
    """What is read while measuring: texts, the same tokens in a drawn order, or texts whose drive
    is the mean drive at every token."""

    target_r: float | None = Field(None, gt=0, lt=1)
    """While measuring, phases are set to this order parameter; None: they run free, as they do in
    every training."""
    hold: bool = True
    """Set again at every token. Off: only once, before the text, as in the origin."""
    set_by: Literal["solver", "linspace"] = "solver"
    """`linspace` is the origin's formula, which misses its targets."""

    training: TrainingSettings = TrainingSettings()

    texts: Annotated[int, Observed()] = Field(64, ge=2)
    """Test texts that are read with teacher forcing."""
    text_tokens: int = Field(64, ge=8)
    sample_prompts: Annotated[int, Observed()] = Field(8, ge=0)
    samples: Annotated[int, Observed()] = Field(5, ge=1)
    """Continuations of each prompt."""
    prompt_tokens: int = Field(16, ge=1)
    sample_tokens: int = Field(50, ge=2)
    temperature: float = Field(0.9, gt=0)
    eval_batch_size: int = Field(64, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = Field(1, ge=1)

    monitors: Annotated[tuple[Monitor, ...], Observed(while_training=True)] = (
        "svd_ratio",
        "effective_rank",
        "entropy",
    )

    @field_validator("layer", mode="before")
    @classmethod
    def _block_or_share(cls, layer: Any) -> Any:
        if isinstance(layer, bool) or not isinstance(layer, int | str):
            raise ValueError(
                f"{layer!r} is neither a block, counted from 0, nor a share of the depth such as "
                "'1/2'"
            )
        return layer
