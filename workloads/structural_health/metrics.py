"""The metrics of the toy model's runs, by name."""

from __future__ import annotations

from collections.abc import Mapping

from workloads.contract import Metric

_SHARE = (0.0, 1.0)
_STEPS = (0.0, None)

METRICS: Mapping[str, Metric] = {
    "train/loss": Metric("Cross-entropy of the token itself", "nats", higher_is_better=False),
    "train/penalty": Metric("What pulls hidden states together: 1 − mean pairwise cosine"),
    "final_loss": Metric(
        "Cross-entropy at the last step, where it is finite", "nats", higher_is_better=False
    ),
    "final_svd_ratio": Metric("Singular-value ratio of the last window", limits=_SHARE),
    "largest_svd_ratio": Metric("Largest singular-value ratio of the run", limits=_SHARE),
    "onset_step": Metric("The step at which the fault sets in", "steps", limits=_STEPS),
    "collapse_step": Metric(
        "First step whose singular-value ratio exceeds the threshold", "steps", limits=_STEPS
    ),
    "nonfinite_step": Metric(
        "First step with a loss or a hidden state that is not finite", "steps", limits=_STEPS
    ),
    "trainable_parameters": Metric("Parameters trained", reducer="last"),
    "train_seconds": Metric(
        "Time in training, this attempt", "s", reducer="max", reproducible=False
    ),
}
