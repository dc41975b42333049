"""Typed contracts of what is said about a run beside plain metrics, in the source's field names.

Every field that is measured may be None: "not measured", which is never the same as 0. Accuracies
are in percent, differences of accuracies in points, losses in nats. A contract that has `values()`
is of tier 2: those values become metric rows. NaN and infinities survive (`nonfinite` names their
places, since JSON has none).

Source: the telemetry design in which these fields were first named (three tiers: context,
snapshots, dense traces).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from telemetry import nonfinite

STAGES = (
    "UNKNOWN", "DORMANT", "GERMINATED", "TRAINING", "BLENDING", "SHADOWING", "PROBATIONARY",
    "FOSSILIZED", "CULLED", "EMBARGOED", "RESETTING",
)  # fmt: skip
"""A seed's stages; a stage's number is its place here. SHADOWING is no longer used."""

Stage = Literal[
    "UNKNOWN", "DORMANT", "GERMINATED", "TRAINING", "BLENDING", "SHADOWING", "PROBATIONARY",
    "FOSSILIZED", "CULLED", "EMBARGOED", "RESETTING",
]  # fmt: skip


class Contract(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", kw_only=True):
    """Base of the typed contracts. `nonfinite` is derived and never given by hand."""

    nonfinite: dict[str, str] = {}
    """JSON pointers, from this object, of the numbers that JSON can't hold."""

    def __post_init__(self) -> None:
        if self.nonfinite:
            nonfinite.restore(self, self.nonfinite)
        if (found := nonfinite.find(self)) != self.nonfinite:
            msgspec.structs.force_setattr(self, "nonfinite", found)


class HostBaseline(Contract, frozen=True, tag="host_baseline", kw_only=True):
    """Tier 1: the host before anything grew in it and, at the end, a host that grew nothing."""

    initial_loss: float | None = None
    initial_accuracy: float | None = None
    initial_checkpoint: str | None = None
    """The full model state for a replay, as a path relative to the trial's folder."""
    final_host_only_loss: float | None = None
    final_host_only_accuracy: float | None = None


class HostSnapshot(Contract, frozen=True, tag="host_snapshot", kw_only=True):
    """Tier 2, each epoch: how the model as a whole does, and how large it is."""

    epoch: int
    train_loss: float | None = None
    train_accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    host_params: int | None = None
    total_seed_params: int | None = None
    total_params: int | None = None
    fossilized_params: int | None = None
    host_grad_norm: float | None = None
    seed_grad_norms: dict[str, float | None] = {}
    """Gradient norm by slot (of any model: by parameter group)."""
    grad_isolation_leakage: float | None = None
    per_class_accuracy: dict[str, float | None] | None = None
    """Percent by class; in research mode only."""

    def values(self) -> dict[str, float | None]:
        """The metric rows of this snapshot."""
        measured: dict[str, float | None] = {
            "train/loss": self.train_loss,
            "train/accuracy": self.train_accuracy,
            "eval/loss": self.val_loss,
            "eval/accuracy": self.val_accuracy,
            "params/host": self.host_params,
            "params/seeds": self.total_seed_params,
            "params/total": self.total_params,
            "params/fossilized": self.fossilized_params,
            "grad_norm/host": self.host_grad_norm,
            "grad_norm/leakage": self.grad_isolation_leakage,
        }
        return {
            **_floats(measured),
            **_under("grad_norm", self.seed_grad_norms),
            **_under("eval/class_accuracy", self.per_class_accuracy or {}),
        }


class SlotSnapshot(Contract, frozen=True, tag="slot_snapshot", kw_only=True):
    """Tier 2, each epoch and slot: the state of what grows there."""

    slot_id: str
    stage: Stage
    epochs_in_stage: int = 0
    seed_id: str | None = None
    blueprint_id: str | None = None
    seed_params: int | None = None
    alpha: float | None = None
    """Blend coefficient, 0 to 1."""
    counterfactual_contribution: float | None = None
    """Accuracy with the slot less accuracy without it, points."""
    total_improvement: float | None = None
    """Accuracy now less accuracy at germination, points."""
    improvement_this_epoch: float | None = None
    last_gate_attempted: str | None = None
    last_gate_passed: bool | None = None
    last_gate_reason: str | None = None
    gradient_ratio: float | None = None
    isolation_violations: int | None = None

    def values(self) -> dict[str, float | None]:
        """The metric rows of this snapshot, below ``slot/<slot_id>``; the stage by its number."""
        return _under(
            f"slot/{self.slot_id}",
            {
                "stage": STAGES.index(self.stage),
                "epochs_in_stage": self.epochs_in_stage,
                "params": self.seed_params,
                "alpha": self.alpha,
                "contribution": self.counterfactual_contribution,
                "total_improvement": self.total_improvement,
                "improvement": self.improvement_this_epoch,
                "gate_passed": self.last_gate_passed,
                "gradient_ratio": self.gradient_ratio,
                "isolation_violations": self.isolation_violations,
            },
        )


class FactoredAction(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a policy does: an operation (WAIT, GERMINATE, ...) and what it is done to."""

    op: str
    slot: str | None = None
    blueprint: str | None = None
    blend: str | None = None

    def __str__(self) -> str:
        return self.op if self.slot is None else f"{self.op}({self.slot})"


class RewardComponents(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The parts a reward is made of, and what it was computed from."""

    base_acc_delta: float | None = None
    seed_contribution: float | None = None
    bounded_attribution: float | None = None
    progress_since_germination: float | None = None
    attribution_discount: float | None = None
    ratio_penalty: float | None = None
    compute_rent: float | None = None
    blending_warning: float | None = None
    probation_warning: float | None = None
    stage_bonus: float | None = None
    pbrs_bonus: float | None = None
    action_shaping: float | None = None
    terminal_bonus: float | None = None
    fossilize_terminal_bonus: float | None = None
    rollback_penalty: float | None = None
    """For an epoch that the governor had to undo."""
    num_fossilized_seeds: int | None = None
    num_contributing_fossilized: int | None = None
    action_name: str | None = None
    action_success: bool | None = None
    seed_stage: int | None = None
    epoch: int | None = None
    val_acc: float | None = None
    acc_at_germination: float | None = None
    host_baseline_acc: float | None = None
    growth_ratio: float | None = None
    total_reward: float | None = None


class PolicySnapshot(Contract, frozen=True, tag="policy_snapshot", kw_only=True):
    """Tier 2, each decision: what the policy saw, did, expected and was rewarded with."""

    observation_vector: list[float | None] = []
    action: FactoredAction | None = None
    action_log_probs: dict[str, float | None] = {}
    """Log probability of the action's part, by head."""
    action_was_masked: bool | None = None
    """Whether the mask left no other action."""
    value_estimate: float | None = None
    value_std: float | None = None
    """Standard deviation of the critic's predictions over the batch."""
    advantage: float | None = None
    entropy: float | None = None
    """Of the policy's distribution, nats."""
    reward_total: float | None = None
    reward_components: RewardComponents | None = None
    heuristic_action: FactoredAction | None = None
    """What the shadow heuristic would have done."""
    explanation: str | None = None

    def values(self) -> dict[str, float | None]:
        """The metric rows: ``policy/…`` and ``reward/…``."""
        parts, total = self.reward_components, self.reward_total
        if total is None and parts is not None:
            total = parts.total_reward
        return {
            **_under(
                "policy",
                {
                    "value": self.value_estimate,
                    "value_std": self.value_std,
                    "advantage": self.advantage,
                    "entropy": self.entropy,
                },
            ),
            **_under("reward", {"total": total, **_numbers(parts)}),
        }


class BatchMetrics(Contract, frozen=True, tag="batch", kw_only=True):
    """One batch of a dense trace."""

    epoch: int
    batch_idx: int
    step: int | None = None
    loss: float | None = None
    accuracy: float | None = None
    host_grad_norm: float | None = None
    seed_grad_norms: dict[str, float | None] = {}
    """Gradient norm by slot (of any model: by parameter group)."""
    isolation_leakage: float | None = None


class GateEvaluationTrace(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a gate came to its answer."""

    gate: str
    slot_id: str | None = None
    passed: bool | None = None
    score: float | None = None
    checks_passed: list[str] = []
    checks_failed: list[str] = []
    message: str = ""


class DenseTrace(Contract, frozen=True, tag="dense_trace", kw_only=True):
    """Tier 3: what happened, batch by batch, in a window after something set it off."""

    trigger_reason: str
    """One reason, or several joined by commas: ``loss_spike:3.2x,gate_failure:mid``."""
    trigger_step: int | None = None
    """The training step at which the first of the reasons showed; None if it was forced."""
    window_start_epoch: int
    window_end_epoch: int
    window_start_step: int | None = None
    window_end_step: int | None = None
    batch_metrics: list[BatchMetrics] = []
    """In order; the first are those just before the trigger, which show what led to it."""
    gradient_histograms: dict[str, list[float | None]] = {}
    """By parameter group, shares that sum to 1: of the gradient's elements with log10 |g| below the
    first of `histogram_edges` (zeros too), between each two, and from the last on (NaN too)."""
    histogram_edges: list[float | None] = []
    gradient_flow: dict[str, float | None] = {}
    """Mean |gradient| by parameter group, in the model's order."""
    activation_means: dict[str, float | None] = {}
    activation_stds: dict[str, float | None] = {}
    dead_neuron_counts: dict[str, int | None] = {}
    """Units that were 0 for every sample of the batches that were looked at, by module."""
    gate_evaluation_details: GateEvaluationTrace | None = None


class CounterfactualResult(Contract, frozen=True, tag="counterfactual_result", kw_only=True):
    """One configuration of slots, measured: which were on, and how the model did."""

    config: list[bool]
    """On or off, in the order of the matrix's slots."""
    alpha_settings: dict[str, float | None] = {}
    val_loss: float | None = None
    val_accuracy: float | None = None
    per_class_accuracy: dict[str, float | None] | None = None


class CounterfactualMatrix(Contract, frozen=True, tag="counterfactual_matrix", kw_only=True):
    """Tier 2: every configuration measured at one epoch, and what follows from them.

    A pair or triple of slots is named by its members joined with ``+``.
    """

    epoch: int
    slots: list[str] = []
    configs: list[CounterfactualResult] = []
    marginal_contributions: dict[str, float | None] = {}
    """Banzhaf value: mean with the slot less mean without it, over the others' states."""
    interaction_effects: dict[str, float | None] = {}
    shapley_values: dict[str, float | None] | None = None
    note: str | None = None
    """What it was measured on, where that is less than everything: so many examples, some slots."""

    def values(self) -> dict[str, float | None]:
        """The metric rows: ``shapley/…``, ``marginal/…``, ``interaction/…``."""
        return {
            **_under("shapley", self.shapley_values or {}),
            **_under("marginal", self.marginal_contributions),
            **_under("interaction", self.interaction_effects),
        }


Snapshot = HostSnapshot | SlotSnapshot | PolicySnapshot | CounterfactualMatrix
"""The contracts of tier 2."""


def _under(prefix: str, values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {f"{prefix}/{name}": value for name, value in _floats(values).items()}


def _floats(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Counts and truth values as floats: a row holds one kind of number."""
    return {name: None if value is None else float(value) for name, value in values.items()}


def _numbers(parts: RewardComponents | None) -> dict[str, float | None]:
    """The numbers among the parts, but for the total, which stands beside them."""
    named = {} if parts is None else msgspec.structs.asdict(parts)
    return {k: v for k, v in named.items() if k not in ("total_reward", "action_name")}
