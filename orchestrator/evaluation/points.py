"""Points that a study asks of finished models, and the names by which they are known.

A subject is a finished trial's model: the outcome that is read now, so that figures never mix the
models of two outcomes. A point is named by the hash of what is asked and what it is measured on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UsageError
from orchestrator.factorial import subject_arms
from orchestrator.fractions import curves_of_arm, points_in_order
from orchestrator.identity import canonical_json
from orchestrator.study_file import Factorial, Fractions
from workloads.evaluation import ON, Point

if TYPE_CHECKING:
    from orchestrator.records import Outcome
    from orchestrator.study import Study
    from orchestrator.trials import Trial

SUBJECT_VERSION = 1
POINT_VERSION = 1
DIGITS = 20


@dataclass(frozen=True)
class Asked:
    """The points asked of one subject, each once, with their hashes.

    `measured_on` is what their results depend on beside the point (`Workload.measured_on`).
    """

    points: tuple[Point, ...]
    hashes: tuple[str, ...]
    measured_on: Mapping[str, Any]


def subject_hash(identity: str, outcome: int) -> str:
    """The name of a finished trial's model: 20 hexadecimal digits.

    A trial that was run again is another subject: what it learned may differ.
    """
    content = {"subject_version": SUBJECT_VERSION, "trial": identity, "outcome": outcome}
    return _hashed(content)


def subject_of(outcome: Outcome) -> str:
    """As `subject_hash`, of an outcome."""
    return subject_hash(outcome.identity, outcome.number)


def point_hash(point: Point, measured_on: Mapping[str, Any]) -> str:
    """The name of a point among those of its subject: 20 hexadecimal digits.

    What is on is a set: its order does not count. Raises ValueError on NaN or infinity.
    """
    content = {
        "point_version": POINT_VERSION,
        "point": canonical_point(point),
        "measured_on": dict(measured_on),
    }
    return _hashed(content)


def canonical_point(point: Point) -> dict[str, Any]:
    """A point as plain JSON that is the same however it was written."""
    plain = dict(point)
    if ON in plain:
        plain[ON] = sorted(set(plain[ON]))
    return plain


def asks_points(study: Study, arm: str) -> bool:
    """Whether the study asks anything of the finished models of an arm."""
    design = study.file.design
    if isinstance(design, Fractions):
        return any(arm in design.arms_of(path) for path in design.paths.values())
    if not isinstance(design, Factorial) or design.removal is None:
        return False
    return arm in subject_arms(design)


def asked_points(study: Study, trial: Trial) -> Sequence[Point]:
    """What the study asks of the trial's finished model, in order; empty if nothing.

    Raises `UsageError` if there is nothing to switch, or more than can be enumerated; and for a
    point that the model cannot be asked.
    """
    return asked_of(study, trial).points


def asked_of(study: Study, trial: Trial) -> Asked:
    """`asked_points`, each once, with their hashes. Raises as above."""
    design = study.file.design
    if not asks_points(study, trial.arm):
        return Asked((), (), {})
    if isinstance(design, Fractions):
        curves = curves_of_arm(design, study.workload, trial.arm, trial.config)
        return asked_for(points_in_order(curves), study.workload.measured_on(trial.config))
    assert isinstance(design, Factorial)
    assert design.removal is not None
    names = tuple(study.workload.switches(trial.config))
    if not names:
        raise UsageError(
            f"arm '{trial.arm}': its model has nothing that can be switched off, so no removal "
            "cost can be measured. Give design.removal.of arms whose models have."
        )
    measured_on = canonical_json(dict(study.workload.measured_on(trial.config)))
    removal = design.removal
    try:
        return _asked(
            names,
            removal.full,
            removal.budget,
            removal.estimator,
            removal.draws,
            removal.sampling_seed,
            measured_on,
        )
    except ValueError as error:
        raise UsageError(
            f"removal from arm '{trial.arm}' ({len(names)} switches): {error}"
        ) from error


def asked_for(points: Iterable[Point], measured_on: Mapping[str, Any]) -> Asked:
    """Any points, each once: what is hashed the same is the same."""
    by_hash: dict[str, Point] = {}
    for point in points:
        by_hash.setdefault(point_hash(point, measured_on), point)
    return Asked(tuple(by_hash.values()), tuple(by_hash), dict(measured_on))


def in_prefix_order(asked: Asked, factors: Sequence[str]) -> list[int]:
    """Indices of the points so that neighbours share as long a beginning as can be.

    Coalitions go by what is on along the network, so that a worker with a contiguous piece of them
    computes shared beginnings once; other points as they were asked.
    """
    place = {name: index for index, name in enumerate(factors)}

    def key(index: int) -> tuple[Any, ...]:
        point = asked.points[index]
        if ON not in point or not all(name in place for name in point[ON]):
            return (1, index)
        on = {place[name] for name in point[ON]}
        rest = canonical_json({k: v for k, v in point.items() if k != ON})
        return (0, rest, tuple(i in on for i in range(len(factors))))

    return sorted(range(len(asked.points)), key=key)


@lru_cache(maxsize=16)
def _asked(
    names: tuple[str, ...],
    full: bool,
    budget: int | None,
    estimator: Any,
    draws: int,
    seed: int,
    measured_on: str,
) -> Asked:
    """Chosen and hashed once: every trial of an arm is asked for the same."""
    from telemetry.counterfactual.plan import plan_coalitions

    plan = plan_coalitions(
        len(names), full=full, budget=budget, estimator=estimator, draws=draws, seed=seed
    )
    points = ({ON: list(compress(names, coalition))} for coalition in plan.coalitions)
    return asked_for(points, json.loads(measured_on))


def _hashed(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:DIGITS]
