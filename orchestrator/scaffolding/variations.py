"""What a new study could vary: what the workload's own studies do, else one of its settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from orchestrator.study_file import read_study_file
from workloads.contract import Input, Observed, Workload, WorkloadConfig
from workloads.registry import study_folders

ARMS = 2
LEVELS = 3
MOST_SETTINGS = 12
"""Of a workload's own that are tried, where its studies say nothing."""


@dataclass(frozen=True)
class Variation:
    """Where a study could begin.

    Attributes:
        base, smoke: settings of all arms, and what a small version of the study changes in them.
        arms: what is compared with the base: names and overrides.
        levels: values of one setting (its dotted key), at least two.
        apart: overrides that have nothing in common with those of the first arm.
        verdict: parts of a rule that the workload's own study states: metric, unit, bands, ….
        source: the study that this is from; empty if from none.
    """

    base: Mapping[str, Any]
    smoke: Mapping[str, Any]
    arms: Sequence[tuple[str, Mapping[str, Any]]]
    levels: tuple[str, Sequence[Any]]
    apart: tuple[str, Mapping[str, Any]] | None
    verdict: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


def variations(name: str, workload: Workload[Any]) -> Iterator[Variation]:
    """Variations to be tried in this order: not each need make a study that can be planned."""
    config = workload.Config
    study = next((read_study_file(path) for path in studies_of(name)), {})
    base = study.get("base") or {}
    smoke = {
        key: value
        for key, value in ((study.get("presets") or {}).get("smoke") or {}).items()
        if key.split(".")[0] in config.model_fields
    }
    rule = study.get("verdict") or {}
    rule = {key: rule[key] for key in ("metric", "unit", "direction", "bands") if key in rule}
    source = str(study.get("name", ""))
    changed = sorted(_changed(config, base), key=lambda one: isinstance(one[1][0], bool | str))
    changed = changed[:MOST_SETTINGS]  # numbers first: twice as many steps is seldom refused
    arms = [
        (str(arm["name"]), arm["overrides"])
        for arm in study.get("design", {}).get("arms", [])
        if arm.get("role", "arm") == "arm" and arm.get("overrides")
    ]
    if arms and (levels := _levels(arms)):
        apart = _apart(arms[0][1], changed)
        yield Variation(base, smoke, arms[:ARMS], levels, apart, rule, source)
    for key, values in changed:
        arm = (f"{key}-{values[1]}".replace("_", "-"), {key: values[1]})
        yield Variation(
            base,
            smoke,
            [arm],
            (key, values),
            _apart(arm[1], changed),
            rule,
            source,
        )


def studies_of(name: str) -> list[Path]:
    """Shipped studies of a workload: first those that state a rule, then lists of arms before other
    designs, and of these the one that is named most plainly."""
    found = []
    for path in (path for folder in study_folders() for path in folder.glob("*.yaml")):
        study = read_study_file(path)
        if study["workload"] == name:
            lists = study["design"]["kind"] == "configurations"
            found.append(("verdict" not in study, not lists, len(path.name), path))
    return [path for *_, path in sorted(found)]


def _levels(arms: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[str, list[Any]] | None:
    """The setting that the arms give most values, and some of these."""
    seen: dict[str, list[Any]] = {}
    for _, overrides in arms:
        for key, value in leaves(overrides):
            values = seen.setdefault(key, [])
            if value not in values and isinstance(value, bool | int | float | str):
                values.append(value)
    key, values = max(seen.items(), key=lambda item: len(item[1]), default=("", []))
    return (key, values[:LEVELS]) if len(values) > 1 else None


def leaves(overrides: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested settings."""
    for key, value in overrides.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{above}{key}.")
        else:
            yield above + key, value


def _apart(
    overrides: Mapping[str, Any], changed: Sequence[tuple[str, list[Any]]]
) -> tuple[str, Mapping[str, Any]] | None:
    heads = {key.split(".")[0] for key in overrides}
    for key, values in changed:
        if key not in heads:
            return key, {key: values[1]}
    return None


def _changed(
    config: type[WorkloadConfig], base: Mapping[str, Any]
) -> Iterator[tuple[str, list[Any]]]:
    """Own settings that change what is trained, with the value they have and others: what a number
    of training steps, a width or a rate is by another factor, and each other word of a few."""
    shared = WorkloadConfig.model_fields
    for name, info in config.model_fields.items():
        looks = any(isinstance(mark, Observed | Input) for mark in info.metadata)
        if name in shared or looks or (info.is_required() and name not in base):
            continue
        value = base.get(name, info.get_default(call_default_factory=True))
        words = [word for word in get_args(info.annotation) if isinstance(word, str)]
        if isinstance(value, bool):
            yield name, [value, not value]
        elif isinstance(value, int | float) and value:
            yield name, [value, value * 2, value * 4]
        elif isinstance(value, str) and value in words:
            yield name, [value, *(word for word in words if word != value)][:LEVELS]
