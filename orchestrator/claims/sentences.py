"""Claims in words: what was found, where it was said to lie, and whether that holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.claims.result import (
    CANDIDATES,
    CONTRADICTED,
    HOLDS,
    INCOMPLETE,
    INCONCLUSIVE,
    NOT_FINITE,
    NOT_MEASURED,
    ClaimResult,
    Ends,
)
from orchestrator.claims.rule import Claim
from orchestrator.counted import counted
from orchestrator.verdict.numbers import MISSING

DIGITS = 3
MOST_NAMED = 4


def with_sentence(claim: ClaimResult) -> ClaimResult:
    """The claim with its sentence."""
    why = f"; {claim.why}" if claim.why else ""
    said = f"{claim.source} says" if claim.source else "claimed is"
    text = (
        f"{claim.label}: {figure_words(claim)} is {figure_text(claim)}, where {said} "
        f"{range_text(claim.expected)}{why}."
    )
    return replace(claim, sentence=text)


def answer_of(claims: Sequence[ClaimResult], pending: str) -> str:
    """All claims in a sentence or two."""
    if pending:
        return f"No verdict on claims yet: {pending}."
    asked = [one for one in claims if not one.control]
    controls = [one for one in claims if one.control]
    if not (asked and controls):
        return f"Of {counted(len(claims), 'claim')} {_labels(claims)}."
    return (
        f"Of {counted(len(asked), 'claim')} {_labels(asked)}. Apart from them, of "
        f"{counted(len(controls), 'claim')} on controls {_labels(controls)}."
    )


def _labels(claims: Sequence[ClaimResult]) -> str:
    parts = []
    for label, verb in (
        (HOLDS, "{} holds|{} hold"),
        (CONTRADICTED, "{} is contradicted|{} are contradicted"),
        (CANDIDATES[0], "{} is a candidate: holds|{} are candidates: hold"),
        (CANDIDATES[1], "{} is a candidate: contradicted|{} are candidates: contradicted"),
        (INCONCLUSIVE, "{} is inconclusive|{} are inconclusive"),
        (INCOMPLETE, "{} is incomplete|{} are incomplete"),
        (NOT_FINITE, "{} is not finite|{} are not finite"),
        (NOT_MEASURED, "{} is not measured|{} are not measured"),
    ):
        names = [one.name for one in claims if one.label == label]
        if names:
            words = verb.split("|")[len(names) > 1].format(len(names))
            more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
            parts.append(f"{words} ({', '.join(names[:MOST_NAMED])}{more})")
    return ", ".join(parts)


def figure_words(claim: ClaimResult | Claim) -> str:
    """What the figure is: `the share of steps with sv_ratio in 0.5 to 0.7 in lora`."""
    if claim.statistic in ("share", "runs"):
        where = f"{claim.column} {_in(claim.within or (None, None))}"
        if claim.statistic == "share":
            return f"the share of {claim.split} with {where} in {claim.arm}"
        return f"the part of runs of {claim.arm} with {where} at any of their {claim.split}"
    return f"the {claim.statistic} {claim.column} of {claim.arm}"


def figure_text(claim: ClaimResult) -> str:
    """`0.62 [0.55, 0.7]`; of runs `0 of 20 [0, 0.168]`; "n/a" where there is none."""
    value = number(claim.value)
    if claim.events is not None:
        value = f"{claim.events} of {claim.runs}"
    if claim.low is None or claim.high is None:
        return value
    return f"{value} [{number(claim.low)}, {number(claim.high)}]"


def range_text(ends: Ends) -> str:
    """`0.5 to 0.7`, `at least 0.85`, `at most 0`, `0`."""
    low, high = ends
    if low is not None and high is not None:
        return f"{low:g}" if low == high else f"{low:g} to {high:g}"
    if low is None and high is None:
        return "anything"
    return f"at most {high:g}" if low is None else f"at least {low:g}"


def number(value: float | None) -> str:
    """Three significant digits; "n/a" for None."""
    return MISSING if value is None else f"{value:.{DIGITS}g}"


def _in(ends: Ends) -> str:
    text = range_text(ends)
    return text if text.startswith(("at ", "anything")) else f"in {text}"
