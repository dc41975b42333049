"""A rule applied to a file of results: the answer that a study with both would have given."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.counted import counted
from orchestrator.error_share import judged_rule, share_notes, shared_confidence
from orchestrator.errors import UsageError
from orchestrator.outside.columns import Columns, parsed_columns
from orchestrator.outside.doubts import doubts
from orchestrator.outside.evidence import Evidence
from orchestrator.outside.reading import read_content, read_table
from orchestrator.outside.rule_file import OutsideRule
from orchestrator.seeds import shown_seeds
from orchestrator.verdict import Verdict, judge
from orchestrator.verdict.answer import step_key

if TYPE_CHECKING:
    from orchestrator.claims.result import StudyClaims
    from orchestrator.endpoints.result import StudyEndpoints
    from orchestrator.findings import Findings

MOST_NAMED = 6
NOT_FIXED = (
    "the rule {hash} is as given now; whether it was fixed before the results is not known here."
)


@dataclass(frozen=True)
class OutsideVerdict:
    """What came out, and of what.

    Attributes:
        verdict: None for a rule that states endpoints or claims alone.
        columns: the column that was read for each name that the rule and the rows need.
        digest: SHA-256 of the results' file, unpacked.
        runs: a row for each run, as a report shows trials.
    """

    rule: OutsideRule
    results: str
    verdict: Verdict | None
    findings: Findings
    columns: Mapping[str, str]
    digest: str
    rows: int
    runs: Sequence[Mapping[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """As `orrery report --json`, with the rule and the results."""
        told = self.verdict.to_json() if self.verdict is not None else {}
        made = {
            "rule": {"file": self.rule.source, "hash": self.rule.hash},
            "results": {"file": self.results, "sha256": self.digest, "rows": self.rows},
            "columns": dict(self.columns),
        }
        return {**told, **self.findings.to_json(), **made}

    def write(self, folder: Path, command: str) -> list[Path]:
        """The files of a report into a folder, which is made if need be; `command` made them."""
        from datetime import UTC, datetime
        from importlib.metadata import version

        from orchestrator.report import StudyInfo, write_findings_report, write_report

        info = StudyInfo(
            name=self.rule.file.name,
            instance="n/a: results from elsewhere",
            question=self.rule.file.question,
            reproduce=command,
            provenance={
                "rule": self.rule.hash,
                "rule file": self.rule.source,
                "results": self.results,
                "results' SHA-256": self.digest,
                "orrery": version("orrery"),
            },
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            asked=self.rule.metrics,
        )
        if self.verdict is not None:
            return list(write_report(self.verdict, info, self.runs, folder, self.findings).paths())
        return list(write_findings_report(self.findings, info, self.runs, folder).files)


def judge_file(
    results: str, rule: OutsideRule, columns: Sequence[str] = (), format: str | None = None
) -> OutsideVerdict:
    """The answer to a rule by the results in a file, `-` for standard input.

    `columns`: `NAME=COLUMN`, where a column is not called what it holds. Raises `UsageError` for
    results that cannot be read, or not by this rule: with the place, and what to do.
    """
    given = parsed_columns(columns, rule.metrics)
    content = read_content(results)
    table = read_table(results, content, format)
    evidence = Evidence(table, Columns(results, list(table.columns), given), rule)
    notes = tuple(_notes(evidence))
    try:
        verdict = _verdict(evidence, notes)
        findings = _findings(evidence, () if verdict is not None else notes)
    except ValueError as error:
        raise UsageError(f"'{results}': {error}") from error
    return OutsideVerdict(
        rule=rule,
        results=results,
        verdict=verdict,
        findings=findings,
        columns=dict(_columns_used(evidence)),
        digest=hashlib.sha256(content).hexdigest(),
        rows=table.rows,
        runs=_run_rows(evidence),
    )


def _verdict(evidence: Evidence, notes: Sequence[str]) -> Verdict | None:
    rule, file = judged_rule(evidence.rule.file), evidence.rule.file
    if rule is None:
        return None
    return judge(
        rule,
        evidence.verdict_arms(),
        study=file.name,
        question=file.question,
        real_setting=evidence.rule.real_setting,
        next_steps=file.next_steps,
        notes=notes,
    )


def _findings(evidence: Evidence, notes: Sequence[str]) -> Findings:
    from orchestrator.findings import Findings

    found = Findings(claims=_claims(evidence), endpoints=_endpoints(evidence), notes=tuple(notes))
    if evidence.rule.file.verdict is not None:
        return found
    reached = {step_key(name) for name in found.outcomes}
    steps = evidence.rule.file.next_steps.items()
    next_steps = [step for name, some in steps if step_key(name) in reached for step in some]
    return replace(found, next_steps=tuple(next_steps))


def _endpoints(evidence: Evidence) -> StudyEndpoints | None:
    file = evidence.rule.file
    if not file.endpoints:
        return None
    from orchestrator.endpoints.judging import CONFIDENCE, judge_endpoints
    from orchestrator.endpoints.rule import compared_arms

    wanted = {
        name: (*compared_arms(one, evidence.arms), one.against)
        for name, one in file.endpoints.items()
    }
    confidence = shared_confidence(file, CONFIDENCE)
    sides, limits = evidence.sides(wanted), evidence.rule.limits
    return judge_endpoints(file.endpoints, sides, evidence.pending(), confidence, limits)


def _claims(evidence: Evidence) -> StudyClaims | None:
    file = evidence.rule.file
    if not file.claims:
        return None
    from orchestrator.claims.judging import CONFIDENCE, judge_claims

    runs = {name: evidence.claim_runs(claim) for name, claim in file.claims.items()}
    confidence = shared_confidence(file, CONFIDENCE)
    return judge_claims(file.claims, runs, evidence.pending(), confidence, evidence.rule.limits)


def _notes(evidence: Evidence) -> Iterator[str]:
    """What a reader must know of the rule and of what the results lack."""
    rule = evidence.rule
    yield NOT_FIXED.format(hash=rule.hash)
    missing = {arm: seeds for arm in evidence.arms if (seeds := evidence.missing(arm))}
    if missing:
        yield f"not there yet: {_named(missing)}. {_alone(evidence, missing)}".rstrip()
    if added := evidence.added():
        yield f"extended: the rule did not plan {_named(added)}."
    wanted = rule.file.verdict
    if wanted is not None and wanted.gate is not None:
        beside = (*wanted.gate.floor, *([wanted.gate.reference] if wanted.gate.reference else ()))
        for arm in beside:
            if evidence.role(arm) == "arm":
                yield (
                    f"'{arm}' is part of the gate and ranked as an arm too: give it the role "
                    "'control' under 'arms:' if it is one."
                )
    yield from _not_finite(evidence)
    if bare := int(evidence.runs.nameless.sum()):
        yield f"{counted(bare, 'row')} without arm, seed and score: left out, as parents of runs."
    yield from doubts(evidence, _asked(evidence))
    splits = evidence.runs.splits()
    if wanted is not None and splits and evidence.reported not in splits:
        yield f"all rows are of the split '{splits[0]}'."
    yield from share_notes(rule.file)
    yield from rule.notes


def _not_finite(evidence: Evidence) -> Iterator[str]:
    """Infinite scores: written so, or larger than any that a computer holds."""
    for metric, split in _asked(evidence):
        infinite: dict[str, int] = {}
        for (arm, _), one in zip(
            evidence.runs.keys, evidence.scores_of(metric, split), strict=True
        ):
            count = sum(map(math.isinf, one.values)) if one is not None else 0
            if count:
                infinite[arm] = infinite.get(arm, 0) + count
        for arm, count in infinite.items():
            yield (
                f"{arm}: {counted(count, 'score')} of {metric} {'is' if count == 1 else 'are'} "
                "not finite: taken as not measured."
            )


def _alone(evidence: Evidence, missing: Mapping[str, Sequence[int]]) -> str:
    """Arms with one run may be such as no seed changes, unless the rule gives them seeds."""
    if evidence.rule.of_study:
        return ""
    single = [
        arm
        for arm in missing
        if arm not in evidence.rule.own_seeds
        and sum(one == arm for one, _ in evidence.runs.keys) == 1
    ]
    if not single or len(single) == len(evidence.arms):
        return ""
    return f"If no seed changes them, say so in the rule: deterministic: [{', '.join(single)}]."


def _named(seeds: Mapping[str, Sequence[int]]) -> str:
    told = [f"{arm} seed {shown_seeds(list(some))}" for arm, some in seeds.items()]
    more = len(told) - MOST_NAMED
    return "; ".join(told[:MOST_NAMED]) + (f"; and {counted(more, 'more arm')}" if more > 0 else "")


def _columns_used(evidence: Evidence) -> Iterator[tuple[str, str]]:
    yield "arm", ", ".join(evidence.columns.arm())
    for name in ("seed", "unit", "cluster", "metric", "split", "step", "state", "flags", "failure"):
        if (column := evidence.columns.find(name)) is not None:
            yield name, column
    for metric in evidence.rule.metrics:
        yield metric, evidence.score_column(metric)


def _asked(evidence: Evidence) -> list[tuple[str, str]]:
    """Every metric that is asked of, each with the first split that it is asked in."""
    file = evidence.rule.file
    splits = {file.verdict.metric: evidence.reported} if file.verdict else {}
    for endpoint in file.endpoints.values():
        splits.setdefault(endpoint.column, endpoint.split)
    for claim in file.claims.values():
        splits.setdefault(claim.column, claim.split)
    return list(splits.items())


def _run_rows(evidence: Evidence) -> list[dict[str, Any]]:
    """A row for each run: what it is, and its mean of every metric that is asked."""
    runs = evidence.runs
    rows = [
        {"arm": arm, "role": evidence.role(arm), "seed": seed, "state": state}
        for (arm, seed), state in zip(runs.keys, runs.states(), strict=True)
    ]
    for metric, split in _asked(evidence):
        for row, mean in zip(rows, evidence.means(metric, split), strict=True):
            row[metric] = mean
    return rows
