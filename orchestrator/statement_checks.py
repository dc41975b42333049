"""What `alarms`, `claims` and `endpoints` of a study file cannot mean, refused before a trial runs;
and what a plan says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from orchestrator.arms import arms_of
from orchestrator.counted import counted
from orchestrator.endpoints.planned import check_shared_seeds, endpoint_notes
from orchestrator.endpoints.rule import compared_arms
from orchestrator.error_share import judged_alarms, share_notes, shared_confidence
from orchestrator.errors import UsageError, unknown
from orchestrator.next_step_names import check_next_steps
from orchestrator.study_file import AlarmRule, Fractions, Search, StudyFile

if TYPE_CHECKING:
    from collections.abc import Collection

    from orchestrator.trials import Trial

WHY_NOT = {
    "fractions": "measures finished models at points, and its questions stand in design.questions",
    "search": "chooses its trials as it goes, so that their figures are chosen too",
}

ASKS_OF = {"alarms": "the steps", "claims": "the steps", "endpoints": "the scores"}


def check_statements(
    file: StudyFile,
    final_metrics: Collection[str],
    columns: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> None:
    """Refuses alarms, claims, endpoints and next steps that name what is not there. Raises
    `UsageError`.

    Args:
        final_metrics: names of metrics that trials end with.
        columns: of their scores, by split; empty where the workload does not declare them.
    """
    check_next_steps(file)
    given = [name for name in ASKS_OF if getattr(file, name)]
    if not given:
        return
    if isinstance(file.design, Fractions | Search):
        kind = file.design.kind
        raise UsageError(
            f"'{given[0]}' asks of {ASKS_OF[given[0]]} of trials, and the design {kind} "
            f"{WHY_NOT[kind]}. Use configurations, grid or factorial, or leave it out."
        )
    arms = [arm.name for arm in arms_of(file.design)]
    for name, claim in file.claims.items():
        if claim.arm not in arms:
            raise UsageError(unknown(f"arm in claims.{name}", claim.arm, arms))
        _check_column(f"claims.{name}", claim.split, claim.column, columns)
    for name, endpoint in file.endpoints.items():
        for arm in (endpoint.against, *endpoint.arms):
            if arm not in arms:
                raise UsageError(unknown(f"arm in endpoints.{name}", arm, arms))
        if not compared_arms(endpoint, arms):
            raise UsageError(
                f"endpoints.{name} has no arm to compare: there is only {endpoint.against}. Add "
                "another."
            )
        _check_column(f"endpoints.{name}", endpoint.split, endpoint.column, columns)
    if file.alarms is not None:
        for name, signal in file.alarms.signals.items():
            _check_column(
                f"alarms.signals.{name}", file.alarms.split, signal.column, columns, "alarms"
            )
        _check_alarms(file.alarms, arms, final_metrics)


def _check_column(
    where: str, split: str, column: str, columns: Mapping[str, Sequence[str]], splits: str = ""
) -> None:
    if not columns:
        return
    if split not in columns:
        raise UsageError(unknown(f"split in {splits or where}", split, columns))
    if column not in columns[split]:
        raise UsageError(unknown(f"column in {where}", column, columns[split]))


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


def check_trials(file: StudyFile, trials: Sequence[Trial], fixed: Collection[str]) -> None:
    """Refuses what the trials of a study cannot answer. Raises `UsageError`.

    `fixed`: the arms that do not depend on the seed.
    """
    if file.alarms is not None:
        _check_healthy_runs(file.alarms, trials)
    check_shared_seeds(file.endpoints, trials, fixed)


def _check_healthy_runs(rule: AlarmRule, trials: Sequence[Trial]) -> None:
    """Healthy arms must be alike, and no run may both make a threshold and check it."""
    _check_alike(rule, trials)
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


def _check_alike(rule: AlarmRule, trials: Sequence[Trial]) -> None:
    one, other = (
        next((trial.document["config"] for trial in trials if trial.arm == arm), None)
        for arm in (rule.calibration, rule.unseen)
    )
    if one is None or other is None or one == other:
        return
    unlike = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    raise UsageError(
        f"alarms: the arms {rule.calibration} and {rule.unseen} differ in {', '.join(unlike)}: "
        "thresholds are made and checked on healthy runs of one configuration, which differ in "
        "nothing but their seeds. Give both the same overrides."
    )


def statement_notes(
    file: StudyFile, trials: Sequence[Trial], fixed: Collection[str] = ()
) -> Iterator[str]:
    """What a plan and a run say before they begin: runs that are too few for an answer.

    `fixed`: the arms that do not depend on the seed.
    """
    runs: dict[str, int] = {}
    for trial in trials:
        runs[trial.arm] = runs.get(trial.arm, 0) + 1
    yield from share_notes(file)
    if (rule := judged_alarms(file)) is not None:
        yield from _alarm_notes(rule, runs)
        yield from _shared_seeds(rule, trials)
    if file.claims:
        yield from _claim_notes(file, runs)
    if file.endpoints:
        yield from endpoint_notes(file, trials, fixed)


def statement_lines(file: StudyFile) -> Iterator[str]:
    """What a plan says of every claim and endpoint, a line each."""
    from orchestrator.claims.sentences import figure_words, range_text
    from orchestrator.endpoints.sentences import endpoint_words

    for name, one in file.claims.items():
        source = f" ({one.source})" if one.source else ""
        yield f"  claims {name}: {figure_words(one)} is {range_text(one.expected)}{source}"
    for name, endpoint in file.endpoints.items():
        yield f"  endpoints {endpoint_words(name, endpoint)}"


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
            f"alarms: too few healthy runs to calibrate ({', '.join(short)}): every arm that is "
            'not synthetic will be called "not calibrated"'
        )
    elif why := _unreachable(rule, runs.get(rule.unseen, 0)):
        yield why


def _unreachable(rule: AlarmRule, unseen: int) -> str:
    """Why the check could not even be passed without one false alarm; empty where it could."""
    least = 1 - (1 - rule.confidence) ** (1 / unseen) if unseen else 1.0
    if least <= rule.allowed:
        return ""
    return (
        f"alarms: {counted(unseen, 'unseen run')} cannot show a rate of at most {rule.allowed:g}: "
        f"without one false alarm its upper bound is {least:.2g}. Give {rule.unseen} more seeds, "
        "or allow more"
    )


def _shared_seeds(rule: AlarmRule, trials: Sequence[Trial]) -> Iterator[str]:
    """Arms with a fault that share seeds with the runs that make thresholds."""
    made = {trial.seed for trial in trials if trial.arm == rule.calibration}
    shared: dict[str, int] = {}
    for trial in trials:
        if trial.arm not in (rule.calibration, rule.unseen) and trial.seed in made:
            shared[trial.arm] = shared.get(trial.arm, 0) + 1
    if shared:
        counts = ", ".join(f"{arm} {count}" for arm, count in shared.items())
        yield (
            f"alarms: arms share seeds with {rule.calibration} ({counts}), so that their runs are "
            "not independent of its thresholds: fresh seeds are better"
        )


def _claim_notes(file: StudyFile, runs: dict[str, int]) -> Iterator[str]:
    from orchestrator.claims.judging import CONFIDENCE, FEW
    from orchestrator.statistics.over_runs import fewest_for_median

    each = 1 - (1 - shared_confidence(file, CONFIDENCE)) / len(file.claims)
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
        yield (
            f"claims on {', '.join(sorted(few))}: fewer than {FEW} runs, so that intervals are "
            "wide and what is found is a candidate, save of a count of runs"
        )
