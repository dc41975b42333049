"""The effects of a study, from its trials and the points that were measured on their models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from orchestrator.effects.effect import EffectTable, StudyEffects
from orchestrator.effects.removal import Scale, Subject, arm_effects, subject_effects
from orchestrator.error_share import judged_rule
from orchestrator.study_file import Factorial

if TYPE_CHECKING:
    from orchestrator.planning import Plan, PlannedTrial
    from orchestrator.study import Study
    from orchestrator.trials import Trial

NOT_HOST_ONLY = (
    "All off in a trained model is not the model that was trained without: what is left of it grew "
    "used to what is switched off."
)
NO_RULE = "No causal effects: the study states no rule, so no metric (add a 'verdict:' part)."


def effects_of(study: Study, plan: Plan) -> StudyEffects | None:
    """All effects that the study asks for; None if its design asks for none."""
    design = study.file.design
    if not isinstance(design, Factorial):
        return None
    notes = []
    causal = None
    if design.factors:
        causal = _causal(study, plan, design)
        notes += [] if causal else [NO_RULE]
    removal, single = [], []
    for members in _by_arm(_subjects(study, plan)).values():
        factors = tuple(study.workload.switches(members[0][0].config))
        models = [subject for _, subject in members]
        if design.removal is None or not factors:
            continue
        scale = _scale(study, models)
        alone = [
            (one.trial, subject_effects(design.removal, one, factors, scale)) for one in models
        ]
        single += alone
        several = len(models) > 1
        removal.append(
            arm_effects(design.removal, models, factors, scale) if several else alone[0][1]
        )
    if causal is not None and removal:
        notes.append(NOT_HOST_ONLY)
    return StudyEffects(causal, tuple(removal), tuple(single), tuple(notes))


def trial_effects(study: Study, item: PlannedTrial) -> EffectTable | None:
    """Removal costs of one trial's model; None if the study asks for none of it."""
    design = study.file.design
    if not isinstance(design, Factorial) or design.removal is None:
        return None
    subject = _subject(study, item)
    if subject is None:
        return None
    factors = tuple(study.workload.switches(item.trial.config))
    return subject_effects(design.removal, subject, factors, _scale(study, [subject]))


def _causal(study: Study, plan: Plan, design: Factorial) -> EffectTable | None:
    rule = judged_rule(study.file)
    if rule is None:
        return None
    from orchestrator.effects.causal import causal_effects
    from orchestrator.factorial import coalition_arms
    from orchestrator.judging import evidence

    named = coalition_arms(design)
    return causal_effects(design, named, evidence(study, plan), rule)


def _subjects(study: Study, plan: Plan) -> list[tuple[Trial, Subject]]:
    found = [(item.trial, _subject(study, item)) for item in plan.trials]
    return [(trial, subject) for trial, subject in found if subject is not None]


def _subject(study: Study, item: PlannedTrial) -> Subject | None:
    """The model of a trial; None if nothing is asked of it."""
    from orchestrator.evaluation.tables import asked_points, point_table

    trial = item.trial
    if not asked_points(study, trial):
        return None
    if item.record.outcome is None:
        why = f"its trial is {item.state}: there is no model yet"
        return Subject(trial.identity, trial.arm, trial.seed, None, why)
    return Subject(trial.identity, trial.arm, trial.seed, point_table(study, trial))


def _by_arm(
    subjects: Sequence[tuple[Trial, Subject]],
) -> dict[str, list[tuple[Trial, Subject]]]:
    arms: dict[str, list[tuple[Trial, Subject]]] = {}
    for trial, subject in subjects:
        arms.setdefault(trial.arm, []).append((trial, subject))
    return arms


def _scale(study: Study, subjects: Sequence[Subject]) -> Scale:
    """Of the rule; unit and direction are the workload's where it is another metric's."""
    rule = judged_rule(study.file)
    known = [one.table.score_metric for one in subjects if one.table is not None]
    metric = next((name for name in known if name is not None), None)
    if rule is not None and metric in (None, rule.metric):
        return Scale(rule.unit, rule.direction, rule.confidence, rule.screen_seeds, rule.full_seeds)
    told = study.workload.metrics.get(metric or "")
    falls = told is not None and told.higher_is_better is False
    unit = told.unit if told is not None else ""
    direction: Literal["higher", "lower"] = "lower" if falls else "higher"
    if rule is None:
        return Scale(unit, direction)
    return Scale(unit, direction, rule.confidence, rule.screen_seeds, rule.full_seeds)
