"""The metrics that a trial of phase coupling reports, and the columns of its scores. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from workloads.contract import Metric

TONES: Final = ("tension", "responsibility", "spiral", "joy", "intimacy", "unformed")
"""Ranges of R, from the most to the least synchronous (`cores.tones`)."""

DEAD_SITE: Final = "dead_site"
"""A flag of a trial whose oscillators act, and change no logit."""
DEAD_WORDS: Final = "dead site: acts, but changes no logit"

TEXT_COLUMNS: Final = ("kl", "entropy", "ce", "r_mean", "r_sd", "r_lag1")
SAMPLE_COLUMNS: Final = (
    "entropy",
    "distinct_1",
    "distinct_2",
    "distinct_3",
    "repetition",
    "r_mean",
    "r_min",
    "r_max",
)
LAYER_COLUMNS: Final = ("relative_change", "angle", "logits_change", "survival")
"""The last two are of the unit `logits` alone: its relative change, and that over the coupled
block's."""
STEP_COLUMNS: Final = (
    "loss",
    "ce",
    "u",
    "r",
    "ru",
    "core_gradient",
    "frequency_gradient",
    "frequency_drift",
)
SCORE_COLUMNS: Final[Mapping[str, Sequence[str]]] = {
    "texts": TEXT_COLUMNS,
    "samples": SAMPLE_COLUMNS,
    "layers": LAYER_COLUMNS,
    "steps": STEP_COLUMNS,
}
_UNIT: Final = (0.0, 1.0)
_FROM_0: Final = (0.0, None)
SCORE_LIMITS: Final[Mapping[str, tuple[float | None, float | None]]] = {
    **dict.fromkeys(("entropy", "distinct_1", "distinct_2", "distinct_3", "repetition"), _UNIT),
    **dict.fromkeys(("r_mean", "r_min", "r_max", "r", "u", "ru"), _UNIT),
    **dict.fromkeys(("kl", "ce", "relative_change", "logits_change", "survival"), _FROM_0),
    **dict.fromkeys(("core_gradient", "frequency_gradient", "frequency_drift"), _FROM_0),
    "r_sd": (0.0, 0.5),
    "r_lag1": (-1.0, 1.0),
    "angle": (0.0, 2.0),
}
"""What columns cannot be below and above, whatever their split. `loss` may be anything: its terms
have signs."""

_TRAIN: Final = "of the step's texts"
_DRIFT: Final = (
    "RMS change of the natural frequencies since the start; AdamW changes them by about its rate a "
    "step also where their gradient is rounding"
)
TRAINING: Final[Mapping[str, Metric]] = {
    "train/loss": Metric(f"Cross-entropy {_TRAIN} with all terms", "nats", higher_is_better=False),
    "train/ce": Metric(f"Cross-entropy {_TRAIN}", "nats", higher_is_better=False),
    "train/u": Metric("Normalised entropy of the next token, mean over tokens", limits=(0, 1)),
    "train/r": Metric("Order parameter, mean over tokens", limits=(0, 1)),
    "train/ru": Metric("Order parameter times normalised entropy", limits=(0, 1)),
    "train/core_gradient": Metric("Norm of the gradient at the core, before clipping"),
    "train/frequency_gradient": Metric("Norm of the gradient at the natural frequencies"),
    "train/frequency_drift": Metric(_DRIFT),
}

_TEXTS: Final = "test texts with teacher forcing"
_SAMPLES: Final = "sampled continuations"
FINAL: Final[Mapping[str, Metric]] = {
    "texts_kl": Metric(
        f"Divergence of the coupled model's next token from the uncoupled one's, {_TEXTS}",
        "nats/token",
        limits=(0, None),
    ),
    "texts_entropy": Metric(f"Normalised entropy of the next token, {_TEXTS}", limits=(0, 1)),
    "texts_ce": Metric(f"Cross-entropy, {_TEXTS}", "nats/token", higher_is_better=False),
    "perplexity": Metric(f"Exp of the mean cross-entropy, {_TEXTS}", higher_is_better=False),
    "samples_entropy": Metric(f"Normalised entropy of the next token, {_SAMPLES}", limits=(0, 1)),
    "samples_distinct_1": Metric(f"Different tokens over all, {_SAMPLES}", limits=(0, 1)),
    "samples_distinct_2": Metric(f"Different pairs of tokens over all, {_SAMPLES}", limits=(0, 1)),
    "samples_distinct_3": Metric(f"Different triples over all, {_SAMPLES}", limits=(0, 1)),
    "samples_repetition": Metric(
        f"Share of tokens seen among the 32 before, {_SAMPLES}", limits=(0, 1)
    ),
    "divergence": Metric(
        "Tokens until sampled text parts from the uncoupled model's with the same noise, mean; all "
        "of them where it never does",
        "tokens",
        limits=(0, None),
    ),
    "identical_samples": Metric(
        "Share of sampled texts that are the uncoupled model's, token by token", limits=(0, 1)
    ),
    "logits_relative_change": Metric(
        f"Norm of what the coupling changes in the logits over their norm, {_TEXTS}",
        limits=(0, None),
    ),
    "survival": Metric(
        "Relative change of the logits over that of the coupled block's output", limits=(0, None)
    ),
    "r_mean": Metric(f"Order parameter, mean over the tokens of {_TEXTS}", limits=(0, 1)),
    "r_min": Metric(f"Least order parameter at a token, {_TEXTS}", limits=(0, 1)),
    "r_max": Metric(f"Largest order parameter at a token, {_TEXTS}", limits=(0, 1)),
    "u": Metric(f"Normalised entropy of the next token, mean over tokens, {_TEXTS}", limits=(0, 1)),
    "ru": Metric(f"Order parameter times normalised entropy, mean over tokens, {_TEXTS}"),
    **{
        f"residence/{tone}": Metric(f"Share of tokens whose R is in '{tone}'", limits=(0, 1))
        for tone in TONES
    },
    "goldilocks": Metric("Share of tokens with R from 0.40 to 0.55", limits=(0, 1)),
    "r_entropy": Metric(f"Correlation of R and normalised entropy over {_SAMPLES}", limits=(-1, 1)),
    "target_r": Metric("Order parameter that was asked for", limits=(0, 1)),
    "achieved_r": Metric(f"Order parameter while generating, mean over {_SAMPLES}", limits=(0, 1)),
    "frequency_drift": Metric(_DRIFT),
    "core_gradient": Metric("Norm of the gradient at the core, mean over the training steps"),
    "core_parameters": Metric("Parameters of the oscillators", reducer="last"),
    "texts_measured": Metric("Test texts that were read", reducer="last"),
    "train_seconds": Metric("Time of the training", "s", reproducible=False),
    "sample_seconds": Metric("Time of the sampling", "s", reproducible=False),
}

METRICS: Final[Mapping[str, Metric]] = {**TRAINING, **FINAL}
