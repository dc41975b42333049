"""The study file: its schema, and how presets and `-s key=value` change it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from cluster.contract import TrialSize
from cluster.slurm.settings import SlurmSettings
from orchestrator.errors import UsageError, unknown
from orchestrator.verdict import Rule
from workloads.contract import refuse_truth_for_number

MOST_VALUES = 200_000
"""In a study file, what its anchors stand for counted each time."""

Role = Literal["baseline", "comparator", "arm", "control"]
Estimator = Literal["auto", "paired_regression", "kernel_shap", "k_additive", "permutation"]
"""How Shapley values are estimated from a sample of coalitions; `auto` takes the least error."""
Level = bool | int | float | str | None
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What every library takes as a seed."""


class Part(BaseModel):
    """Base of every part of a study file: immutable, strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _number_is_no_truth_value(cls, data: Any) -> Any:
        return refuse_truth_for_number(cls, data)


class ArmFile(Part):
    """One arm: its name, its role, and what it overrides in `base` (dotted keys or nested)."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=60)
    role: Role = "arm"
    overrides: dict[str, Any] = {}
    seeds: list[Seed] | None = None
    """Replicates of this arm alone; a control that needs no training has one."""
    about: str = ""


def _unique_names(arms: Sequence[ArmFile]) -> Sequence[ArmFile]:
    names = [arm.name for arm in arms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"arm names must differ, but {', '.join(twice)} is given more than once")
    return arms


class Configurations(Part):
    """A list of arms."""

    kind: Literal["configurations"]
    arms: list[ArmFile] = Field(min_length=1)

    @field_validator("arms")
    @classmethod
    def _names_differ(cls, arms: list[ArmFile]) -> list[ArmFile]:
        _unique_names(arms)
        return arms


class Grid(Part):
    """Every combination of the factors' levels, beside the arms that are listed."""

    kind: Literal["grid"]
    factors: dict[str, list[Level]] = Field(min_length=1)
    arms: list[ArmFile] = []

    @field_validator("factors")
    @classmethod
    def _levels_given(cls, factors: dict[str, list[Level]]) -> dict[str, list[Level]]:
        for name, levels in factors.items():
            if not levels:
                raise ValueError(f"factor '{name}' has no levels: give a list such as [1, 2]")
        return factors


class Choice(Part):
    choice: list[Level] = Field(min_length=1)


class Uniform(Part):
    uniform: tuple[float, float]


class LogUniform(Part):
    loguniform: tuple[float, float]

    @model_validator(mode="after")
    def _positive(self) -> LogUniform:
        if self.loguniform[0] <= 0:
            raise ValueError(f"loguniform needs bounds above 0, got {list(self.loguniform)}")
        return self


class RandInt(Part):
    randint: tuple[int, int]
    """Lower end included, upper end left out."""


class Asha(Part):
    """Asynchronous successive halving (Li et al., 2020): stops trials that fall behind."""

    kind: Literal["asha"] = "asha"
    grace_period: int = Field(default=1, ge=1)
    reduction_factor: int = Field(default=3, ge=2)
    max_t: int = Field(default=100, ge=1)


class Search(Part):
    """An adaptive list of configurations; the winner is run again on the study's seeds."""

    kind: Literal["search"]
    space: dict[str, Choice | Uniform | LogUniform | RandInt] = Field(min_length=1)
    budget: int = Field(ge=1)
    """Number of proposals (ordinals), finished or pruned."""
    metric: str
    """A metric the workload reports while it trains, such as `eval/f1`: of the dev split."""
    mode: Literal["max", "min"] = "max"
    searcher: Literal["random", "optuna"] = "random"
    searcher_seed: Seed = 0
    explore_seed: Seed = 1000
    """The seed of every proposal: not among the study's, so that the verdict is on fresh seeds."""
    scheduler: Asha | None = None
    arms: list[ArmFile] = []


class Removal(Part):
    """Removal costs: parts of finished models are switched off, and what that costs is measured.

    Each trained model is a subject, each coalition a point on it: nothing is trained.
    """

    of: list[str] = []
    """Arms whose models are looked at. Empty: the arm in which every factor is on; without
    factors every listed arm."""
    full: bool = False
    """All 2^n coalitions beyond n = 6 too, up to n = 16."""
    budget: int | None = Field(default=None, ge=4)
    """Coalitions per model, over all draws, where not all are enumerated."""
    estimator: Estimator = "auto"
    draws: int = Field(default=2, ge=2)
    """Independent draws of sampled coalitions: their spread is the sampling error."""
    sampling_seed: Seed = 0
    order: int = Field(default=3, ge=1, le=3)
    """Interactions are given up to this order."""


class Factorial(Part):
    """Every combination of factors that are on or off: 2^n arms, named by what is on.

    `factors`: what each one's being on overrides; off is absent. `removal` asks another question,
    of the finished models of some arms (see `Removal`). Either may be left out.
    """

    kind: Literal["factorial"]
    factors: dict[str, dict[str, Any]] = {}
    budget: int | None = Field(default=None, ge=4)
    """Arms to train, over all draws, where not all 2^n are (n above 6)."""
    full: bool = False
    """All 2^n arms beyond n = 6 too, up to n = 16."""
    estimator: Estimator = "auto"
    draws: int = Field(default=2, ge=2)
    sampling_seed: Seed = 0
    order: int = Field(default=3, ge=1, le=3)
    removal: Removal | None = None
    arms: list[ArmFile] = []


Design = Annotated[Configurations | Grid | Search | Factorial, Field(discriminator="kind")]


def canonical_design(design: Design) -> dict[str, Any]:
    """As plain JSON data for hashing and comparing: what is said about an arm is presentation."""
    return design.model_dump(mode="json", exclude={"arms": {"__all__": {"about"}}})


class Resources(Part):
    """What one trial takes. Not in the identity. With several `ranks`, what each of them takes."""

    ranks: int = Field(default=1, ge=1)
    """Processes that train a trial together, each on its part of every batch."""
    cpus: float = Field(default=1, gt=0)
    gpus: float = Field(default=0, ge=0)
    memory_gib: float | None = Field(default=None, gt=0)
    """Reserved with Ray's scheduler, so that fewer trials run at once; None reserves nothing."""
    max_concurrent: int | None = Field(default=None, ge=1)
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
    out_of_memory: int = Field(default=0, ge=0)
    timed_out: int = Field(default=0, ge=0)
    lost_without_progress: int = Field(default=3, ge=1)


class StudyFile(Part):
    """A study: a question, what is run to answer it, and the rule that answers it."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)
    question: str
    hypothesis: str = ""
    workload: str
    base: dict[str, Any] = {}
    seeds: list[Seed] = Field(default=[0, 1, 2, 3, 4], min_length=1)
    design: Design
    verdict: Rule | None = None
    next_steps: dict[str, list[str]] = {}
    resources: Resources = Resources()
    retries: Retries = Retries()
    slurm: SlurmSettings = SlurmSettings()
    """Used by `--on slurm` and `--on slurm-array`. Not in the identity."""
    presets: dict[str, dict[str, Any]] = {}

    @field_validator("question", "hypothesis")
    @classmethod
    def _is_printable(cls, text: str) -> str:
        strange = sorted({hex(ord(c)) for c in text if ord(c) < 32 and c not in "\n\t"})
        if strange:
            raise ValueError(f"holds control characters ({', '.join(strange)}); leave them out")
        return text

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds):
            raise ValueError(f"seeds must differ, got {seeds}")
        return seeds

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


def read_study_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read study file '{path}': {error}") from error
    return parse_yaml(text, f"study file '{path}'")


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
    return with_settings(data, presets[preset])


def with_settings(data: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with dotted keys set: of the study (`seeds`, `resources.cpus`), else of `base`."""
    changed = deepcopy(dict(data))
    for key, value in settings.items():
        head = key.split(".")[0]
        if head in ("name", "workload", "presets"):
            raise UsageError(f"'{head}' cannot be set with -s: edit the study file.")
        path = key if head in STUDY_KEYS or head == "base" else f"base.{key}"
        set_dotted(changed, path, deepcopy(value))
    return changed


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
