"""The rule that results from elsewhere are judged by: `RULE.yaml`, or a whole study file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from orchestrator.arms import arms_of
from orchestrator.claims.rule import Claim
from orchestrator.designs import ArmFile, Configurations, Part, Role, Search
from orchestrator.endpoints.rule import Endpoint
from orchestrator.errors import UsageError, unknown
from orchestrator.limits import Limits, column_limits
from orchestrator.rule_hash import rule_hash
from orchestrator.seeds import Seeds
from orchestrator.study_file import StudyFile, read_study_file, with_preset, with_settings
from orchestrator.validation import validated
from orchestrator.verdict import Rule

_NOT_HERE = {
    "alarms": "alarms follow signals over the steps of a run",
    "curves": "curves are measured along paths on finished models",
    "effects": "effects of factors are estimated from whole designs",
}


class RuleArm(Part):
    """An arm that the rule says something of; others are arms like any other."""

    name: str = Field(min_length=1)
    role: Role = "arm"
    seeds: Seeds | None = None


class RuleFile(Part):
    """A rule by itself, in the words of a study file."""

    name: str = "results"
    question: str = ""
    verdict: Rule | None = None
    claims: dict[str, Claim] = Field(default={})
    endpoints: dict[str, Endpoint] = Field(default={})
    next_steps: dict[str, list[str]] = Field(default={})
    arms: tuple[RuleArm, ...] = ()
    seeds: Seeds | None = None
    """Planned for every arm; None: what is there is what was planned."""
    deterministic: tuple[str, ...] = ()
    """Arms that every seed leaves the same: one run each is enough."""
    limits: dict[str, tuple[float | None, float | None]] = Field(default={})
    """What columns of endpoints and claims can be: ends of intervals are shown within it."""
    real_setting: bool = False
    """The setting is the replicated one: `verdict.real_gate` applies."""

    @field_validator("arms")
    @classmethod
    def _names_differ(cls, arms: tuple[RuleArm, ...]) -> tuple[RuleArm, ...]:
        names = [arm.name for arm in arms]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"arm '{twice[0]}' is given twice: give it one role")
        return arms


@dataclass(frozen=True)
class OutsideRule:
    """What is asked of results.

    Attributes:
        file: the parts that decide, as those of a study.
        hash: of the rule, the same as that of a study with it.
        roles: of arms that the rule names.
        planned: the seeds of every arm that is planned, by arm; empty where nothing is.
        deterministic, real_setting: see `RuleFile`.
        notes: what the file asks for that a table cannot answer.
    """

    source: str
    file: StudyFile
    hash: str
    roles: Mapping[str, Role]
    seeds: tuple[int, ...] | None
    own_seeds: Mapping[str, tuple[int, ...]]
    planned_arms: tuple[str, ...]
    deterministic: frozenset[str] = frozenset()
    real_setting: bool = False
    limits: Mapping[str, Limits] = field(default_factory=dict)
    """What columns can be, where that is known: ends of intervals are shown within it."""
    notes: tuple[str, ...] = ()
    of_study: bool = False
    """From a study file: which arms are deterministic is its workload's word there."""

    @property
    def named_arms(self) -> tuple[str, ...]:
        """Arms without which the rule cannot be applied."""
        file = self.file
        names: list[str] = []
        if (rule := file.verdict) is not None:
            names.append(rule.comparator)
            for gate in (rule.gate, rule.real_gate if self.real_setting else None):
                if gate is not None:
                    names += [gate.control, *([gate.reference] if gate.reference else ())]
                    names += gate.floor
            names += [name for one in rule.comparisons for name in (one.arm, one.against)]
        for endpoint in file.endpoints.values():
            names += [*endpoint.arms, endpoint.against]
        names += [claim.arm for claim in file.claims.values()]
        return tuple(dict.fromkeys(names))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that is asked of, the verdict's first."""
        file = self.file
        first = [file.verdict.metric] if file.verdict else []
        endpoints = [one.column for one in file.endpoints.values()]
        claims = [one.column for one in file.claims.values()]
        return tuple(dict.fromkeys([*first, *endpoints, *claims]))

    def planned(self, arm: str) -> tuple[int, ...] | None:
        """The seeds that the arm is to have; None if the rule does not say."""
        return self.own_seeds.get(arm, self.seeds)


def read_rule(
    path: Path, preset: str | None = None, settings: Mapping[str, Any] | None = None
) -> OutsideRule:
    """The rule in a file, or of a shipped study by its name. Raises `UsageError` for one that
    decides nothing here."""
    if not path.is_file():
        path = _shipped(path)
    data, where = read_study_file(path, "rule file"), f"rule file '{path}'"
    if "design" in data:
        return _of_study(str(path), with_settings(with_preset(data, preset), settings or {}), where)
    if preset or settings:
        raise UsageError(f"{where} is no study file, so that --preset and -s change nothing.")
    return _of_rule(str(path), data, where)


def _shipped(name: Path) -> Path:
    from orchestrator.study import shipped_studies

    path = shipped_studies().get(str(name))
    if path is None:
        raise UsageError(
            f"There is no rule file '{name}'. Give a YAML file that states the rule, or the name "
            "of a shipped study (orrery list)."
        )
    return path


def _of_rule(source: str, data: dict[str, Any], where: str) -> OutsideRule:
    for name in _NOT_HERE.keys() & data.keys():
        raise _refused(where, name)
    if "verdict" not in data and data.keys() & {"metric", "comparator", "bands"}:
        own = {key: value for key, value in data.items() if key not in RuleFile.model_fields}
        data = {key: value for key, value in data.items() if key not in own} | {"verdict": own}
    given: RuleFile = validated(RuleFile, data, where)
    arms = [ArmFile.model_construct(name=arm.name, role=arm.role) for arm in given.arms]
    file = StudyFile.model_construct(
        name=given.name,
        question=given.question,
        workload="",
        verdict=given.verdict,
        claims=given.claims,
        endpoints=given.endpoints,
        next_steps=given.next_steps,
        design=Configurations.model_construct(kind="configurations", arms=arms),
    )
    return OutsideRule(
        source=source,
        file=file,
        hash=_hash(file, where),
        roles={arm.name: arm.role for arm in given.arms},
        seeds=None if given.seeds is None else tuple(given.seeds),
        own_seeds={arm.name: tuple(arm.seeds) for arm in given.arms if arm.seeds is not None},
        planned_arms=tuple(arm.name for arm in given.arms),
        deterministic=frozenset(given.deterministic),
        limits=dict(given.limits),
        real_setting=given.real_setting,
    )


def _of_study(source: str, data: dict[str, Any], where: str) -> OutsideRule:
    file: StudyFile = validated(StudyFile, data, where)
    if file.alarms is not None:
        raise _refused(where, "alarms")
    if file.design.kind == "fractions":
        raise _refused(where, "curves")
    if file.design.kind == "factorial" and not (file.verdict or file.endpoints or file.claims):
        raise _refused(where, "effects")
    arms = list(arms_of(file.design))
    names = [arm.name for arm in arms]
    if isinstance(file.design, Search):
        from orchestrator.searching import WINNER

        names.append(WINNER)
    told = ("effects of factors are not estimated from a table: orrery report does",)
    return OutsideRule(
        source=source,
        file=file,
        hash=_hash(file, where),
        roles={arm.name: arm.role for arm in arms if arm.role != "proposal"},
        seeds=tuple(file.seeds),
        own_seeds={arm.name: arm.seeds for arm in arms if arm.seeds is not None},
        planned_arms=tuple(names),
        limits=_limits_of(file),
        notes=told if file.design.kind == "factorial" else (),
        of_study=True,
    )


def _limits_of(file: StudyFile) -> dict[str, Limits]:
    """As the study's workload declares them; nothing where it is not installed."""
    from orchestrator.study import workload_named

    columns = {one.column for one in file.endpoints.values()}
    columns |= {one.column for one in file.claims.values()}
    try:
        return {name: column_limits(workload_named(file.workload), name) for name in columns}
    except UsageError:
        return {}


def _hash(file: StudyFile, where: str) -> str:
    made = rule_hash(file)
    if made is None or not (file.verdict or file.endpoints or file.claims):
        raise UsageError(
            f"{where} decides nothing. Give it a 'verdict:' with metric, comparator and bands, "
            "'endpoints:' or 'claims:', as in a study file (orrery schema)."
        )
    return made


def _refused(where: str, part: str) -> UsageError:
    return UsageError(
        f"{where} asks for {part}, which no table of scores answers: {_NOT_HERE[part]}. Leave it "
        "out here, or run the study."
    )


def check_arms(rule: OutsideRule, there: Sequence[str]) -> None:
    """Raises `UsageError` for an arm that the rule names, and neither the results have nor it
    plans."""
    planned = rule.planned_arms if rule.seeds is not None else tuple(rule.own_seeds)
    for name in rule.named_arms:
        if name not in there and name not in planned:
            raise UsageError(
                unknown(
                    f"arm in '{rule.source}'",
                    name,
                    there,
                    "These are the arms of the results; --column arm=COLUMN takes another column.",
                )
            )
