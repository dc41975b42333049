"""Where oscillators only look on, a sound test of independent samples finds nothing, as often as it
should: its p is uniform."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np
import pytest
import torch
from scipy import stats

from workloads.models import load_model, resolve_model
from workloads.models.byte_tokens import tokenizer_of
from workloads.phase_coupling.config import PhaseCouplingConfig
from workloads.phase_coupling.interventions.source_tests import Group, cluster_t, equal_variance_t
from workloads.phase_coupling.joining import draw_core, joined
from workloads.phase_coupling.measuring.phases import Beginnings
from workloads.phase_coupling.measuring.sampling import sample_texts
from workloads.phase_coupling.measuring.texts import load_test_texts

PROMPTS, SAMPLES, TOKENS = 8, 5, 10
SEEDS, SHARES = 40, 5
"""Each seed draws the samples of five repetitions; together there are 200."""


@pytest.fixture(scope="module")
def entropies() -> dict[str, list[dict[str, list[float]]]]:
    """Mode -> repetitions, each prompt -> mean entropies of its samples; every mode and repetition
    has noise of its own."""
    torch.set_num_threads(1)
    base = PhaseCouplingConfig(
        model="embedded:rwkv",
        texts=2,
        sample_prompts=PROMPTS,
        samples=SAMPLES * SHARES,
        sample_tokens=TOKENS,
        prompt_tokens=8,
        eval_batch_size=PROMPTS * SAMPLES * SHARES,
        layer=1,
    )
    ref = resolve_model(base.model)
    model = load_model(ref, dtype="float32")
    texts = load_test_texts(base, tokenizer_of(ref))
    found: dict[str, list[dict[str, list[float]]]] = {}
    for mode in ("off", "observe"):
        config = base.model_copy(update={"mode": mode})
        for number in range(SEEDS):
            seed = 2 * number + (mode == "observe")
            with joined(config, model, draw_core(config, model, seed)) as coupling:
                samples = sample_texts(model, coupling, texts, Beginnings(config, seed))
            shares: list[dict[str, list[float]]] = [{} for _ in range(SHARES)]
            for one in samples:
                of = shares[one.number % SHARES].setdefault(one.prompt, [])
                of.append(fmean(one.entropy))
            found.setdefault(mode, []).extend(shares)
    return found


def uniformity(probabilities: Sequence[float]) -> float:
    """Of Kolmogorov and Smirnov's test."""
    assert len(probabilities) >= 200
    return float(stats.kstest(probabilities, "uniform").pvalue)


@pytest.mark.slow
def test_p_over_prompts_is_uniform(entropies: dict[str, list[dict[str, list[float]]]]) -> None:
    found = [
        cluster_t(observed, off)
        for observed, off in zip(entropies["observe"], entropies["off"], strict=True)
    ]
    probabilities = [one.p for one in found if one is not None and one.p is not None]
    assert uniformity(probabilities) > 0.01


@pytest.mark.slow
def test_p_of_the_source_s_t_is_uniform_within_a_prompt_and_too_large_over_prompts(
    entropies: dict[str, list[dict[str, list[float]]]],
) -> None:
    """Both arms have the same prompts, and what these differ by is no error of the difference."""
    within, over = [], []
    for observed, off in zip(entropies["observe"], entropies["off"], strict=True):
        prompt = next(iter(off))
        one = equal_variance_t(Group.of(observed[prompt]), Group.of(off[prompt]))
        flat = [Group.of([v for of in arm.values() for v in of]) for arm in (observed, off)]
        several = equal_variance_t(flat[0], flat[1])
        assert one.p is not None
        assert several.p is not None
        within.append(one.p)
        over.append(several.p)
    assert uniformity(within) > 0.01
    assert float(np.mean(np.array(over) < 0.05)) < 0.05
