"""The source's tests on the samples of a study, beside those that know of prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from workloads.phase_coupling.interventions.kept import Run
from workloads.phase_coupling.interventions.pictures import arms_of
from workloads.phase_coupling.interventions.source_tests import (
    Clustered,
    Correlation,
    Difference,
    Group,
    Variances,
    anova,
    cluster_anova,
    cluster_correlation,
    cluster_t,
    comparison_verdict,
    correlation_of,
    equal_variance_t,
    intervention_verdict,
    welch_anova,
    welch_t,
)
from workloads.views import SummaryTable

COMPARED: Final = ("entropy", "distinct_2", "repetition")
"""What the source compared with the model alone, beside the correlation of R and entropy."""
FORCED: Final = ("entropy", "distinct_2")
"""What it tested where it forced R."""
_SET: Final = ("target_r", "hold", "set_by")
"""What sets R."""
_NONE: Final = "n/a"
_FOR_COMPARISON: Final = "for comparison only: the endpoints are the answer"


@dataclass(frozen=True)
class Samples:
    """A column of an arm's samples with their prompts and R; samples of all seeds together."""

    arm: str
    values: Sequence[float]
    prompts: Sequence[str]
    r: Sequence[float | None]

    @classmethod
    def of(cls, arm: str, runs: Sequence[Run], column: str) -> Samples:
        """Those that were measured."""
        rows = [
            (value, prompt, r)
            for run in runs
            for value, prompt, r in zip(
                run.column("samples", column),
                run.clusters("samples"),
                run.column("samples", "r_mean"),
                strict=True,
            )
            if value is not None
        ]
        return cls(arm, [v for v, _, _ in rows], [p for _, p, _ in rows], [r for _, _, r in rows])

    @property
    def by_prompt(self) -> Clustered:
        """Prompt -> values."""
        found: dict[str, list[float]] = {}
        for value, prompt in zip(self.values, self.prompts, strict=True):
            found.setdefault(prompt, []).append(value)
        return found


@dataclass(frozen=True)
class Forced:
    """The tests of a metric over arms whose R was set: of one mode, and set in one way."""

    column: str
    arms: tuple[str, ...]
    source: Variances
    welch: Variances
    prompts: Variances | None
    pearson: Correlation | None
    """Of a sample's R and the metric."""
    pearson_prompts: Correlation | None

    @property
    def probabilities(self) -> tuple[float | None, float | None]:
        """Of the source's two tests."""
        return self.source.p, None if self.pearson is None else self.pearson.p


def references(runs: Sequence[Run]) -> dict[str, str]:
    """Arm -> the arm that it is compared with. Where R is set in some arms: the one that is the
    same but for a free R, and for that one the first of those. Else the one without oscillators."""
    arms = {arm: several[0] for arm, several in arms_of(runs).items()}
    without = next((arm for arm, run in arms.items() if run.config("mode") == "off"), None)
    if all(run.config("target_r") is None for run in arms.values()):
        return {arm: without for arm in arms if without is not None and arm != without}
    free: dict[str, str] = {}
    for arm, run in arms.items():
        if run.config("target_r") is None and run.config("mode") != "off":
            free.setdefault(_apart_from(run, *_SET), arm)
    main = next((arm for arm in free.values() if arms[arm].config("mode") == "modulate"), None)
    return {
        arm: against
        for arm, run in arms.items()
        if (against := main if arm in free.values() else free.get(_apart_from(run, *_SET), main))
        and against != arm
    }


def _apart_from(run: Run, *fields: str) -> str:
    """The rest of a configuration: runs that share it differ in these fields alone."""
    rest = {name: value for name, value in run.trial.config.items() if name not in fields}
    return json.dumps(rest, sort_keys=True)


def comparison_table(runs: Sequence[Run]) -> SummaryTable | None:
    """Each arm's samples against another's, as the source tested them and over prompts; None where
    there is nothing to compare."""
    arms = arms_of(runs)
    rows = [
        row
        for arm, reference in references(runs).items()
        for row in _against(arm, arms[arm], reference, arms[reference])
    ]
    if not rows:
        return None
    return SummaryTable(
        f"Samples of two arms, tested as the source did ({_FOR_COMPARISON}). Over prompts: each "
        "prompt counts once",
        (
            "arm", "against", "of", "difference", "95 %, equal variances", "p", "p, Welch",
            "95 %, over prompts", "p, over prompts", "by the source's rule",
        ),
        tuple(rows),
        frozenset(range(3, 9)),
    )  # fmt: skip


def _against(
    arm: str, mine: Sequence[Run], reference: str, theirs: Sequence[Run]
) -> list[tuple[str, ...]]:
    """A row per metric; the first ends with the source's verdict over its four tests."""
    tested: list[tuple[str, Difference, Difference, Difference | None]] = []
    same = True
    for column in COMPARED:
        a, b = Samples.of(arm, mine, column), Samples.of(reference, theirs, column)
        same = same and a.values == b.values
        if len(a.values) < 2 or len(b.values) < 2:
            return []
        first, second = Group.of(a.values), Group.of(b.values)
        source, welch = equal_variance_t(first, second), welch_t(first, second)
        tested.append((column, source, welch, cluster_t(a.by_prompt, b.by_prompt)))
    related = _pearson(Samples.of(arm, mine, "entropy"))[0]
    said = comparison_verdict(
        [*(source.p for _, source, _, _ in tested), None if related is None else related.p]
    ) + ("; the samples are the same" if same else "")
    return [
        (
            arm if number == 0 else "",
            reference if number == 0 else "",
            column.replace("_", "-"),
            f"{source.value:+.4f}",
            _ends(source),
            probability(source.p),
            probability(welch.p),
            _ends(prompts),
            probability(None if prompts is None else prompts.p),
            said if number == 0 else "",
        )
        for number, (column, source, welch, prompts) in enumerate(tested)
    ]


def forced_tests(runs: Sequence[Run]) -> list[list[Forced]]:
    """By group of arms whose R was set in one way, the tests of each metric in `FORCED`."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.config("target_r") is not None:
            groups.setdefault(_apart_from(run, "target_r"), []).append(run)
    found = []
    for several in groups.values():
        arms = arms_of(several)
        if len(arms) > 1:
            tested = [_forced(arms, column) for column in FORCED]
            found.append([one for one in tested if one is not None])
    return [one for one in found if one]


def _forced(arms: dict[str, list[Run]], column: str) -> Forced | None:
    samples = [Samples.of(arm, runs, column) for arm, runs in arms.items()]
    if any(len(one.values) < 2 for one in samples):
        return None
    groups = [Group.of(one.values) for one in samples]
    together = Samples(
        "",
        [value for one in samples for value in one.values],
        [prompt for one in samples for prompt in one.prompts],
        [r for one in samples for r in one.r],
    )
    return Forced(
        column,
        tuple(arms),
        anova(groups),
        welch_anova(groups),
        cluster_anova([one.by_prompt for one in samples]),
        *_pearson(together),
    )


def forced_table(groups: Sequence[Sequence[Forced]]) -> SummaryTable | None:
    """Analyses of variance and correlations over arms with set R; None without any."""
    rows = []
    for group in groups:
        said = intervention_verdict([p for one in group for p in one.probabilities])
        for number, one in enumerate(group):
            rows.append(
                (
                    ", ".join(one.arms) if number == 0 else "",
                    one.column.replace("_", "-"),
                    _variances(one.source),
                    probability(one.source.p),
                    probability(one.welch.p),
                    probability(one.prompts.p if one.prompts else None),
                    _correlation(one.pearson),
                    probability(one.pearson.p if one.pearson else None),
                    _correlation(one.pearson_prompts),
                    said if number == 0 else "",
                )
            )
    if not rows:
        return None
    return SummaryTable(
        f"Does a sample depend on R, tested as the source did ({_FOR_COMPARISON})",
        (
            "arms", "of", "ANOVA", "p", "p, Welch", "p, over prompts", "Pearson with R, 95 %", "p",
            "95 %, over prompts", "by the source's rule",
        ),
        tuple(rows),
        frozenset(range(2, 9)),
    )  # fmt: skip


def probability(p: float | None) -> str:
    """As text; "n/a" where nothing was tested."""
    if p is None:
        return _NONE
    return f"{p:.3f}" if p >= 0.001 else "< .001"


def _pearson(samples: Samples) -> tuple[Correlation | None, Correlation | None]:
    """Of R and the metric, over samples and over prompts."""
    known = [
        (r, value, prompt)
        for r, value, prompt in zip(samples.r, samples.values, samples.prompts, strict=True)
        if r is not None
    ]
    if len(known) < 2:
        return None, None
    r, values, prompts = (list(column) for column in zip(*known, strict=True))
    return correlation_of(r, values), cluster_correlation(r, values, prompts)


def _ends(difference: Difference | None) -> str:
    if difference is None:
        return _NONE
    return f"[{difference.low:+.4f}, {difference.high:+.4f}]"


def _variances(found: Variances) -> str:
    if found.f is None:
        return _NONE
    return f"F({found.df_between:g}, {found.df_within:g}) = {found.f:.3f}"


def _correlation(found: Correlation | None) -> str:
    if found is None or found.low is None or found.high is None:
        return _NONE
    return f"{found.r:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
