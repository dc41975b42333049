"""Whether what is claimed of a figure holds: its whole interval lies where it is said to lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from orchestrator.claims.estimating import estimate
from orchestrator.claims.gathering import ArmRuns
from orchestrator.claims.result import (
    CANDIDATE,
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
from orchestrator.intervals import Figure
from orchestrator.limits import NO_LIMITS, Limits, ends_within

CONFIDENCE = 0.95
"""Of all claims of a study together, where nothing else answers it."""
FEW = 5
"""With fewer runs a figure says so, and what is found is a candidate, save of `runs`: t goes by the
scatter of the runs, which so few do not show, while a count of runs has its exact interval."""


def judge_claims(
    claims: Mapping[str, Claim],
    runs: Mapping[str, ArmRuns],
    pending: str = "",
    confidence: float = CONFIDENCE,
    limits: Mapping[str, Limits] | None = None,
) -> StudyClaims:
    """Every claim beside its figure, from the runs that were gathered under its name.

    Ends are simultaneous over the claims (Bonferroni). `pending`: what the study still waits for;
    until it is there nothing is called anything. `limits`: of columns, within which ends are shown;
    labels go by the ends as they are estimated.
    """
    each = 1 - (1 - confidence) / len(claims)
    judged = tuple(
        with_sentence(
            _judge(
                name,
                claim,
                runs[name],
                pending,
                confidence,
                len(claims),
                each,
                (limits or {}).get(claim.column, NO_LIMITS),
            )
        )
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


def _shown(figure: Figure, claim: Claim, limits: Limits) -> Figure:
    """The figure with its ends within what it can be: a share and a part of runs are already."""
    if claim.statistic in ("share", "runs"):
        return figure
    low, high = ends_within(figure.value, figure.low, figure.high, limits)
    return replace(figure, low=low, high=high)


def _judge(
    name: str,
    claim: Claim,
    runs: ArmRuns,
    pending: str,
    confidence: float,
    family: int,
    each: float,
    limits: Limits,
) -> ClaimResult:
    values = [one.value for one in runs.figures if one.value is not None]
    strange = sum(one.not_finite > 0 for one in runs.figures)
    silent = len(runs.figures) - len(values)
    figure = estimate(claim.statistic, values, each)
    shown = _shown(figure, claim, limits)
    label, why = label_of(figure, claim.expected), figure.why
    if strange:
        label = NOT_FINITE
    elif values and len(values) < FEW and not why:
        why = f"{counted(len(values), 'run')}, fewer than {FEW}"
        if label != INCONCLUSIVE and claim.statistic != "runs":
            label = f"{CANDIDATE}: {label}"
    if label == INCONCLUSIVE != label_of(shown, claim.expected):
        end = figure.low if figure.low != shown.low else figure.high
        told = f"the interval reached {end:.3g} before it was cut to what {claim.column} can be"
        why = f"{why}; {told}" if why else told
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
        low=shown.low,
        high=shown.high,
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
