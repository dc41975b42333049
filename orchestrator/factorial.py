"""The design `factorial`: which combinations of factors are arms, and what they are called."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UsageError, unknown
from orchestrator.study_file import ArmFile, Factorial, merged
from telemetry.counterfactual.coalitions import NONE, Coalition, named
from workloads.errors import nearest

if TYPE_CHECKING:
    from orchestrator.trials import Trial
    from telemetry.counterfactual.plan import CoalitionPlan

JOIN = "+"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
MOST_NAME = 40
"""Characters of a factor's name: arms and metrics join several."""


def coalition_plan(design: Factorial) -> CoalitionPlan:
    """The combinations that are trained, and how they were chosen.

    Raises `UsageError` for more than can be enumerated without a budget, or too small a budget.
    """
    n = len(design.factors)
    try:
        made = _planned(
            n,
            design.full,
            design.budget,
            design.estimator,
            design.draws,
            design.sampling_seed,
        )
    except ValueError as error:
        raise UsageError(f"a factorial of {n} factors: {error}") from error
    if not made.enumerated and design.budget is None:
        raise UsageError(
            f"{n} factors make 2^{n} = {2**n:,} arms. Give design.budget to train a sample of them "
            f"(a usual one: {made.described()}), or full: true to train all (up to 16 factors)."
        )
    return made


@lru_cache(maxsize=64)
def _planned(
    n: int, full: bool, budget: int | None, estimator: Any, draws: int, seed: int
) -> CoalitionPlan:
    """Chosen once: a study asks for its arms many times, and sampling takes a while."""
    from telemetry.counterfactual.plan import plan_coalitions

    return plan_coalitions(n, full=full, budget=budget, estimator=estimator, draws=draws, seed=seed)


def coalition_arms(design: Factorial) -> Mapping[str, Coalition]:
    """By the name of each arm that is a combination: which factors are on, in their order.

    Empty without factors. Raises `UsageError` as `coalition_plan`.
    """
    if not design.factors:
        return {}
    names = tuple(design.factors)
    found = coalition_plan(design).coalitions
    return {named(coalition, names): coalition for coalition in found}


def coalition_overrides(design: Factorial, coalition: Coalition) -> dict[str, Any]:
    """What the factors that are on override, together."""
    together: dict[str, Any] = {}
    for overrides in itertools.compress(design.factors.values(), coalition):
        together = merged(together, overrides)
    return together


def subject_arms(design: Factorial) -> tuple[str, ...]:
    """The arms whose models removal costs are asked of; none if they are not asked for."""
    if design.removal is None:
        return ()
    if design.removal.of:
        return tuple(design.removal.of)
    if design.factors:
        return (named((True,) * len(design.factors), tuple(design.factors)),)
    return tuple(arm.name for arm in design.arms)


def check_factorial(design: Factorial) -> None:
    """Raises `UsageError`, with what to do, for a design that cannot mean anything."""
    if not design.factors and design.removal is None:
        raise UsageError(
            "a factorial design has neither factors nor removal: give factors (what is trained "
            "on and off), removal (what is switched off in finished models), or both."
        )
    if not design.factors and not design.arms:
        raise UsageError(
            "removal is asked of finished models, but there is no arm to train one: give factors, "
            "or list arms."
        )
    for name, overrides in design.factors.items():
        _check_name(name)
        if not overrides:
            raise UsageError(
                f"factor '{name}' overrides nothing, so that on and off are the same: say what it "
                "changes, e.g. {slots.early: {blueprint: norm}}."
            )
    _check_overlap(design.factors)
    combinations = coalition_arms(design)
    _check_listed(design, combinations)
    names = {*combinations, *(arm.name for arm in design.arms)}
    for name in subject_arms(design):
        if name not in names:
            raise UsageError(unknown("arm in design.removal.of", name, names))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name == NONE:
        why = "is what the arm is called in which all are off" if name == NONE else "will not do"
        raise UsageError(
            f"a factor cannot be called '{name}': that {why}. Use letters, digits, '_', '.' and "
            "'-'; '+' joins the names of what is on."
        )
    if len(name) > MOST_NAME:
        raise UsageError(
            f"factor '{name[:MOST_NAME]}…' has a name of {len(name)} characters, and {MOST_NAME} "
            "are the most, since the names of arms join them; shorten it."
        )


def _check_overlap(factors: Mapping[str, Mapping[str, Any]]) -> None:
    """Two factors that set the same thing are not two: which one wins would be chance."""
    leaves = {name: sorted(_leaves(overrides)) for name, overrides in factors.items()}
    for (one, mine), (other, theirs) in itertools.combinations(leaves.items(), 2):
        for a, b in itertools.product(mine, theirs):
            if a[: len(b)] == b or b[: len(a)] == a:
                key = ".".join(a if len(a) > len(b) else b)
                raise UsageError(
                    f"factors '{one}' and '{other}' overlap: both override '{key}'. What one "
                    "changes must be its own; give each another key, or make them one factor."
                )


def _leaves(overrides: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for key, value in overrides.items():
        path = tuple(key.split("."))
        if isinstance(value, Mapping) and value:
            yield from ((*path, *rest) for rest in _leaves(value))
        else:
            yield path


def _check_listed(design: Factorial, combinations: Mapping[str, Coalition]) -> None:
    """A listed arm may say the role of a combination, but not be another thing of that name."""
    for arm in design.arms:
        if arm.name not in combinations:
            _check_no_combination(arm, tuple(design.factors), combinations)
            continue
        same = merged({}, arm.overrides) == coalition_overrides(design, combinations[arm.name])
        if (arm.overrides and not same) or arm.seeds is not None:
            raise UsageError(
                f"arm '{arm.name}' has the name of a combination of factors: it may give its role "
                "and what it is about, but no overrides or seeds of its own; call it otherwise."
            )


def _check_no_combination(
    arm: ArmFile, factors: Sequence[str], combinations: Mapping[str, Coalition]
) -> None:
    """Refuses a name that reads like a combination and is none: it would be the bare base."""
    if not factors:
        return
    parts = arm.name.split(JOIN)
    canonical = JOIN.join(name for name in factors if name in parts)
    if set(parts) <= set(factors) and canonical not in combinations:
        raise UsageError(
            f"arm '{arm.name}': '{canonical}' is not among the {len(combinations)} combinations "
            "that design.budget trains; leave the arm out, or give a larger budget or another "
            "design.sampling_seed."
        )
    mistyped = not arm.overrides and nearest(arm.name, combinations)
    if len(parts) > 1 or mistyped:
        near = canonical if set(parts) <= set(factors) else nearest(arm.name, combinations)
        guess = f" Did you mean '{near}'?" if near else ""
        raise UsageError(
            f"arm '{arm.name}' is no combination of the factors {', '.join(factors)}.{guess} "
            f"'{JOIN}' joins the names of what is on, in the order of the factors; an arm that is "
            "none of them has overrides, and a name without it."
        )


def factorial_notes(design: Factorial, trials: Iterable[Trial]) -> Iterator[str]:
    """What a plan says of the combinations: how many, how chosen, and factors without effect."""
    if not design.factors:
        return
    names = tuple(design.factors)
    arms = coalition_arms(design)
    all_of_them = 2 ** len(names)
    how = "from the same seeds"
    if len(arms) < all_of_them:
        how = f"{coalition_plan(design).described()}; {how}"
    yield f"{len(arms):,} of {all_of_them:,} combinations of {', '.join(names)}, {how}"
    identities: dict[Coalition, set[str]] = {}
    for trial in trials:
        if trial.arm in arms:
            identities.setdefault(arms[trial.arm], set()).add(trial.identity)
    for place, name in enumerate(names):
        pairs = [
            (found, identities[(*on[:place], False, *on[place + 1 :])])
            for on, found in identities.items()
            if on[place] and (*on[:place], False, *on[place + 1 :]) in identities
        ]
        if pairs and all(one == other for one, other in pairs):
            yield (
                f"factor '{name}' changes nothing: with it on, every trial is the same as with it "
                "off"
            )
