"""Endpoints in words: what differs, by how much, and whether that matters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.counted import counted
from orchestrator.endpoints.result import (
    CANDIDATE,
    IDENTICAL,
    NO_EFFECT,
    Comparison,
)
from orchestrator.endpoints.rule import Endpoint
from orchestrator.verdict.numbers import MISSING

SMALL = 1e-3
"""What is smaller is written with an exponent."""
DIGITS = 3
MOST_DIGITS = 8
MOST_NAMED = 4


def with_sentence(one: Comparison) -> Comparison:
    """The comparison with its sentence."""
    said = f"{one.column} of {one.arm} minus {one.against}"
    unit = f" {one.unit}" if one.unit else ""
    if one.label == IDENTICAL:
        text = f"every {one.column} of {one.arm} equals {one.against}'s: nothing is tested"
    else:
        text = f"{said} is {difference_text(one)}{unit}, where ±{one.margin:g} would not matter"
    if one.label.removeprefix(f"{CANDIDATE} ") == NO_EFFECT:
        text = f"{said} is {difference_text(one)}{unit}, all of it within ±{one.margin:g}"
    why = f"; {one.why}" if one.why else ""
    kind = "" if one.primary else " (secondary)"
    return replace(one, sentence=f"{one.label}{kind}: {text}{why}.")


def answer_of(comparisons: Sequence[Comparison], pending: str) -> str:
    """The primary endpoints in a sentence each, those on controls apart."""
    if pending:
        return f"No verdict on endpoints yet: {pending}."
    primary = [one for one in comparisons if one.primary]
    if not primary:
        return "No endpoint is primary, so that none answers the study."
    names = dict.fromkeys(one.endpoint for one in primary)
    told = [_told(name, [one for one in primary if one.endpoint == name]) for name in names]
    return " ".join(told)


def _told(name: str, comparisons: Sequence[Comparison]) -> str:
    asked = [one for one in comparisons if not one.control]
    controls = [one for one in comparisons if one.control]
    parts = [_labels(asked)] if asked else []
    if controls:
        parts.append(f"among controls {_labels(controls)}")
    return f"{name} against {comparisons[0].against}: {'; '.join(parts)}."


def _labels(comparisons: Sequence[Comparison]) -> str:
    """`effect, higher in a, b; identical in c; identical, flagged, in d`."""
    arms: dict[str, list[str]] = {}
    for one in comparisons:
        arms.setdefault(f"{one.label}, flagged," if one.flagged else one.label, []).append(one.arm)
    return "; ".join(f"{label} in {named(of)}" for label, of in arms.items())


def named(arms: Sequence[str]) -> str:
    """`a, b, c, d and 3 more`."""
    more = f" and {len(arms) - MOST_NAMED} more" if len(arms) > MOST_NAMED else ""
    return ", ".join(arms[:MOST_NAMED]) + more


def families_text(sizes: Mapping[tuple[bool, bool], int]) -> str:
    """`32 primary comparisons, 44 secondary, 2 secondary of controls`, from how many there are of
    each family (`family_of`)."""
    parts: list[str] = []
    for primary, control in ((True, False), (False, False), (False, True)):
        if count := sizes.get((primary, control), 0):
            kind = "primary" if primary else "secondary"
            said = f"{count} {kind}" if parts else counted(count, f"{kind} comparison")
            parts.append(f"{said} of controls" if control else said)
    return ", ".join(parts)


def difference_text(one: Comparison) -> str:
    """`+0.62 [+0.55, +0.7]`; `0` where it is identical; "n/a" where there is none. With as many
    digits as tell on which side of 0 and of the margin an end lies."""
    if one.value is None:
        return MISSING
    if one.label == IDENTICAL:
        return "0"
    if one.low is None or one.high is None:
        return signed(one.value, DIGITS)
    digits = _telling((one.low, one.high), (one.margin, -one.margin))
    return f"{signed(one.value, DIGITS)} [{signed(one.low, digits)}, {signed(one.high, digits)}]"


def means_text(one: Comparison) -> str:
    """`0.52 against 0.5`; "n/a" where nothing was paired."""
    if one.mean is None or one.against_mean is None:
        return MISSING
    return f"{figure(one.mean)} against {figure(one.against_mean)}"


def counts_text(one: Comparison) -> str:
    """`5 seeds, 64 units in 16 clusters`; of arms that do not depend on the seed the units."""
    seeds = "" if one.fixed else counted(one.seeds, "seed")
    if one.seeds < one.planned:
        seeds = f"{one.seeds} of {counted(one.planned, 'seed')}"
    units = counted(one.units, "unit")
    if one.clusters and one.clusters != one.units:
        units += f" in {counted(one.clusters, 'cluster')}"
    return ", ".join(part for part in (seeds, units if one.units else "") if part) or MISSING


def endpoint_words(name: str, endpoint: Endpoint) -> str:
    """What an endpoint asks: `kl: kl of texts minus that of base; ±0.01 does not matter`."""
    arms = f" of {', '.join(endpoint.arms)}" if endpoint.arms else ""
    unit = f" {endpoint.unit}" if endpoint.unit else ""
    kind = "" if endpoint.primary else " (secondary)"
    return (
        f"{name}{kind}: {endpoint.column} of {endpoint.split}{arms} minus that of "
        f"{endpoint.against}; ±{endpoint.margin:g}{unit} does not matter"
    )


def signed(value: float, digits: int) -> str:
    """A figure with its sign; 0 has none."""
    return figure(value, digits, "+")


def figure(value: float, digits: int = DIGITS, sign: str = "") -> str:
    """`0.0131`, `6.5e-5`: so many significant digits; what would begin with zeros has an exponent.
    `sign`: "+" to write that of positive ones."""
    if not value:
        return "0"
    if abs(value) >= SMALL:
        text = f"{value:{sign}.{digits}g}"
    else:
        mantissa, _, power = f"{value:{sign}.{digits - 1}e}".partition("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{power}"
    return re.sub(r"e([+-])0*", lambda found: "e" + found[1].replace("+", ""), text)


def _telling(ends: Sequence[float], edges: Sequence[float]) -> int:
    def agrees(digits: int) -> bool:
        return all(
            (float(f"{end:.{digits}g}") > edge) == (end > edge)
            and (float(f"{end:.{digits}g}") < edge) == (end < edge)
            for end in ends
            for edge in edges
        )

    return next((n for n in range(DIGITS, MOST_DIGITS) if agrees(n)), MOST_DIGITS)
