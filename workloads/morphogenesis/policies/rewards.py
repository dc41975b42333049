"""What an epoch was worth: the reward of a decision, in the parts it is the sum of.

Formulas: the origin's contribution mode. Points are percentage points of validation accuracy. The
origin rewarded one slot; here each part is the sum over the slots, and what describes a single
slot (its contribution, its stage) is that of the action's slot, or of the only one that grows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from telemetry.contracts import STAGES, RewardComponents
from workloads.morphogenesis.policies.masks import CULL, CULLABLE, FOSSILIZE, GERMINATE, WAIT
from workloads.morphogenesis.view import Decision, EpisodeView, SlotView

GAMMA = 0.995
"""Discount in the potential's difference, whatever the learner's own."""
POTENTIAL_WEIGHT = 0.3
POTENTIAL_BY_STAGE = {
    "GERMINATED": 1.0, "TRAINING": 2.0, "BLENDING": 3.5, "SHADOWING": 4.5, "PROBATIONARY": 5.5,
    "FOSSILIZED": 6.0,
}  # fmt: skip
COSTS = {GERMINATE: -0.02, FOSSILIZE: -0.01, CULL: -0.005}
CONTRIBUTING_POINTS = 1.0
"""A fossilised seed that contributes this much is one that was worth it."""
ROLLBACK_PENALTY = -10.0

PARTS = (
    "bounded_attribution", "ratio_penalty", "compute_rent", "blending_warning",
    "probation_warning", "pbrs_bonus", "action_shaping", "terminal_bonus",
    "fossilize_terminal_bonus", "rollback_penalty",
)  # fmt: skip
"""The fields of `RewardComponents` whose sum is the total; the others say what they came from."""


@dataclass(frozen=True)
class Attribution:
    """What a slot's seed is credited with. `value` is discounted and without the penalty."""

    value: float
    discount: float
    ratio_penalty: float


def attribution(
    contribution: float | None,
    progress: float | None,
    improvement: float | None,
    accuracy_gain: float | None,
) -> Attribution:
    """Credit for a contribution, bounded by the progress that was really made.

    Args:
        contribution: accuracy with the seed less accuracy without, points.
        progress: accuracy now less accuracy at germination; None if the latter is unknown.
        improvement: total improvement since germination; its being negative discounts the credit.
        accuracy_gain: of this epoch, or the seed's share of it; stands in, at 0.3, where no
            contribution was measured.
    """
    if contribution is None:
        return Attribution(0.3 * max(0.0, accuracy_gain or 0.0), 1.0, 0.0)
    if contribution < 0:
        bounded = contribution
    elif progress is None:
        bounded = contribution / 2
    elif progress <= 0:
        bounded = 0.0
    elif contribution >= progress:
        bounded = math.sqrt(progress * contribution)
    else:
        bounded = contribution
    discount = discount_of(improvement)
    penalty = 0.0
    if contribution > 1 and discount >= 0.5 and improvement is not None:
        if improvement <= 0.1:
            penalty = -0.3 * min(1.0, contribution / 10)
        elif contribution / improvement > 5:
            penalty = -min(0.3, 0.1 * (contribution / improvement - 5) / 5)
    return Attribution(bounded * discount, discount, penalty)


def discount_of(improvement: float | None) -> float:
    """1 / (1 + e^(-10 D)) for D < 0, else 1."""
    if improvement is None or improvement >= 0:
        return 1.0
    return 1 / (1 + math.exp(min(-10 * improvement, 700.0)))


def rent(growth_ratio: float) -> float:
    """Of seeds that have `growth_ratio` parameters for each of the host's."""
    return -min(0.5 * math.log1p(growth_ratio), 8.0)


def blending_warning(slot: SlotView) -> float:
    """For a seed that is blended in although accuracy fell since it was planted."""
    if slot.stage != "BLENDING" or slot.total_improvement is None or slot.total_improvement >= 0:
        return 0.0
    return -0.1 - min(0.05 * slot.epochs_in_stage, 0.3)


def probation_warning(slot: SlotView, credit: float) -> float:
    """For letting a good seed wait on probation: three times as much each epoch, up to 10."""
    if slot.stage != "PROBATIONARY" or slot.epochs_in_stage < 2 or credit <= 0:
        return 0.0
    return -min(10.0, 3.0 ** min(slot.epochs_in_stage - 2, 9))


def potential(slot: SlotView) -> float:
    """How far a seed has come: by stage, and a little by the time in it."""
    base = POTENTIAL_BY_STAGE.get(slot.stage)
    return 0.0 if base is None else base + min(0.3 * slot.epochs_in_stage, 2.0)


def fossilise_shaping(slot: SlotView) -> float:
    """For keeping a seed for good: by what it contributes, and by how long that was looked at."""
    contribution, improvement = slot.contribution, slot.total_improvement
    if improvement is not None and improvement < 0:
        ransom = contribution is not None and contribution > 0.1 and improvement < -0.2
        return -0.5 - min(0.2 * abs(improvement), 1.0) - (0.3 if ransom else 0.0)
    if contribution is None or contribution < CONTRIBUTING_POINTS:
        return -0.2
    return (0.5 + 0.1 * contribution) * min(1.0, slot.epochs_in_stage / 5)


def cull_shaping(slot: SlotView) -> float:
    """For removing a seed: good if it did harm. Nothing where its contribution is unknown."""
    contribution = slot.contribution
    if contribution is None:
        return 0.0
    if contribution < -0.5:
        return 0.3
    return 0.1 if contribution < 0 else -0.3 - 0.05 * contribution


def growth_ratio(view: EpisodeView) -> float:
    """Parameters of the seeds that are there, for each parameter of the host."""
    return sum(slot.seed_params for slot in view.slots) / view.host_params


def reward(
    before: EpisodeView,
    decision: Decision,
    after: EpisodeView,
    *,
    success: bool | None = None,
    rolled_back: bool = False,
) -> RewardComponents:
    """The reward of `decision`, made in front of an epoch, seen from behind it.

    The slot that was acted on is judged by what was known `before` (a culled seed is gone
    afterwards), the others by what was measured `after`. `success`: whether the action took
    effect; None finds out from the views. Of several actions of a schedule only the first counts.
    """
    action = decision.action
    op = action.op
    acted = next((slot for slot in before.slots if slot.name == action.slot), None)
    if success is None:
        success = _took_effect(op, action.slot, after)
    accuracy = _last(after)
    gain = None if accuracy is None or (last := _last(before)) is None else accuracy - last
    afterwards = {slot.name: slot for slot in after.slots}

    unmeasured = sum(s.stage in CULLABLE and s.contribution is None for s in after.slots)
    share_of_gain = None if gain is None else gain / max(unmeasured, 1)

    credit = penalty = blending = probation = progress_to = 0.0
    discounts: dict[str, float] = {}
    for slot in before.slots:
        later = afterwards[slot.name]
        progress_to += GAMMA * potential(later) - potential(slot)
        judged = slot if acted is slot and op in (CULL, FOSSILIZE) else later
        if judged.stage not in CULLABLE:
            continue
        share = attribution(
            judged.contribution,
            _progress(judged, _last(before) if judged is slot else accuracy),
            judged.total_improvement,
            share_of_gain,
        )
        sign = _sign(op, acted is slot, judged)
        discounts[slot.name] = share.discount
        credit += sign * share.value
        penalty += sign * share.ratio_penalty
        blending += blending_warning(judged)
        if op == WAIT:
            probation += probation_warning(slot, share.value)
    shaping = COSTS.get(op, 0.0) if success else 0.0
    if acted is not None and success and op == FOSSILIZE:
        shaping += fossilise_shaping(acted)
    if acted is not None and success and op == CULL:
        shaping += cull_shaping(acted)

    fossils = [slot for slot in after.slots if slot.stage == "FOSSILIZED"]
    worth = [slot for slot in fossils if (slot.contribution or 0.0) >= CONTRIBUTING_POINTS]
    last_epoch = after.epoch >= after.max_epochs
    parts = {
        "bounded_attribution": credit,
        "ratio_penalty": penalty,
        "compute_rent": rent(growth_ratio(after)),
        "blending_warning": blending,
        "probation_warning": probation,
        "pbrs_bonus": POTENTIAL_WEIGHT * progress_to,
        "action_shaping": shaping,
        "terminal_bonus": 0.05 * (accuracy or 0.0) if last_epoch else 0.0,
        "fossilize_terminal_bonus": 3.0 * len(worth) if last_epoch else 0.0,
        "rollback_penalty": ROLLBACK_PENALTY if rolled_back else 0.0,
    }
    shown = acted or _only_growing(before)
    told = None if shown is None else shown if op in (CULL, FOSSILIZE) else afterwards[shown.name]
    return RewardComponents(
        **parts,
        stage_bonus=None,
        total_reward=math.fsum(parts.values()),
        base_acc_delta=gain,
        seed_contribution=None if told is None else told.contribution,
        progress_since_germination=None if told is None else _progress(told, accuracy),
        attribution_discount=None if shown is None else discounts.get(shown.name),
        num_fossilized_seeds=len(fossils),
        num_contributing_fossilized=len(worth),
        action_name=op,
        action_success=success,
        seed_stage=None if shown is None else STAGES.index(shown.stage),
        epoch=after.epoch,
        val_acc=accuracy,
        acc_at_germination=None if told is None else told.accuracy_at_germination,
        host_baseline_acc=(
            None
            if told is None or told.contribution is None or accuracy is None
            else accuracy - told.contribution
        ),
        growth_ratio=growth_ratio(after),
    )


def _sign(op: str, is_acted: bool, slot: SlotView) -> float:
    """Culling what is good costs what it is good for; keeping what did harm earns nothing."""
    if is_acted and op == CULL:
        return -1.0
    if is_acted and op == FOSSILIZE and (slot.total_improvement or 0.0) < 0:
        return 0.0
    return 1.0


def _took_effect(op: str, name: str | None, after: EpisodeView) -> bool:
    slot = next((slot for slot in after.slots if slot.name == name), None)
    if slot is None:
        return op == WAIT
    if op == FOSSILIZE:
        return slot.stage == "FOSSILIZED"
    return (slot.stage in CULLABLE) == (op == GERMINATE)


def _progress(slot: SlotView, accuracy: float | None) -> float | None:
    if slot.accuracy_at_germination is None or accuracy is None:
        return None
    return accuracy - slot.accuracy_at_germination


def _only_growing(view: EpisodeView) -> SlotView | None:
    growing = [slot for slot in view.slots if slot.stage in CULLABLE]
    return growing[0] if len(growing) == 1 else None


def _last(view: EpisodeView) -> float | None:
    return view.val_accuracies[-1] if view.val_accuracies else None
