"""Designs: rules that yield arms. A design knows nothing of trials, seeds or workloads."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.errors import UsageError
from orchestrator.factorial import check_factorial, coalition_arms, coalition_overrides
from orchestrator.study_file import ArmFile, Design, Factorial, Grid, Level, Role


@dataclass(frozen=True)
class Arm:
    """One point of a design. `seeds` None means the study's own."""

    name: str
    role: Role | Literal["proposal"]
    overrides: Mapping[str, Any]
    seeds: tuple[int, ...] | None = None
    about: str = ""


def arms_of(design: Design) -> Iterator[Arm]:
    """The arms that are known before anything runs, listed ones first.

    Raises `UsageError` for a grid whose points cannot be told apart by name, and for a factorial
    that means nothing (see `check_factorial`).
    """
    if isinstance(design, Factorial):
        yield from _factorial(design)
        return
    for listed in design.arms:
        yield _listed(listed)
    if isinstance(design, Grid):
        listed_names = {listed.name for listed in design.arms}
        seen: set[str] = set()
        names = list(design.factors)
        shown = {factor: _shown(levels) for factor, levels in design.factors.items()}
        for levels in itertools.product(*design.factors.values()):
            point = dict(zip(names, levels, strict=True))
            name = arm_name({factor: shown[factor].get(v, v) for factor, v in point.items()})
            if name in seen:
                raise UsageError(
                    f"Two points of the grid are both called '{name}': give levels that differ."
                )
            seen.add(name)
            if name not in listed_names:
                yield Arm(name, "arm", point)


def _factorial(design: Factorial) -> Iterator[Arm]:
    """Listed arms, then the combinations; one that is listed has the role that is given there."""
    check_factorial(design)
    combinations = {
        name: coalition_overrides(design, coalition)
        for name, coalition in coalition_arms(design).items()
    }
    listed = {arm.name: arm for arm in design.arms}
    for name, arm in listed.items():
        if name not in combinations:
            yield _listed(arm)
    for name, overrides in combinations.items():
        given = listed.get(name)
        role, about = (given.role, given.about) if given else ("arm", "")
        yield Arm(name, role, overrides, about=about)


def arm_name(point: Mapping[str, Any]) -> str:
    """`rank=8,alpha=16`: a factor by the last part of its key, where that tells it apart."""
    short = {key: key.rpartition(".")[2] for key in point}
    clear = {key: s if list(short.values()).count(s) == 1 else key for key, s in short.items()}
    text = ",".join(f"{clear[key]}={_level(value)}" for key, value in point.items())
    return re.sub(r"[^A-Za-z0-9=,._+-]", "_", text)


def _shown(levels: Sequence[Level]) -> dict[Level, str]:
    """Absolute paths by their last part, where it tells them apart: a name that every folder has
    in common."""
    paths = [level for level in levels if isinstance(level, str) and os.path.isabs(level)]
    short: dict[Level, str] = {path: os.path.basename(path) for path in paths}
    names = [short.get(level) or str(level) for level in levels]
    return short if len(set(names)) == len(names) else {}


def _level(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _listed(arm: ArmFile) -> Arm:
    seeds = tuple(arm.seeds) if arm.seeds is not None else None
    return Arm(arm.name, arm.role, arm.overrides, seeds, arm.about)
