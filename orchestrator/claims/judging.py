"""Whether what is claimed of a figure holds: its whole interval lies where it is said to lie."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.claims.estimating import Figure, estimate
from orchestrator.claims.gathering import ArmRuns
from orchestrator.claims.result import (
    CONTRADICTED,
    HOLDS,
    INCOMPLETE,
    INCONCLUSIVE,
    NOT_FINITE,
    NOT_MEASURED,
    PENDING,
    ClaimResult,
    Ends,
    StudyClaims,
)
from orchestrator.claims.rule import Claim
from orchestrator.claims.sentences import answer_of, with_sentence
from orchestrator.counted import counted

CONFIDENCE = 0.95
"""Of all claims of a study together."""
FEW = 5
"""Runs below which a figure says so."""


def judge_claims(
    claims: Mapping[str, Claim],
    runs: Mapping[str, ArmRuns],
    pending: str = "",
    confidence: float = CONFIDENCE,
) -> StudyClaims:
    """Every claim beside its figure, from the runs that were gathered under its name.

    Ends are simultaneous over the claims (Bonferroni). `pending`: what the study still waits for;
    until it is there nothing is called anything.
    """
    each = 1 - (1 - confidence) / len(claims)
    judged = tuple(
        with_sentence(_judge(name, claim, runs[name], pending, confidence, len(claims), each))
        for name, claim in claims.items()
    )
    return StudyClaims(
        judged,
        answer_of(judged, pending),
        "no verdict yet" if pending else "answered",
        confidence,
    )


def label_of(figure: Figure, expected: Ends) -> str:
    """Of a figure alone: what lies at an edge holds, as the edges are part of the range."""
    if figure.low is None or figure.high is None:
        return INCONCLUSIVE
    low, high = expected
    if (low is not None and figure.high < low) or (high is not None and figure.low > high):
        return CONTRADICTED
    inside = (low is None or figure.low >= low) and (high is None or figure.high <= high)
    return HOLDS if inside else INCONCLUSIVE


def _judge(
    name: str,
    claim: Claim,
    runs: ArmRuns,
    pending: str,
    confidence: float,
    family: int,
    each: float,
) -> ClaimResult:
    values = [one.value for one in runs.figures if one.value is not None]
    strange = sum(one.not_finite > 0 for one in runs.figures)
    silent = len(runs.figures) - len(values)
    figure = estimate(claim.statistic, values, each)
    label, why = label_of(figure, claim.expected), figure.why
    if strange:
        label = NOT_FINITE
    elif values and len(values) < FEW and not why:
        why = f"{counted(len(values), 'run')}, fewer than {FEW}"
    if runs.failed or (silent and values):
        label = NOT_FINITE if strange else INCOMPLETE
        parts = [f"{runs.failed} failed"] * bool(runs.failed)
        parts += [f"{silent} measured nothing"] * bool(silent)
        parts += [f"{strange} hold values that are not finite"] * bool(strange)
        why = f"of {counted(len(runs.figures) + runs.failed + runs.waiting, 'run')} " + (
            " and ".join(parts)
        )
    elif not values:
        label, why = NOT_MEASURED, f"no run holds '{claim.column}' in its split '{claim.split}'"
    if pending:
        label, why = PENDING, pending
    return ClaimResult(
        name=name,
        arm=claim.arm,
        statistic=claim.statistic,
        column=claim.column,
        split=claim.split,
        within=claim.within,
        expected=claim.expected,
        source=claim.source,
        about=claim.about,
        label=label,
        sentence="",
        confidence=confidence,
        family=family,
        value=figure.value,
        low=figure.low,
        high=figure.high,
        runs=len(values),
        planned=len(runs.figures) + runs.failed + runs.waiting,
        failed=runs.failed,
        silent=silent,
        strange=strange,
        units=sum(one.units for one in runs.figures),
        not_finite=sum(one.not_finite for one in runs.figures),
        events=figure.events,
        why=why,
        control=runs.control,
        figures=runs.figures,
    )
