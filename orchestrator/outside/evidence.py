"""From runs to what rules judge: arms with replicates, sides of endpoints, runs of claims."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError, unknown
from orchestrator.outside.columns import Columns
from orchestrator.outside.rule_file import OutsideRule, check_arms
from orchestrator.outside.runs import Runs, ScoredUnits
from orchestrator.outside.table import MISSING, Table
from orchestrator.verdict import ArmScores, ReplicateScores

if TYPE_CHECKING:
    from orchestrator.claims.gathering import ArmRuns
    from orchestrator.claims.rule import Claim
    from orchestrator.endpoints.pairing import Run, Side
    from orchestrator.verdict import Role

REPORTED = "test"
"""The split that a verdict speaks of where the rule names none."""
LOST = frozenset({"failed", "pruned"})
_NO = frozenset({"", "0", "false", "no"})


@dataclass(frozen=True, eq=False)
class Evidence:
    """A table read by the names that a rule uses."""

    table: Table
    columns: Columns
    rule: OutsideRule

    @cached_property
    def runs(self) -> Runs:
        runs = Runs(self.table, self.columns)
        check_arms(self.rule, runs.arms())
        return runs

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """Planned ones first, in the rule's order; proposals of a search are none."""
        there = [arm for arm in self.runs.arms() if self.role(arm) != "proposal"]
        listed = [arm for arm in self.rule.planned_arms if arm in there or self._planned(arm)]
        named = [arm for arm in self.rule.named_arms if self._planned(arm)]
        return tuple(dict.fromkeys([*listed, *there, *named]))

    def score_column(self, metric: str) -> str:
        """The column of a metric's scores: named after it, or `score` where one metric is asked."""
        if metric in self.columns.given:
            return self.columns.needed(metric, f"the metric '{metric}'")
        alone = len(self.rule.metrics) == 1 or self.columns.find("metric") is not None
        names = ("score", metric) if "score" in self.columns.given else (metric, "score")
        for name in names if alone else (metric,):
            column = self.columns.find(name)
            if column is not None:
                return column
        meant = "score" if alone else metric
        raise UsageError(
            f"'{self.table.source}' has no column '{metric}'{' or score' if alone else ''}: "
            + unknown("column", metric, self.table.columns)
            + f" If one of them holds the scores: --column {meant}=COLUMN."
        )

    def split(self, wanted: str) -> str | None:
        """Which rows count: all, where no column says the split."""
        splits = self.runs.splits()
        if not splits:
            return None
        if wanted in splits:
            return wanted
        if "split" in self.columns.given or len(splits) > 1:
            raise UsageError(f"'{self.table.source}': " + unknown("split", wanted, splits))
        return splits[0]

    def role(self, arm: str) -> str:
        """What the rule says, else what the table does, else an arm like any other."""
        if arm in self.rule.roles:
            return self.rule.roles[arm]
        told = self._told_roles.get(arm, "")
        verdict = self.rule.file.verdict
        if verdict is not None and arm == verdict.comparator:
            return told or "comparator"
        return told or "arm"

    @property
    def reported(self) -> str:
        """The split that a verdict speaks of."""
        rule = self.rule.file.verdict
        return rule.selection.report if rule is not None and rule.selection else REPORTED

    def means(self, metric: str, split: str) -> list[float | None]:
        """Of each run what it scored in the mean; None where nothing was measured."""
        found = self.scores_of(metric, split)
        return [None if one is None else _mean(one.values) for one in found]

    def verdict_arms(self) -> list[ArmScores]:
        """What the verdict's rule judges."""
        rule = self.rule.file.verdict
        assert rule is not None
        found = self._replicates()
        factors = dict(zip(self.runs.keys, self.runs.factors(), strict=True))
        by_arm: dict[str, list[ReplicateScores]] = {arm: [] for arm in self.arms}
        for (arm, _), replicate in zip(self.runs.keys, found, strict=True):
            if arm in by_arm:
                by_arm[arm].append(replicate)
        return [
            ArmScores(
                arm=arm,
                role=self.role(arm),  # type: ignore[arg-type]
                replicates=(*there, *(ReplicateScores(seed) for seed in self.missing(arm))),
                factors=factors[arm, there[0].seed] if there else {},
                deterministic=arm in self.deterministic,
            )
            for arm, there in by_arm.items()
        ]

    @cached_property
    def deterministic(self) -> frozenset[str]:
        told = self.runs.said("deterministic")
        by_table = {
            arm
            for (arm, _), text in zip(self.runs.keys, told, strict=True)
            if text.lower() not in _NO
        }
        return self.rule.deterministic | by_table

    def missing(self, arm: str) -> list[int]:
        """Planned seeds of an arm that the results lack."""
        planned = self._planned(arm)
        there = [seed for one, seed in self.runs.keys if one == arm]
        if arm in self.deterministic:
            return [] if there else list(planned[:1])
        return [seed for seed in planned if seed not in there]

    def added(self) -> dict[str, list[int]]:
        """Seeds of arms that the rule did not plan, by arm."""
        found: dict[str, list[int]] = {}
        for arm, seed in self.runs.keys:
            planned = self._planned(arm)
            if planned and seed not in planned and arm not in self.deterministic:
                found.setdefault(arm, []).append(seed)
        return found

    def pending(self) -> str:
        """How far the planned runs are, empty once all have ended."""
        mine = [
            s for (arm, _), s in zip(self.runs.keys, self._states, strict=True) if arm in self.arms
        ]
        ended = sum(state in LOST or state == "done" for state in mine)
        total = len(mine) + sum(len(self.missing(arm)) for arm in self.arms)
        return "" if ended == total else f"{ended} of {total} trials have ended"

    def sides(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Side]]:
        """Every endpoint's arms, by its name."""
        return {name: self._sides(name, arms) for name, arms in wanted.items()}

    def claim_runs(self, claim: Claim) -> ArmRuns:
        """Every run of a claim's arm."""
        from orchestrator.claims.gathering import ArmRuns, run_figure

        scores = self.scores_of(claim.column, claim.split)
        mine = [run for run, key in enumerate(self.runs.keys) if key[0] == claim.arm]
        done = [run for run in mine if self._states[run] == "done"]
        lost = sum(self._states[run] in LOST for run in mine)
        figures = tuple(
            run_figure(self.runs.keys[run][1], _measured(scores[run]), claim) for run in done
        )
        waiting = len(mine) - len(done) - lost + len(self.missing(claim.arm))
        return ArmRuns(figures, lost, waiting, self.role(claim.arm) == "control")

    # -- parts ------------------------------------------------------------------------------------

    def _planned(self, arm: str) -> tuple[int, ...]:
        return self.rule.planned(arm) or ()

    @cached_property
    def _states(self) -> list[str]:
        return self.runs.states()

    @cached_property
    def _told_roles(self) -> dict[str, Role]:
        told: dict[str, Role] = {}
        valid = ("arm", "control", "baseline", "comparator", "proposal")
        for (arm, _), role in zip(self.runs.keys, self.runs.said("role"), strict=True):
            if role and role not in valid:
                raise UsageError(f"'{self.table.source}', {arm}: {unknown('role', role, valid)}")
            if role:
                told[arm] = role  # type: ignore[assignment]
        return told

    def scores_of(self, metric: str, split: str) -> list[ScoredUnits | None]:
        """What each run scored of a metric in a split."""
        asked = self.score_column(metric), metric, self.split(split)
        if asked not in self._read:
            self._read[asked] = self.runs.scores(*asked)
        return self._read[asked]

    @cached_property
    def _read(self) -> dict[tuple[str, str, str | None], list[ScoredUnits | None]]:
        """Scores by what was asked for."""
        return {}

    def _replicates(self) -> list[ReplicateScores]:
        rule = self.rule.file.verdict
        assert rule is not None
        scores = self.scores_of(rule.metric, self.reported)
        chosen_by = self._chosen_by()
        said = {
            name: self.runs.said(name)
            for name in ("trial", "flags", "failure", "code", "device", "dtype", "ranks")
        }
        return [
            replace(
                _scored(seed, self._states[run], scores[run]),
                trial_id=said["trial"][run],
                flags=_flags(said["flags"][run]),
                failure_kind=said["failure"][run].partition(":")[0].strip() or None,
                selection_value=chosen_by[run],
                code_digest=said["code"][run] or None,
                device=said["device"][run] or None,
                dtype=said["dtype"][run] or None,
                ranks=_whole(said["ranks"][run]),
            )
            for run, (_, seed) in enumerate(self.runs.keys)
        ]

    def _chosen_by(self) -> list[float | None]:
        """What each run scored on the split that chooses a best configuration."""
        rule = self.rule.file.verdict
        nothing: list[float | None] = [None] * len(self.runs.keys)
        if rule is None or rule.selection is None:
            return nothing
        column = self.columns.find("selection")
        if column is not None:
            told = self.runs.scores(column, rule.metric, self.split(rule.selection.report))
        elif rule.selection.split in self.runs.splits():
            column = self.score_column(rule.metric)
            told = self.runs.scores(column, rule.metric, rule.selection.split)
        else:
            return nothing
        return [None if one is None else _mean(one.values) for one in told]

    def _sides(self, name: str, arms: Sequence[str]) -> dict[str, Side]:
        from orchestrator.endpoints.pairing import Side

        endpoint = self.rule.file.endpoints[name]
        scores = self.scores_of(endpoint.column, endpoint.split)
        failures = self.runs.said("failure")
        flags = self.runs.said("flags")
        found = {}
        for arm in arms:
            mine = [run for run, key in enumerate(self.runs.keys) if key[0] == arm]
            done = [run for run in mine if self._states[run] == "done"]
            lost = [run for run in mine if self._states[run] in LOST]
            missing = self.missing(arm)
            found[arm] = Side(
                arm=arm,
                runs=tuple(
                    _side_run(self.runs.keys[run][1], scores[run], "diverged" in flags[run].split())
                    for run in done
                ),
                seeds=(*(self.runs.keys[run][1] for run in mine), *missing),
                failures=tuple(
                    failures[run].partition(":")[0].strip() or self._states[run] for run in lost
                ),
                waiting=len(mine) - len(done) - len(lost) + len(missing),
                deterministic=arm in self.deterministic,
                control=self.role(arm) == "control",
            )
        return found


def _scored(seed: int, state: str, scores: ScoredUnits | None) -> ReplicateScores:
    if scores is None or state != "done":
        return ReplicateScores(seed=seed, state=state)
    if scores.units is None:
        value = scores.values[0]
        return ReplicateScores(seed=seed, state=state, value=None if math.isnan(value) else value)
    return ReplicateScores(
        seed=seed,
        state=state,
        scores=_measured(scores),
        units=scores.units,
        clusters=scores.clusters,
    )


def _side_run(seed: int, scores: ScoredUnits | None, diverged: bool) -> Run:
    from orchestrator.endpoints.pairing import Run

    if scores is None:
        return Run(seed, (), (), (), diverged)
    units = scores.units or ["run"]
    return Run(seed, units, scores.clusters or units, _measured(scores), diverged)


def _measured(scores: ScoredUnits | None) -> list[float | None]:
    if scores is None:
        return []
    return [None if math.isnan(value) else value for value in scores.values]


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else None


def _flags(text: str) -> frozenset[str]:
    for mark in ",;|":
        text = text.replace(mark, " ")
    return frozenset(flag for flag in text.split() if flag.lower() not in MISSING)


def _whole(text: str) -> int | None:
    try:
        return int(float(text)) if text else None
    except ValueError as error:
        raise UsageError(f"ranks '{text}' is no whole number: give how many took part.") from error
