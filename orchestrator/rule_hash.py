"""The decision rule of a study as plain data, and its hash: what is fixed before the run.

Two studies with one hash judge by the same rule: that of the verdict and of the alarms, claims,
endpoints, what is asked of curves and of effects, and which arms are there for what. Names, units
and other words for a reader are left out, and so are seeds and design: those say what is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.curve_design import Fractions
from orchestrator.designs import Factorial
from orchestrator.ledger import short_hash

if TYPE_CHECKING:
    from orchestrator.alarms.rule import AlarmRule
    from orchestrator.claims.rule import Claim
    from orchestrator.endpoints.rule import Endpoint
    from orchestrator.study_file import Design, StudyFile
    from orchestrator.verdict import Rule

CURVES = frozenset({"metric", "level", "low", "high", "confidence", "questions"})
"""Of the design `fractions`: what decides, where the rest says what is measured."""
EFFECTS = frozenset({"order"})
"""The same of `factorial`, and of what it removes."""


def rule_hash(file: StudyFile) -> str | None:
    """In the short form of instances; None for a study that states no rule."""
    return hash_of_rule(rule_of(file))


def hash_of_rule(rule: Mapping[str, Any]) -> str | None:
    """The hash of what `rule_of` or `stated_rule` gives; None if that decides nothing."""
    return short_hash(rule) if rule.keys() - {"roles"} else None


def rule_of(file: StudyFile) -> dict[str, Any]:
    """Everything that a study's answer is decided by, as plain JSON data."""
    return {
        **stated_rule(
            file.verdict,
            file.alarms,
            file.claims,
            file.endpoints,
            {arm.name: arm.role for arm in file.design.arms},
        ),
        **_asked_by(file.design),
    }


def stated_rule(
    verdict: Rule | None = None,
    alarms: AlarmRule | None = None,
    claims: Mapping[str, Claim] | None = None,
    endpoints: Mapping[str, Endpoint] | None = None,
    roles: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The parts of a rule that do not stand in a design. An arm with no role of its own is an arm
    like any other, listed or not."""
    parts = {
        "verdict": verdict.canonical() if verdict else None,
        "alarms": alarms.canonical() if alarms else None,
        "claims": {name: one.canonical() for name, one in (claims or {}).items()},
        "endpoints": {name: one.canonical() for name, one in (endpoints or {}).items()},
        "roles": {name: role for name, role in (roles or {}).items() if role != "arm"},
    }
    return {name: part for name, part in parts.items() if part}


def _asked_by(design: Design) -> dict[str, Any]:
    """What a design asks of what was measured."""
    if isinstance(design, Fractions):
        told = {"questions": {"__all__": {"about"}}}
        return {"curves": design.model_dump(mode="json", include=set(CURVES), exclude=told)}
    if isinstance(design, Factorial):
        removal = design.removal
        orders = {"order": design.order, "removal": removal.order if removal else None}
        return {"effects": orders}
    return {}


def without_rule(design: Mapping[str, Any]) -> dict[str, Any]:
    """A canonical design without what decides: whatever its arms are there for, and whatever is
    asked of what was measured."""
    asked = {"fractions": CURVES, "factorial": EFFECTS}.get(design["kind"], frozenset())
    left = {key: value for key, value in design.items() if key not in asked}
    left["arms"] = [{k: v for k, v in arm.items() if k != "role"} for arm in design["arms"]]
    if isinstance(removal := left.get("removal"), Mapping):
        left["removal"] = {k: v for k, v in removal.items() if k not in EFFECTS}
    return left
