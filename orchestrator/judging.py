"""From outcomes to a verdict: gathers the evidence of a study's trials and applies its rule."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from orchestrator.calibration.written import calibration_notes
from orchestrator.earlier import earlier_notes
from orchestrator.error_share import judged_rule, share_notes
from orchestrator.errors import DamagedFileError, UsageError
from orchestrator.planning import Plan, PlannedTrial
from orchestrator.score_files import read_scores
from orchestrator.searching import WINNER
from orchestrator.verdict import (
    ArmScores,
    ReplicateScores,
    Resolvable,
    Rule,
    Verdict,
    judge,
    smallest_resolvable,
)

if TYPE_CHECKING:
    import pandas as pd

    from orchestrator.statistics import Noise
    from orchestrator.study import Study

DEFAULT_SPLIT = "test"
ASSUMED_SEED_SD = 1.0
ASSUMED_QUESTION_SD = 22.0


def verdict_of(study: Study, plan: Plan | None = None) -> Verdict:
    """The study's rule applied to what is known. Raises `UsageError` for a study with no rule."""
    rule = _rule(study)
    plan = plan or study.plan()
    arms = evidence(study, plan)
    try:
        return judge(
            rule,
            arms,
            study=study.name,
            question=study.file.question,
            real_setting=_real_setting(study, plan),
            next_steps=study.file.next_steps,
            notes=(
                *earlier_notes(study),
                *calibration_notes(study),
                *share_notes(study.file),
            ),
        )
    except ValueError as error:
        raise UsageError(f"study '{study.name}', verdict: {error}") from error


def evidence(study: Study, plan: Plan) -> list[ArmScores]:
    """Every arm with its replicates, planned ones included; a search's proposals are left out."""
    rule = _rule(study)
    by_arm: dict[str, list[PlannedTrial]] = {}
    for item in plan.trials:
        if item.trial.role != "proposal":
            by_arm.setdefault(item.trial.arm, []).append(item)
    found = [
        ArmScores(
            arm=name,
            role=items[0].trial.role,  # type: ignore[arg-type]
            replicates=tuple(_replicate(study, rule, item) for item in items),
            factors=items[0].trial.factors,
            deterministic=study.workload.deterministic(items[0].trial.config),
        )
        for name, items in by_arm.items()
    ]
    if study.searching is not None and WINNER not in by_arm:  # the search goes on
        ahead = tuple(ReplicateScores(seed=seed) for seed in study.file.seeds)
        found.append(ArmScores(WINNER, "arm", ahead))
    return found


def _replicate(study: Study, rule: Rule, item: PlannedTrial) -> ReplicateScores:
    trial, outcome = item.trial, item.record.outcome
    failure = item.record.failure
    if outcome is None:
        return ReplicateScores(
            seed=trial.seed,
            trial_id=trial.identity,
            state=item.state,
            failure_kind=failure.kind if failure and item.state == "failed" else None,
        )
    report = rule.selection.report if rule.selection else DEFAULT_SPLIT
    select = rule.selection.split if rule.selection else None
    asked = study.workload.scored_units(trial.config)
    scores = _scores(study, item, report, rule.metric, asked)
    return ReplicateScores(
        seed=trial.seed,
        trial_id=trial.identity,
        state="done" if item.state == "running" else item.state,
        value=outcome.values().get(rule.metric),
        scores=scores.columns[rule.metric] if scores else None,
        units=scores.units if scores else None,
        clusters=scores.clusters if scores else None,
        flags=frozenset(outcome.flags),
        selection_value=_mean(_scores(study, item, select, rule.metric)) if select else None,
        code_digest=outcome.provenance.code_digest,
        device=outcome.provenance.device,
        ranks=outcome.provenance.ranks,
        dtype=getattr(trial.config, "precision", None),
    )


def _scores(
    study: Study, item: PlannedTrial, split: str, column: str, most: int | None = None
) -> Any:
    """One column of one split; of an outcome that was observed more widely, what is asked for."""
    outcome = item.record.outcome
    if outcome is None or outcome.scores is None:
        return None
    path = study.home.trial(item.trial.identity) / outcome.scores
    if not path.is_file():
        return None
    try:
        return read_scores(path, split, column, most, outcome.scores_digest)
    except DamagedFileError as error:
        from orchestrator.publishing import reproduce_command

        again = f"{reproduce_command(study)} --again {item.trial.identity[:8]}"
        raise DamagedFileError(f"{error} Run that trial again: {again}") from error


def _mean(scores: Any) -> float | None:
    if scores is None:
        return None
    ((_, column),) = scores.columns.items()
    known = [value for value in column if value is not None and value == value]
    return statistics.fmean(known) if known else None


def arm_table(study: Study, verdict: Verdict | None = None) -> pd.DataFrame:
    """One row per arm, controls last: n, mean, interval, difference, label, band, factors."""
    import pandas as pd

    verdict = verdict or verdict_of(study)
    rows = [
        {
            "arm": arm.arm,
            "role": arm.role,
            "n": arm.n,
            "mean": arm.mean,
            "ci_low": arm.ci_low,
            "ci_high": arm.ci_high,
            "delta": arm.delta,
            "delta_ci_low": arm.delta_ci_low,
            "delta_ci_high": arm.delta_ci_high,
            "label": arm.label,
            "band": arm.band,
            **arm.factors,
        }
        for arm in (*verdict.arms, *verdict.controls)
    ]
    return pd.DataFrame(rows)


def resolvable(study: Study, plan: Plan) -> tuple[Resolvable, str] | None:
    """What the study can resolve, and what noise that assumes; None without a rule, scores, or
    an arm that depends on the seed."""
    rule = judged_rule(study.file)
    arms = [arm for arm in plan.arms if arm.role == "arm"]
    if rule is None or not arms:
        return None
    units = study.workload.scored_units(study.maker.config(arms[0]))
    fixed = {t.arm for i in plan.trials if study.workload.deterministic((t := i.trial).config)}
    seeds = [len(arm.seeds or study.file.seeds) for arm in arms if arm.name not in fixed]
    if units is None or not seeds:
        return None
    noise, source = _noise(study, plan)
    return smallest_resolvable(rule, min(seeds), units, noise, len(arms)), source


def _noise(study: Study, plan: Plan) -> tuple[Noise, str]:
    from orchestrator.statistics import Noise, align, measured_noise, scored_questions

    done = _two_seeds(evidence(study, plan)) if plan.known else []
    scored = [
        [scored_questions(r.scores, r.units, r.clusters) for r in arm.done() if r.scores]
        for arm in done
    ]
    aligned = align([arm for arm in scored if len(arm) > 1]) if scored else None
    if aligned is not None and aligned.questions:
        measured = measured_noise(aligned.arms, aligned.questions)
        if measured is not None:
            return measured, f"measured on {len(done)} arms of this study"
    assumed = Noise(ASSUMED_SEED_SD, 0.0, ASSUMED_QUESTION_SD)
    return assumed, (
        f"assumed: seed SD {ASSUMED_SEED_SD:g}, question SD {ASSUMED_QUESTION_SD:g} "
        "until two arms have two seeds"
    )


def _two_seeds(arms: Iterable[ArmScores]) -> list[ArmScores]:
    return [arm for arm in arms if arm.role != "control" and len(arm.done()) > 1]


def _rule(study: Study) -> Rule:
    rule = judged_rule(study.file)
    if rule is None:
        raise UsageError(
            f"Study '{study.name}' states no decision rule: add a 'verdict:' part (orrery schema)."
        )
    return rule


def _real_setting(study: Study, plan: Plan) -> bool:
    return bool(plan.trials) and study.workload.real_setting(plan.trials[0].trial.config)
