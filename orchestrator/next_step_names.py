"""What a list of a study's `next_steps` may be called: the outcomes that the study can have."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.alarms import result as alarms
from orchestrator.claims import result as claims
from orchestrator.curves import curve as curves
from orchestrator.endpoints import result as endpoints
from orchestrator.errors import UsageError, unknown
from orchestrator.study_file import AlarmRule, Fractions, StudyFile
from orchestrator.verdict.answer import step_key
from orchestrator.verdict.rule import Rule

OF_RULE = (
    "improves",
    "marginal",
    "does_not_help",
    "harm",
    "inconclusive",
    "screen",
    "gate_not_met",
    "no_verdict_yet",
)
OF_CURVES = (
    curves.SHARPER,
    curves.LESS_SHARP,
    curves.AS_SHARP,
    curves.HIGHER,
    curves.LOWER,
    curves.EQUAL,
    curves.MIXED,
    curves.IDENTICAL,
    curves.INCONCLUSIVE,
    curves.NOT_ANSWERED,
    "no question",
)
OF_CLAIMS = (
    claims.HOLDS,
    claims.CONTRADICTED,
    claims.INCONCLUSIVE,
    claims.INCOMPLETE,
    *claims.CANDIDATES,
    claims.CANDIDATE,
    claims.NOT_FINITE,
    claims.NOT_MEASURED,
)
OF_ENDPOINTS = (
    endpoints.HIGHER,
    endpoints.LOWER,
    endpoints.NO_EFFECT,
    endpoints.INCONCLUSIVE,
    endpoints.IDENTICAL,
    endpoints.INCOMPLETE,
    endpoints.FAILED,
    endpoints.DIVERGED,
    endpoints.NOT_FINITE,
    endpoints.NOT_MEASURED,
)
OF_ANY = ("answered", "no verdict yet")


def check_next_steps(file: StudyFile) -> None:
    """Refuses a name that no outcome of the study has: its steps would never be told. Raises
    `UsageError`."""
    if not file.next_steps:
        return
    valid = {step_key(name): None for name in _outcomes(file)}
    if not valid:
        raise UsageError(
            "next_steps stand under outcomes, and the study states no question that has one: add "
            "a verdict, claims, endpoints or alarms, or leave next_steps out."
        )
    for name in file.next_steps:
        if step_key(name) not in valid:
            raise UsageError(unknown("outcome in next_steps", name, valid))


def _outcomes(file: StudyFile) -> Iterator[str]:
    if file.verdict is not None:
        yield from _of_rule(file.verdict)
        return
    answered = bool(file.claims or file.endpoints or file.alarms)
    if isinstance(file.design, Fractions):
        answered = True
        yield from OF_CURVES
    if file.claims:
        yield from OF_CLAIMS
    if file.endpoints:
        yield from _of_endpoints()
    if file.alarms is not None:
        yield from _of_alarms(file.alarms)
    if answered:
        yield from OF_ANY


def _of_rule(rule: Rule) -> Iterator[str]:
    yield from OF_RULE
    yield from (band.name for band in rule.bands)


def _of_alarms(rule: AlarmRule) -> Iterator[str]:
    yield from (alarms.FIRST.format(name) for name in (rule.first, rule.than))
    yield from (alarms.NEITHER, alarms.INCONCLUSIVE, alarms.NOT_CALIBRATED, alarms.NOT_MEASURED)


def _of_endpoints() -> Iterator[str]:
    """Labels, those of few seeds, and each without what follows a comma."""
    for label in OF_ENDPOINTS:
        for name in (label, f"{endpoints.CANDIDATE} {label}"):
            yield from (name, name.partition(",")[0])
