"""A trial's metrics, from what was measured of texts, samples and layers. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from workloads.contract import Scores
from workloads.phase_coupling.config import PhaseCouplingConfig
from workloads.phase_coupling.cores.tones import GOLDILOCKS, TONES, residence
from workloads.phase_coupling.measuring.sampling import Sample, parting, sample_scores
from workloads.phase_coupling.measuring.teacher_forcing import ReadTexts
from workloads.phase_coupling.measuring.text_metrics import correlation
from workloads.phase_coupling.training.history import perplexity

Metrics = dict[str, float | None]


def text_figures(read: ReadTexts) -> Metrics:
    """Of the test texts; what oscillators would have to be there for is None without them."""
    ce, entropy = float(read.ce.mean()), float(read.entropy.mean())
    found: Metrics = {
        "texts_kl": float(read.kl.mean()),
        "texts_entropy": entropy,
        "texts_ce": ce,
        "perplexity": perplexity(ce),
        "texts_measured": float(len(read.texts.units)),
        "u": entropy,
        "r_mean": None,
        "r_min": None,
        "r_max": None,
        "ru": None,
        "goldilocks": None,
        **{f"residence/{tone}": None for tone in TONES},
    }
    if read.r is not None:
        shares = residence(read.r.ravel().tolist())
        found |= {
            "r_mean": float(read.r.mean()),
            "r_min": float(read.r.min()),
            "r_max": float(read.r.max()),
            "ru": float((read.r * read.entropy).mean()),
            "goldilocks": shares.get(GOLDILOCKS),
            **{f"residence/{tone}": share for tone, share in shares.items()},
        }
    return found


def sample_figures(
    config: PhaseCouplingConfig, samples: Sequence[Sample], uncoupled: Sequence[Sample]
) -> Metrics:
    """Of the sampled texts, beside the uncoupled model's with the same noise; None without any."""
    names = ("entropy", "distinct_1", "distinct_2", "distinct_3", "repetition")
    scores = sample_scores(samples)
    found: Metrics = {f"samples_{name}": _mean(scores.columns[name]) for name in names}
    r = scores.columns["r_mean"]
    found |= {
        "target_r": config.target_r,
        "achieved_r": _mean(r),
        "r_entropy": _correlation(r, scores.columns["entropy"]),
        "divergence": None,
        "identical_samples": None,
    }
    if samples:
        found["divergence"], found["identical_samples"] = parting(samples, uncoupled)
    return found


def with_survival(layers: Scores) -> Scores:
    """With the columns `logits_change` and `survival`, which are of the unit `logits` alone.

    Survival is the relative change of the logits over that of the coupled block's output; None
    where nothing is changed there, and for oscillators behind all blocks.
    """
    change = layers.columns["relative_change"]
    at, first = list(layers.units).index("logits"), change[0]
    left = change[at]
    ratio = left / first if left is not None and first and layers.units[0] != "final_norm" else None
    alone: list[list[float | None]] = [[None] * len(change) for _ in range(2)]
    alone[0][at], alone[1][at] = left, ratio
    columns = {**layers.columns, "logits_change": alone[0], "survival": alone[1]}
    return Scores(layers.split, layers.units, layers.clusters, columns)


def layer_figures(layers: Scores) -> Metrics:
    """What is left at the logits."""
    at = list(layers.units).index("logits")
    return {
        "logits_relative_change": layers.columns["logits_change"][at],
        "survival": layers.columns["survival"][at],
    }


def _mean(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return fmean(measured) if measured else None


def _correlation(first: Sequence[float | None], second: Sequence[float | None]) -> float | None:
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    return correlation([a for a, _ in pairs], [b for _, b in pairs])
