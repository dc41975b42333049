"""The study file: its schema, and how presets and `-s key=value` change it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from cluster.contract import TrialSize
from cluster.slurm.settings import SlurmSettings
from orchestrator.alarms.rule import AlarmRule, Signal
from orchestrator.claims.rule import Claim
from orchestrator.curve_design import (
    CurveFile,
    Fractions,
    Higher,
    Matched,
    Name,
    PathFile,
    Question,
    Sharper,
)
from orchestrator.designs import (
    ArmFile,
    Asha,
    Choice,
    Configurations,
    Factorial,
    Grid,
    Level,
    LogUniform,
    Part,
    RandInt,
    Removal,
    Role,
    Search,
    Uniform,
)
from orchestrator.endpoints.rule import Endpoint
from orchestrator.errors import UsageError, unknown
from orchestrator.seeds import Seeds
from orchestrator.verdict import Rule

__all__ = [
    "AlarmRule",
    "ArmFile",
    "Asha",
    "Choice",
    "Claim",
    "Configurations",
    "CurveFile",
    "Design",
    "Factorial",
    "Fractions",
    "Grid",
    "Higher",
    "Level",
    "LogUniform",
    "Matched",
    "PathFile",
    "Question",
    "RandInt",
    "Removal",
    "Resources",
    "Retries",
    "Role",
    "Search",
    "Sharper",
    "Signal",
    "StudyFile",
    "Uniform",
    "canonical_design",
    "merged",
    "parse_setting",
    "parse_yaml",
    "read_study_file",
    "set_dotted",
    "with_preset",
    "with_settings",
]

MOST_VALUES = 200_000
"""In a study file, what its anchors stand for counted each time."""

Design = Annotated[
    Configurations | Grid | Search | Factorial | Fractions, Field(discriminator="kind")
]


def canonical_design(design: Design) -> dict[str, Any]:
    """As plain JSON data for hashing and comparing: what is said `about` a part is presentation."""
    told = {"__all__": {"about"}}
    return design.model_dump(mode="json", exclude={"arms": told, "paths": told, "questions": told})


class Resources(Part):
    """What one trial takes. Not in the identity. With several `ranks`, what each of them takes."""

    ranks: int = Field(default=1, ge=1)
    """Processes that train a trial together, each on its part of every batch."""
    cpus: float = Field(default=1, gt=0)
    """CPU cores; a fraction lets several trials share one."""
    gpus: float = Field(default=0, ge=0)
    """GPUs; a fraction shares one among trials."""
    memory_gib: float | None = Field(default=None, gt=0)
    """Reserved with Ray's scheduler, so that fewer trials run at once; None reserves nothing."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """At most so many trials at once; by default as many as fit."""
    time_limit_s: float | None = Field(default=None, gt=0)
    """A trial that runs longer fails as `timed_out`. A point that takes longer to measure on a
    finished model fails too, and a model that takes longer to open is given up."""

    @property
    def trial_size(self) -> TrialSize:
        """What one trial takes, as clusters ask for it."""
        return TrialSize(self.cpus, self.gpus, self.memory_gib or 0.0, self.ranks)

    @model_validator(mode="after")
    def _ranks_share_no_gpu(self) -> Resources:
        if self.ranks > 1 and self.gpus != int(self.gpus):
            raise ValueError(
                f"ranks={self.ranks} with gpus={self.gpus:g}: gpus is what each rank takes, and "
                "ranks cannot share one; give a whole number"
            )
        return self


class Retries(Part):
    """How often a failed attempt is tried again within one run, by kind. Lost nodes are free
    while progress is made: three in a row without a newer checkpoint end the trial."""

    unknown: int = Field(default=0, ge=0)
    """An exception that is none of the others."""
    out_of_memory: int = Field(default=0, ge=0)
    """Memory that ran out, of the machine or of a GPU."""
    timed_out: int = Field(default=0, ge=0)
    """An attempt that took longer than `resources.time_limit_s`."""
    lost_without_progress: int = Field(default=3, ge=1)
    """So many losses of a node in a row, without a newer checkpoint, end the trial."""


class StudyFile(Part):
    """A study: a question, what is run to answer it, and the rule that answers it."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)
    """What the study is called in commands and folders: lower case, digits, hyphens."""
    question: str
    """What is asked, in a sentence. It stands above every report."""
    hypothesis: str = ""
    """What is expected, and of what size. It decides nothing."""
    workload: str
    """What a trial runs: a registered name (`orrery list`), or `package.module:Class`."""
    base: dict[str, Any] = Field(default={})
    """The configuration that all arms share, in the words of the workload."""
    seeds: Seeds = Field(default=[0, 1, 2, 3, 4], min_length=1)
    """A number each, or ranges: `0-98`, `[0-98, 200]`."""
    design: Design
    """What yields the arms, told apart by `kind`."""
    verdict: Rule | None = None
    """How the arms are compared."""
    alarms: AlarmRule | None = None
    """Which signal alarms first. Beside `verdict`, or in its place."""
    claims: dict[Name, Claim] = Field(default={})
    """What is said of figures, each held against its interval. Beside the others, or alone."""
    endpoints: dict[Name, Endpoint] = Field(default={})
    """What arms are compared by, each with a margin below which a difference does not matter.
    Beside the others, or alone."""
    next_steps: dict[str, list[str]] = Field(default={})
    """What to do after an outcome: a band's name, `improves`, `marginal`, `does_not_help`, `harm`,
    `inconclusive`; without `verdict` a state or a label of what is asked, such as `not calibrated`,
    `loss first` or `contradicted`."""
    resources: Resources = Resources()
    """What one trial takes of a machine, and how many run at once."""
    retries: Retries = Retries()
    """How often a failed attempt is tried again, by kind of failure."""
    slurm: SlurmSettings = SlurmSettings()
    """Used by `--on slurm` and `--on slurm-array`. Not in the identity."""
    presets: dict[str, dict[str, Any]] = Field(default={})
    """Settings under a name, as `-s` takes them: `{smoke: {samples: 64, seeds: [0, 1]}}`."""

    @field_validator("question", "hypothesis")
    @classmethod
    def _is_printable(cls, text: str) -> str:
        strange = sorted({hex(ord(c)) for c in text if ord(c) < 32 and c not in "\n\t"})
        if strange:
            raise ValueError(f"holds control characters ({', '.join(strange)}); leave them out")
        return text

    @model_validator(mode="after")
    def _seeds_are_fresh(self) -> StudyFile:
        if isinstance(self.design, Search) and self.design.explore_seed in self.seeds:
            raise ValueError(
                f"design.explore_seed {self.design.explore_seed} is among the seeds {self.seeds}: "
                "the winner must be run on seeds that did not choose it; give another one"
            )
        return self


STUDY_KEYS = frozenset(StudyFile.model_fields) - {"name", "workload", "base", "presets"}


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """A study file's text as plain data. Raises `UsageError` naming line and column."""
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        node = loader.get_single_node()
        _refuse_bombs(node, where)
        _refuse_repeated_keys(node)
        data = loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError(f"{where}:{place} is not YAML: {problem}.") from error
    if not isinstance(data, dict):
        what = "nothing" if data is None else "a list" if isinstance(data, list) else "a value"
        raise UsageError(f"{where} holds {what}, not a mapping. See: orrery schema")
    return data


def _refuse_bombs(root: Any, where: str) -> None:
    """A few lines of anchors can stand for more values than any memory holds."""
    waiting, count = [root], 0
    while waiting:
        node = waiting.pop()
        count += 1
        if count > MOST_VALUES:
            raise UsageError(f"{where} stands for more than {MOST_VALUES:,} values: too many.")
        for child in getattr(node, "value", None) or []:
            if not isinstance(child, str):
                waiting.extend(child if isinstance(child, tuple) else [child])


def _refuse_repeated_keys(root: Any) -> None:
    """YAML's reader keeps the last of two equal keys, and so would drop half a study unsaid."""
    import yaml

    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in keys:
                        raise yaml.MarkedYAMLError(
                            problem=f"'{key.value}' is given twice", problem_mark=key.start_mark
                        )
                    keys.add(key.value)
                waiting.append(value)


def read_study_file(path: Path, what: str = "study file") -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {what} '{path}': {error}") from error
    return parse_yaml(text, f"{what} '{path}'")


def parse_setting(text: str) -> tuple[str, Any]:
    """`key=value` with the value read as YAML. Raises `UsageError`."""
    import yaml

    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not re.fullmatch(r"[A-Za-z_][\w.-]*", key):
        raise UsageError(
            f"Setting '{text}' is not key=value. Example: -s samples=300 -s lora.rank=8"
        )
    try:
        parsed = yaml.safe_load(value) if value.strip() else ""
    except yaml.YAMLError:
        parsed = value
    return key, parsed


def with_preset(data: Mapping[str, Any], preset: str | None) -> dict[str, Any]:
    """`data` with a preset of the file applied. Raises `UsageError` for an unknown one."""
    if preset is None:
        return deepcopy(dict(data))
    presets = data.get("presets") or {}
    if preset not in presets:
        raise UsageError(unknown("preset", preset, presets))
    return _set_all(data, presets[preset])


def with_settings(data: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with dotted keys set: of the study (`seeds`, `resources.cpus`), else of `base`.

    Raises `UsageError` for what cannot be set, and for what every arm overrides.
    """
    changed = _set_all(data, settings)
    for key in settings:
        _refuse_overridden(changed, key.removeprefix("base."))
    return changed


def _set_all(data: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    changed = deepcopy(dict(data))
    for key, value in settings.items():
        head = key.split(".")[0]
        if head in ("name", "workload", "presets"):
            raise UsageError(f"'{head}' cannot be set with -s: edit the study file.")
        path = key if head in STUDY_KEYS or head == "base" else f"base.{key}"
        set_dotted(changed, path, deepcopy(value))
    return changed


def _refuse_overridden(data: Mapping[str, Any], key: str) -> None:
    """A setting that every arm of the study file replaces would change nothing, and be read by
    nobody. Raises `UsageError`."""
    design = data.get("design")
    arms = design.get("arms") if isinstance(design, Mapping) else None
    overrides = [
        arm.get("overrides") if isinstance(arm, Mapping) else None
        for arm in (arms if isinstance(arms, list) else ())
    ]
    if overrides and all(isinstance(own, Mapping) and key in own for own in overrides):
        raise UsageError(
            f"'{key}' is set by every arm of this study, so that -s {key}=… would change nothing: "
            "edit the arms in the study file, or set something else."
        )


def set_dotted(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Sets `a.b.c` in nested mappings; a missing or empty level becomes a mapping."""
    *parents, last = dotted.split(".")
    for part in parents:
        below = data.get(part)
        if below is None:
            below = data[part] = {}
        if not isinstance(below, dict):
            raise UsageError(f"'{dotted}': '{part}' is {below!r}, which has no keys below it.")
        data = below
    data[last] = value


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `overrides` on top: mappings merge, everything else replaces."""
    result = dict(base)
    for key, value in overrides.items():
        head, dot, rest = key.partition(".")
        new = {rest: value} if dot else value
        if isinstance(new, Mapping):
            below = result.get(head)
            result[head] = merged(below if isinstance(below, Mapping) else {}, new)
        else:
            result[head] = new
    return result
