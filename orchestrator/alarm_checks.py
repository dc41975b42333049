"""What `alarms` and `claims` of a study file cannot mean, refused before anything runs; and what a
plan says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from orchestrator.arms import arms_of
from orchestrator.counted import counted
from orchestrator.errors import UsageError, unknown
from orchestrator.study_file import AlarmRule, Fractions, Search, StudyFile

if TYPE_CHECKING:
    from collections.abc import Collection

    from orchestrator.trials import Trial

WHY_NOT = {
    "fractions": "measures finished models at points, and its questions stand in design.questions",
    "search": "chooses its trials as it goes, so that their figures are chosen too",
}


def check_statements(file: StudyFile, final_metrics: Collection[str]) -> None:
    """Refuses alarms and claims that name what is not there. Raises `UsageError`.

    Args:
        final_metrics: names of metrics that trials end with.
    """
    given = [name for name in ("alarms", "claims") if getattr(file, name)]
    if not given:
        return
    if isinstance(file.design, Fractions | Search):
        kind = file.design.kind
        raise UsageError(
            f"'{given[0]}' asks of the steps of trials, and the design {kind} {WHY_NOT[kind]}. "
            "Use configurations, grid or factorial, or leave it out."
        )
    arms = [arm.name for arm in arms_of(file.design)]
    for name, claim in file.claims.items():
        if claim.arm not in arms:
            raise UsageError(unknown(f"arm in claims.{name}", claim.arm, arms))
    if file.alarms is not None:
        _check_alarms(file.alarms, arms, final_metrics)


def _check_alarms(rule: AlarmRule, arms: Sequence[str], metrics: Collection[str]) -> None:
    named = {"calibration": [rule.calibration], "unseen": [rule.unseen]}
    for part, names in {**named, "synthetic": rule.synthetic}.items():
        for name in names:
            if name not in arms:
                raise UsageError(unknown(f"arm in alarms.{part}", name, arms))
    healthy = {rule.calibration, rule.unseen}
    if both := healthy & set(rule.synthetic):
        raise UsageError(
            f"alarms.synthetic names '{min(both)}', which is a healthy arm: thresholds are made "
            "and checked on runs that are what they seem."
        )
    if not set(arms) - healthy:
        raise UsageError(
            f"alarms has no arm to ask of: there are only {rule.calibration} and {rule.unseen}, "
            "which make and check thresholds. Add one with a fault."
        )
    if rule.onset is not None and rule.onset not in metrics:
        raise UsageError(unknown("alarms.onset", rule.onset, metrics))


def check_healthy_runs(rule: AlarmRule | None, trials: Sequence[Trial]) -> None:
    """Refuses runs that would both make a threshold and check it. Raises `UsageError`."""
    if rule is None:
        return
    made, checked = (
        {trial.identity: trial.seed for trial in trials if trial.arm == arm}
        for arm in (rule.calibration, rule.unseen)
    )
    if both := made.keys() & checked.keys():
        seeds = sorted(made[identity] for identity in both)
        more = f" and {len(seeds) - 1} more" if len(seeds) > 1 else ""
        raise UsageError(
            f"alarms: the arms {rule.calibration} and {rule.unseen} share "
            f"{counted(len(both), 'run')} (seed {seeds[0]}{more}): thresholds must be checked on "
            "runs that did not make them. Give one of them other seeds, such as seeds: 1000-1199."
        )


def statement_notes(file: StudyFile, trials: Sequence[Trial]) -> Iterator[str]:
    """What a plan and a run say before they begin: runs that are too few for an answer."""
    runs: dict[str, int] = {}
    for trial in trials:
        runs[trial.arm] = runs.get(trial.arm, 0) + 1
    if file.alarms is not None:
        yield from _alarm_notes(file.alarms, runs)
    if file.claims:
        yield from _claim_notes(file, runs)


def claim_lines(file: StudyFile) -> Iterator[str]:
    """What a plan says of every claim, a line each."""
    from orchestrator.claims.sentences import figure_words, range_text

    for name, one in file.claims.items():
        source = f" ({one.source})" if one.source else ""
        yield f"  claims {name}: {figure_words(one)} is {range_text(one.expected)}{source}"


def _alarm_notes(rule: AlarmRule, runs: dict[str, int]) -> Iterator[str]:
    from orchestrator.alarms.thresholds import FEWEST_CALIBRATION, FEWEST_UNSEEN

    yield (
        f"alarms: does {rule.first} alarm before {rule.than}? Thresholds from "
        f"{counted(runs.get(rule.calibration, 0), 'run')} of {rule.calibration}, checked on "
        f"{runs.get(rule.unseen, 0)} of {rule.unseen}"
    )
    short = [
        f"{arm} has {runs.get(arm, 0)} of {needed}"
        for arm, needed in ((rule.calibration, FEWEST_CALIBRATION), (rule.unseen, FEWEST_UNSEEN))
        if runs.get(arm, 0) < needed
    ]
    if short:
        yield (
            f"alarms: too few healthy runs to calibrate ({', '.join(short)}): every arm will be "
            'called "not calibrated"'
        )


def _claim_notes(file: StudyFile, runs: dict[str, int]) -> Iterator[str]:
    from orchestrator.claims.estimating import fewest_for_median
    from orchestrator.claims.judging import CONFIDENCE, FEW

    each = 1 - (1 - CONFIDENCE) / len(file.claims)
    needed = fewest_for_median(each)
    medians = [
        name
        for name, one in file.claims.items()
        if one.statistic == "median" and runs.get(one.arm, 0) < needed
    ]
    if medians:
        yield (
            f"claims {', '.join(medians)}: a median has no interval with so few runs, so "
            f"inconclusive; it takes {needed} of the arm"
        )
    few = {one.arm for one in file.claims.values() if runs.get(one.arm, 0) < FEW}
    if few:
        yield f"claims on {', '.join(sorted(few))}: fewer than {FEW} runs, so intervals are wide"
