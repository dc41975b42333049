"""The metrics this workload reports, by name."""

from __future__ import annotations

from collections.abc import Mapping

from workloads.contract import Metric

BAND = (0.5, 0.7)
"""Where the origin says that the ratio of a healthy LoRA fine-tuning lies, at a window of 5."""

TRAINING: Mapping[str, Metric] = {
    "train/loss": Metric("Loss of the step's batch", "nats", higher_is_better=False),
    "train/grad_norm": Metric("Norm of LoRA's gradient"),
}

FINAL: Mapping[str, Metric] = {
    "final_loss": Metric("Loss of the last step's batch", "nats", higher_is_better=False),
    "mean_loss": Metric("Loss, mean over the steps", "nats", higher_is_better=False),
    "mean_ratio": Metric(
        "Largest singular value over their sum, mean over the steps with a full window",
        limits=(0, 1),
    ),
    "max_ratio": Metric("The largest ratio of the trial", limits=(0, 1)),
    "mean_cosine": Metric(
        "Mean pairwise cosine that the ratio implies, whatever the window; mean over the steps"
    ),
    "mean_effective_rank": Metric("Exp of the entropy of the singular values, mean over the steps"),
    "band_share": Metric(
        f"Share of the steps with a full window whose ratio is in {BAND[0]} to {BAND[1]}",
        limits=(0, 1),
    ),
    "collapsed_steps": Metric("Steps with a ratio above the threshold", limits=(0, None)),
    "measured_steps": Metric("Steps with a full window"),
    "nonfinite_steps": Metric("Steps whose window held a hidden vector that was not finite"),
    "nonfinite_losses": Metric("Steps whose loss was not finite"),
    "pad_share": Metric("Share of the batches' positions that are padding", limits=(0, 1)),
    "lora_parameters": Metric("Parameters that are trained"),
    "train_seconds": Metric("Time of the steps", "s", reproducible=False),
}

METRICS: Mapping[str, Metric] = {**TRAINING, **FINAL}
