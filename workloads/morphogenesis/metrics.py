"""The metrics this workload reports, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from workloads.contract import Metric

THREE = ("early", "mid", "late")
NUMBERED = tuple(f"slot{index}" for index in range(16))

_WHILE_TRAINING: Mapping[str, Metric] = {
    "train/loss": Metric("Mean cross-entropy over the epoch", "nats", higher_is_better=False),
    "train/accuracy": Metric("Accuracy over the epoch's batches", "percent", higher_is_better=True),
    "eval/loss": Metric("Cross-entropy on the validation split", "nats", higher_is_better=False),
    "eval/accuracy": Metric("Accuracy on the validation split", "percent", higher_is_better=True),
    "params/host": Metric("Parameters of the host", reducer="last"),
    "params/seeds": Metric("Parameters of all seeds", reducer="last"),
    "params/total": Metric("Parameters of host and seeds", reducer="last"),
    "params/fossilized": Metric("Parameters of fossilised seeds", reducer="last"),
    "grad_norm/host": Metric("Gradient norm of the host, mean over the epoch"),
    "grad_norm/leakage": Metric("Gradient that reached the host through the seeds' inputs"),
    "governor/rollback": Metric("Whether this epoch was rolled back", reducer="last"),
    "policy/value": Metric("The critic's estimate of the return"),
    "policy/value_std": Metric("Standard deviation of the critic's estimates"),
    "policy/advantage": Metric("Advantage of the action"),
    "policy/entropy": Metric("Entropy of the policy's distribution", "nats"),
}

_POLICY_TRAINING: Mapping[str, Metric] = {
    "policy_training/return": Metric("Return of a training episode", higher_is_better=True),
    "policy_training/value_std": Metric("Standard deviation of the critic's estimates"),
    "policy_training/entropy": Metric("Entropy of the policy's distribution", "nats"),
}

_SLOT: Mapping[str, Metric] = {
    "stage": Metric("Stage of the seed, by number", reducer="last"),
    "epochs_in_stage": Metric("Epochs in this stage", "epochs", reducer="last"),
    "params": Metric("Parameters of the seed", reducer="last"),
    "alpha": Metric("Blend coefficient, 0 to 1", reducer="last"),
    "contribution": Metric("Accuracy with the slot less accuracy without it", "points"),
    "total_improvement": Metric("Accuracy now less accuracy at germination", "points"),
    "improvement": Metric("Accuracy now less accuracy an epoch ago", "points"),
    "gate_passed": Metric("Whether the gate that was last tried let the seed pass", reducer="last"),
    "gradient_ratio": Metric("Gradient of the seed by the host's, per root of parameters"),
    "isolation_violations": Metric("Batches in which the seed's input carried gradient"),
}

_FINAL: Mapping[str, Metric] = {
    "accuracy": Metric("Accuracy on the test split", "percent", higher_is_better=True),
    "loss": Metric("Cross-entropy on the test split", "nats", higher_is_better=False),
    "val_accuracy": Metric("Accuracy on the validation split", "percent", higher_is_better=True),
    "val_loss": Metric("Cross-entropy on the validation split", "nats", higher_is_better=False),
    "host_params": Metric("Parameters of the host", reducer="last"),
    "seed_params": Metric("Parameters of all seeds", reducer="last"),
    "total_params": Metric("Parameters of host and seeds", reducer="last"),
    "fossilized_params": Metric("Parameters of fossilised seeds", reducer="last"),
    "params_ratio": Metric("Parameters of host and seeds, times the host's", reducer="last"),
    "return": Metric("Sum of the rewards of the episode", higher_is_better=True),
    "return_first": Metric("Mean return of the first update's training episodes"),
    "return_last": Metric("Mean return of the last update's training episodes"),
    "return_gain": Metric("What training added to the mean return", higher_is_better=True),
    "seeds_grown": Metric("Seeds planted", reducer="last"),
    "fossilized": Metric("Seeds kept for good", reducer="last"),
    "culled": Metric("Seeds removed", reducer="last"),
    "rollbacks": Metric("Epochs that the governor rolled back", reducer="last"),
    "actions_agreed": Metric("Decisions that the heuristic would have taken too", "percent"),
    "train_seconds": Metric(
        "Time in the episode, this attempt", "s", reducer="max", reproducible=False
    ),
}

_REWARD_PARTS = (
    "base_acc_delta", "seed_contribution", "bounded_attribution", "progress_since_germination",
    "attribution_discount", "ratio_penalty", "compute_rent", "blending_warning",
    "probation_warning", "stage_bonus", "pbrs_bonus", "action_shaping", "terminal_bonus",
    "fossilize_terminal_bonus", "rollback_penalty", "num_fossilized_seeds",
    "num_contributing_fossilized", "action_success", "seed_stage", "epoch", "val_acc",
    "acc_at_germination", "host_baseline_acc", "growth_ratio", "total",
)  # fmt: skip


def _by_slot() -> Iterator[tuple[str, Metric]]:
    interaction = Metric("Interaction in this epoch's matrix", "points")
    for slot in (*THREE, *NUMBERED):
        yield from ((f"slot/{slot}/{name}", metric) for name, metric in _SLOT.items())
        yield f"grad_norm/{slot}", Metric("Gradient norm of the seed, mean over the epoch")
        yield f"shapley/{slot}", Metric("Shapley value in this epoch's matrix", "points")
        yield f"marginal/{slot}", Metric("Banzhaf value in this epoch's matrix", "points")
    for slots in (THREE, NUMBERED):  # any of them may be the few in which seeds live
        for order in (2, 3):
            for members in combinations(slots, order):
                yield f"interaction/{'+'.join(members)}", interaction


METRICS: Mapping[str, Metric] = {
    **_FINAL,
    **_WHILE_TRAINING,
    **_POLICY_TRAINING,
    **{f"reward/{part}": Metric("Part of the reward") for part in _REWARD_PARTS},
    **dict(_by_slot()),
    **{
        f"eval/class_accuracy/{name}": Metric("Accuracy on validation images of a class", "percent")
        for name in (
            *(str(digit) for digit in range(10)),
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        )
    },
}
"""Each epoch's, and the final ones: on the test split unless the name says val."""
