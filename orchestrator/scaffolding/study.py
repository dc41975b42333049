"""`orrery new study`: a study file to begin with, which can be planned at once."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from orchestrator.errors import UsageError, unknown
from orchestrator.scaffolding.fields import field_lines, required_fields, yaml_line
from orchestrator.scaffolding.names import check_study_name
from orchestrator.scaffolding.variations import Variation, leaves, studies_of, variations
from orchestrator.scaffolding.writing import filled, write_new
from orchestrator.study import (
    WHILE_TRAINING,
    Study,
    shipped_studies,
    workload_named,
)
from orchestrator.study_file import parse_yaml, read_study_file
from workloads.contract import Workload
from workloads.monitors import PREFIX as HEALTH

Kind = Literal["configurations", "grid", "factorial", "search", "fractions"]
DEFAULT_WORKLOAD = "latent_lora"
COMPARATOR = "plain"
MOST_VALUES = 8
SMOKE_SEEDS = [0, 1, 2]


@dataclass(frozen=True)
class StudyRequest:
    """What was asked for. `workload`: None for one that fits; `like`: a shipped study to copy."""

    name: str
    workload: str | None = None
    design: str = "configurations"
    like: str | None = None
    out: Path | None = None
    force: bool = False


@dataclass(frozen=True)
class NewStudy:
    """What was written. `missing`: settings without a default, which have to be filled in."""

    path: Path
    missing: tuple[str, ...] = ()
    smoke: bool = True
    """Whether it has a preset of that name."""


def new_study(request: StudyRequest) -> NewStudy:
    """Writes the file. Raises `UsageError` for what there is not, and writes nothing then."""
    check_study_name(request.name)
    path = request.out or Path(f"{request.name}.yaml")
    if path.is_dir():
        path = path / f"{request.name}.yaml"
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"--out '{path}' is no name of a study file: let it end in .yaml.")
    missing: list[str] = []
    if request.like is not None:
        text = _copied(request.like, request.name)
    else:
        text, missing = _made(request, path)
    write_new({path: text}, request.force)
    presets = parse_yaml(text, "the new study").get("presets") or {}
    return NewStudy(path, tuple(missing), "smoke" in presets)


def _copied(like: str, name: str) -> str:
    """A shipped study's file under another name, with its comments."""
    shipped = shipped_studies()
    if like not in shipped:
        raise UsageError(unknown("study", like, shipped, "--like takes a shipped study."))
    text = shipped[like].read_text("utf-8")
    return re.sub(r"(?m)^name:.*$", f"name: {name}", text, count=1)


def _made(request: StudyRequest, path: Path) -> tuple[str, list[str]]:
    kind = _kind(request.design)
    name = request.workload or _workload_for(kind)
    workload = workload_named(name)
    if kind == "fractions":
        return _checked(_fractions(request, name, workload, path)), []
    refused: UsageError | None = None
    for variation in variations(name, workload):
        try:
            text = _text(request, kind, name, workload, variation, path)
            missing = required_fields(workload.Config, variation.base)
            return text if missing else _checked(text), missing
        except UsageError as error:
            refused = refused or error
    if refused is None:
        missing = required_fields(workload.Config, {})
        told = f": {', '.join(missing)} have no default" if missing else ""
        raise UsageError(
            f"No setting of the workload '{name}' is known to change what it trains{told}. Write "
            f"the arms by hand (orrery schema {name}), or begin with --like and a shipped study."
        )
    raise refused


def _kind(given: str) -> Kind:
    kinds: tuple[Kind, ...] = get_args(Kind)
    for kind in kinds:
        if kind == given:
            return kind
    raise UsageError(unknown("design", given, kinds))


def _workload_for(kind: Kind) -> str:
    if kind != "fractions":
        return DEFAULT_WORKLOAD
    from workloads.registry import registered

    return next(name for name in sorted(registered()) if _study_of_curves(name))


def _checked(text: str) -> str:
    """The text, once it has been planned. Raises `UsageError`."""
    study = Study.load(parse_yaml(text, "the new study"))
    study.maker.check(item.trial for item in study.plan().to_run)
    return text


# -- the parts of the file ------------------------------------------------------------------------


def _text(
    request: StudyRequest,
    kind: Kind,
    name: str,
    workload: Workload[Any],
    variation: Variation,
    path: Path,
) -> str:
    comparator = "none" if kind == "factorial" else COMPARATOR
    metric = _metric(workload, variation)
    design = _design(kind, workload, variation, comparator, metric)
    what = "any of the factors" if kind == "factorial" else variation.levels[0]
    declared = workload.metrics[metric]
    direction = variation.verdict.get("direction") or (
        "lower" if declared.higher_is_better is False else "higher"
    )
    bands = variation.verdict.get("bands") or [{"at_least": 1.0, "name": "small"}]
    rule = filled(
        "rule.template",
        {
            "metric": metric,
            "metrics": _listed(_finals(workload)),
            "unit": yaml_line(variation.verdict.get("unit") or declared.unit or "units"),
            "direction": direction,
            "comparator": comparator,
            "bands": "\n".join(f"    - {yaml_line(band)}" for band in bands),
            "margin": yaml_line(bands[0]["at_least"]),
        },
    )
    question = f"Does {what} change {metric}?"
    if kind == "configurations":
        question = f"Does {variation.arms[0][0]} differ from {comparator} in {metric}?"
    return _file(request, name, workload, path, variation, question, f"{design}\n{rule}")


def _file(
    request: StudyRequest,
    name: str,
    workload: Workload[Any],
    path: Path,
    variation: Variation,
    question: str,
    parts: str,
) -> str:
    smoke: dict[str, Any] = {**variation.smoke}
    if request.design == "search":
        smoke["design.budget"] = 2
    if request.design != "fractions":
        smoke["seeds"] = SMOKE_SEEDS
    source = f"\n# Those set here are of the shipped study {variation.source}."
    return filled(
        "study.yaml.template",
        {
            "name": request.name,
            "file": shlex.quote(str(path)),
            "workload": name,
            "workload_value": yaml_line(name),
            "schema": name,
            "question": yaml_line(question),
            "from_source": source if variation.source and variation.base else "",
            "fields": field_lines(workload.Config, variation.base),
            "parts": parts,
            "smoke": "\n".join(f"    {key}: {yaml_line(value)}" for key, value in smoke.items()),
        },
    )


def _design(
    kind: Kind, workload: Workload[Any], variation: Variation, comparator: str, metric: str
) -> str:
    values = {
        "comparator": comparator,
        "control": filled("designs/control.template", {"comparator": comparator}),
    }
    key, levels = variation.levels
    here = dict(leaves(variation.base)).get(key)
    levels = [level for level in levels if level != here]
    if kind == "configurations":
        values["arms"] = "\n".join(
            f"    - name: {yaml_line(arm)}\n      overrides: {yaml_line(dict(overrides))}"
            for arm, overrides in variation.arms
        )
    elif kind == "factorial":
        if variation.apart is None:
            raise UsageError(
                "A factorial needs two settings that have nothing in common, and only one is known."
            )
        (first, mine), (second, other) = variation.arms[0], variation.apart
        values |= {"first": first, "first_overrides": yaml_line(dict(mine))}
        values |= {"second": second, "second_overrides": yaml_line(dict(other))}
    else:
        values |= {"key": key, "levels": yaml_line(levels)}
    if kind == "search":
        values["search_metric"] = found = _search_metric(workload, metric)
        lower = workload.metrics[found].higher_is_better is False or found.endswith("loss")
        values["mode"] = "min" if lower else "max"
    return filled(f"designs/{kind}.template", values).rstrip() + "\n"


def _fractions(request: StudyRequest, name: str, workload: Workload[Any], path: Path) -> str:
    """From the workload's own study of curves: only it knows what its models can be asked."""
    study = _study_of_curves(name)
    if study is None:
        raise UsageError(
            f"The design fractions asks finished models for curves, and the workload '{name}' "
            f"ships no study that does. Take --workload {_workload_for('fractions')}."
        )
    design = study["design"]
    arm = next(one for one in design["arms"] if one.get("role", "arm") == "arm")
    control = next(one for one in design["arms"] if one.get("role") == "control")
    along, route = next(
        (key, one) for key, one in design["paths"].items() if not one.get("of") and one.get("point")
    )
    every = max(1, len(design["values"]) // MOST_VALUES)
    values = design["values"][:-1:every] + design["values"][-1:]
    made = filled(
        "designs/fractions.template",
        {
            "metric": design["metric"],
            "along": design.get("along", "fraction"),
            "values": yaml_line(values),
            "arm": arm["name"],
            "control_arm": control["name"],
            "control_overrides": yaml_line(control.get("overrides", {})),
            "path": along,
            "point": yaml_line(route["point"]),
        },
    )
    smoke = {
        key: value
        for key, value in study["presets"].get("smoke", {}).items()
        if key.split(".")[0] in workload.Config.model_fields
    }
    variation = Variation(study["base"], smoke, [], ("", []), None, source=study["name"])
    question = f"Does {arm['name']} know more than {control['name']} at the same {along}?"
    return _file(request, name, workload, path, variation, question, made)


def _study_of_curves(name: str) -> dict[str, Any] | None:
    """The workload's first shipped study of the design fractions."""
    studies = (read_study_file(path) for path in studies_of(name))
    return next((one for one in studies if one["design"]["kind"] == "fractions"), None)


# -- metrics --------------------------------------------------------------------------------------


def _finals(workload: Workload[Any]) -> list[str]:
    """What trials end with."""
    return [name for name in workload.metrics if not name.startswith((*WHILE_TRAINING, HEALTH))]


def _metric(workload: Workload[Any], variation: Variation) -> str:
    finals = _finals(workload)
    if not finals:
        raise UsageError(
            f"The workload '{workload.name}' declares no metric that a trial ends with, so that "
            "there is nothing to judge: declare one in its `metrics`."
        )
    judged = [name for name in finals if workload.metrics[name].higher_is_better is not None]
    return str(variation.verdict.get("metric") or (judged or finals)[0])


def _search_metric(workload: Workload[Any], metric: str) -> str:
    """What is reported on the way and is nearest to the metric that is judged."""
    reported = [name for name in workload.metrics if name.startswith(WHILE_TRAINING)]
    for prefix in ("eval/", "train/"):
        if f"{prefix}{metric}" in reported:
            return f"{prefix}{metric}"
    if not reported:
        raise UsageError(
            f"The workload '{workload.name}' reports nothing on its way, so that a search would "
            "learn nothing: take another --design."
        )
    return reported[0]


def _listed(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
