"""What a design `fractions` cannot mean: refused before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.curve_design import (
    DRAW,
    CurveFile,
    Fractions,
    Higher,
    Matched,
    PathFile,
    Question,
    Sharper,
)
from orchestrator.errors import UsageError, unknown
from orchestrator.fraction_words import listed
from workloads.contract import Workload

if TYPE_CHECKING:
    from orchestrator.trials import Trial


def check_fractions(design: Fractions, workload: Workload[Any]) -> None:
    """Raises `UsageError`, with what to do, for a design that cannot mean anything."""
    if type(workload).point is Workload.point:
        raise UsageError(
            f"the models of workload '{workload.name}' cannot be asked along values: it does not "
            "say what a point is (Workload.point). The design fractions needs one that does."
        )
    _check_metric(design, workload)
    names = [arm.name for arm in design.arms]
    for name, path in design.paths.items():
        _check_path(design, name, path, names)
    for name, question in design.questions.items():
        _check_question(design, name, question)


def _check_metric(design: Fractions, workload: Workload[Any]) -> None:
    declared = workload.point_metrics
    if not declared:
        return
    if design.metric not in declared:
        raise UsageError(unknown("design.metric", design.metric, declared))
    for name, question in design.questions.items():
        if isinstance(question, Matched) and question.by not in declared:
            raise UsageError(
                unknown(f"metric in design.questions.{name}.by", question.by, declared)
            )
    scored = next(iter(declared))
    if design.questions and design.metric != scored:
        raise UsageError(
            f"design.questions cannot be answered by '{design.metric}', which has one number a "
            f"point: intervals take scores by example, which are of '{scored}'. Give metric: "
            f"{scored}, or leave the questions out."
        )


def _check_path(design: Fractions, name: str, path: PathFile, arms: Sequence[str]) -> None:
    for arm in path.of:
        if arm not in arms:
            raise UsageError(unknown(f"arm in design.paths.{name}.of", arm, arms))
    key = design.key(path)
    if key == DRAW:
        raise UsageError(
            f"path '{name}' goes along '{DRAW}', which has no order: list draws, and let the path "
            "go along another key."
        )
    if key in path.point:
        raise UsageError(
            f"path '{name}' goes along '{key}', but its point has '{key}' too: leave it out there, "
            "or give another key as along."
        )


def _check_question(design: Fractions, name: str, question: Question) -> None:
    where = f"design.questions.{name}"
    one, other = question.curve, question.than
    values = [_check_curve(design, f"{where}.curve", one), _check_curve(design, where, other)]
    if one == other:
        raise UsageError(f"{where} compares a curve with itself: give another as than.")
    keys = [design.key(design.paths[curve.path]) for curve in (one, other)]
    if isinstance(question, Sharper):
        _check_sharper(where, question, keys, values)
    elif isinstance(question, Higher):
        _check_higher(where, question, keys, values)
    else:
        _check_matched(where, question)


def _check_curve(design: Fractions, where: str, curve: CurveFile) -> tuple[float, ...]:
    """The values of a curve that exists."""
    names = [arm.name for arm in design.arms]
    if curve.arm not in names:
        raise UsageError(unknown(f"arm in {where}", curve.arm, names))
    if curve.path not in design.paths:
        raise UsageError(unknown(f"path in {where}", curve.path, design.paths))
    path = design.paths[curve.path]
    if curve.arm not in design.arms_of(path):
        raise UsageError(
            f"{where}: path '{curve.path}' is not asked of arm '{curve.arm}', only of "
            f"{', '.join(path.of)}: add it to design.paths.{curve.path}.of."
        )
    values = design.along_values(path)
    if curve.at is not None and curve.at not in values:
        raise UsageError(
            f"{where}: at: {curve.at:g} is not among the values of path '{curve.path}': "
            f"{listed(values)}."
        )
    return values


def _check_sharper(
    where: str, question: Sharper, keys: Sequence[str], values: Sequence[Sequence[float]]
) -> None:
    if question.curve.at is not None or question.than.at is not None:
        raise UsageError(f"{where}: a curve with at is flat and has no width: leave at out.")
    if keys[0] != keys[1]:
        raise UsageError(
            f"{where}: one width is of {keys[0]}, the other of {keys[1]}, and the two cannot be "
            "compared: ask `matched`, or paths along the same key."
        )
    if min(map(len, values)) < 2:
        raise UsageError(f"{where}: a path with one value has no width: give it more.")


def _check_higher(
    where: str, question: Higher, keys: Sequence[str], values: Sequence[Sequence[float]]
) -> None:
    free = [
        (key, set(given))
        for curve, key, given in zip((question.curve, question.than), keys, values, strict=True)
        if curve.at is None
    ]
    if len(free) == 2 and free[0][0] != free[1][0]:
        raise UsageError(
            f"{where}: one curve goes along {keys[0]}, the other along {keys[1]}: they have no "
            "values in common. Give one of them at, or ask `matched`."
        )
    if not free:
        if question.values is not None:
            raise UsageError(f"{where}: both curves have at, so there are no values to choose.")
        return
    both = sorted(set.intersection(*(given for _, given in free)))
    if not both:
        raise UsageError(f"{where}: the two curves have no value in common.")
    for value in question.values or ():
        if value not in both:
            raise UsageError(
                f"{where}.values: {value:g} is not a value of both curves. They have "
                f"{listed(both)}."
            )


def _check_matched(where: str, question: Matched) -> None:
    if question.curve.at is not None and question.than.at is not None:
        raise UsageError(
            f"{where}: two points have no range of {question.by} in common: leave at out of one."
        )


def check_models(trials: Sequence[Trial]) -> None:
    """Raises `UsageError` unless each arm is one model, and another than every other arm's."""
    seeds: dict[str, list[int]] = {}
    owner: dict[str, str] = {}
    for trial in trials:
        seeds.setdefault(trial.arm, []).append(trial.seed)
        first = owner.setdefault(trial.identity, trial.arm)
        if first != trial.arm:
            raise UsageError(
                f"arms '{first}' and '{trial.arm}' are the same configuration, so that their "
                "curves are the same: leave one out."
            )
    for arm, found in seeds.items():
        if len(found) > 1:
            raise UsageError(
                f"arm '{arm}' has {len(found)} seeds, and so as many models; a curve is of one. "
                f"Give one seed, e.g. seeds: [{found[0]}], or an arm for each."
            )
