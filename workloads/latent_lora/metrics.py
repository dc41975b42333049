"""The metrics this workload reports, by name."""

from __future__ import annotations

from collections.abc import Mapping

from workloads.contract import Metric

_SCORES: Mapping[str, Metric] = {
    "f1": Metric("Word F1 over all gold answers (SQuAD)", "points", higher_is_better=True),
    "em": Metric("Exact match over all gold answers (SQuAD)", "points", higher_is_better=True),
    "set_f1": Metric(
        "The origin's F1: sets of words, first gold answer", "points", higher_is_better=True
    ),
    "content_f1": Metric("Word F1 without function words", "points", higher_is_better=True),
    "answer_contained": Metric(
        "Predictions that contain a gold answer", "points", higher_is_better=True
    ),
    "distinct_predictions": Metric("Different predictions", "", higher_is_better=True),
    "distinct_answers": Metric("Different gold answers to the same questions"),
    "top_prediction_share": Metric("Share of the commonest prediction", higher_is_better=False),
    "top_word_share": Metric("Share of the commonest predicted word", higher_is_better=False),
    "finite_share": Metric("Predictions from finite logits", higher_is_better=True),
}
_REBUILT: Mapping[str, Metric] = {
    "recon_cosine": Metric("Cosine to the original embedding", higher_is_better=True),
    "recon_rel_error": Metric("‖r−E‖/‖E‖, mean over tokens", higher_is_better=False),
    "norm_ratio": Metric("‖r‖/‖E‖, mean over tokens"),
}
_TRAINING: Mapping[str, Metric] = {
    "loss": Metric("Total loss", higher_is_better=False),
    **_REBUILT,
    "recon_mse": Metric("Mean squared error of the embeddings", higher_is_better=False),
    "first_token_ce": Metric("Cross-entropy of the first answer token", "nats"),
    "k_token_ce": Metric("Cross-entropy of the first K answer tokens", "nats"),
    "kd": Metric("KL to the text-prompted model, times squared temperature", "nats"),
    "grad_norm": Metric("Gradient norm before clipping"),
    "lr": Metric("Adapter's learning rate", reducer="last"),
}
_FINAL: Mapping[str, Metric] = {
    **_SCORES,
    **_REBUILT,
    "dev_f1": Metric("f1 on the dev split", "points", higher_is_better=True),
    "final_loss": Metric("Mean training loss of the last epoch", higher_is_better=False),
    "trainable_parameters": Metric("Parameters trained, LoRA's included", reducer="last"),
    "lora_parameters": Metric("Parameters of LoRA", reducer="last"),
    "pca_explained": Metric("Variance of the embeddings that the code keeps", reducer="last"),
    "compression_ratio": Metric("Embedding width / d_z (in width only)", reducer="last"),
    "train_seconds": Metric(
        "Time in training, this attempt", "s", reducer="max", reproducible=False
    ),
    "eval_seconds": Metric("Time in the final evaluation", "s", reducer="max", reproducible=False),
}

METRICS: Mapping[str, Metric] = {
    **{f"train/{name}": metric for name, metric in _TRAINING.items()},
    **{f"eval/{name}": metric for name, metric in {**_SCORES, **_REBUILT}.items()},
    **_FINAL,
}
"""Emitted on the way as `train/…` and `eval/…` (dev split, each epoch), and the final ones, on the
test split unless the name says dev, under plain names."""
