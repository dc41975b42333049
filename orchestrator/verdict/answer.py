"""The answer in one or two plain sentences, the outcome in a word, and the next steps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from orchestrator.verdict import labels
from orchestrator.verdict.numbers import MISSING, decimals, interval, shown, signed
from orchestrator.verdict.result import ArmVerdict, GateResult
from orchestrator.verdict.rule import Rule

DECIDED_AGAINST = {labels.HARM, labels.EQUIVALENT, labels.IDENTICAL, labels.COLLAPSED}


def outcome_of(rule: Rule, compared: Sequence[ArmVerdict], screen: bool) -> str:
    """improves, marginal, does_not_help, harm, screen or inconclusive.

    An arm decides for its own band only: `marginal` is the first of several bands. Nothing is said
    to be of no help unless every arm was decided against: missing evidence is inconclusive.
    """
    names = [one.label for one in compared]
    if screen:
        return "screen"
    reached = [i for i, band in enumerate(rule.bands) if labels.at_least(band) in names]
    if reached:
        return "marginal" if reached[-1] == 0 and len(rule.bands) > 1 else "improves"
    against = DECIDED_AGAINST | {labels.less_than(rule.bands[0])}
    if names and all(name == labels.HARM for name in names):
        return "harm"
    if names and all(name in against for name in names):
        return "does_not_help"
    return "inconclusive"


def select_next_steps(
    rule: Rule, outcome: str, compared: Sequence[ArmVerdict], steps: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """The study's own next steps for this outcome: by band name first, then by outcome."""
    given = {step_key(key): tuple(texts) for key, texts in steps.items()}
    names = {one.label for one in compared}
    wanted = []
    if outcome in {"improves", "marginal"}:
        top = [band.name for band in rule.bands if labels.at_least(band) in names][-1]
        wanted = [top, outcome, "improves"]
    elif outcome == "harm":
        wanted = ["harm", "does_not_help"]
    else:
        wanted = [outcome]
    return next((given[step_key(key)] for key in wanted if step_key(key) in given), ())


def gate_sentence(gate: GateResult, unit: str, places: int) -> str:
    """What the gate asked for and what it got."""
    level = f"{gate.confidence * 100:g} % interval"
    if isinstance(gate.target, tuple):
        asked = f"the whole {level} of '{gate.control}' within {gate.target[0]:g} to "
        asked += f"{gate.target[1]:g} {unit}"
        got = _measured(gate, places)
    else:
        asked = (
            f"'{gate.control}' to keep at least {gate.target:g} of what '{gate.reference}' has "
            f"above the floor (lower end of the {level})"
        )
        got = _measured(gate, 2)
    reason = f" ({gate.why})" if gate.why else ""
    return f"asked {asked}; got {got}{reason}"


def _measured(gate: GateResult, places: int) -> str:
    ends = interval(gate.ci_low, gate.ci_high, places)
    if gate.value is None:
        return MISSING
    return f"{shown(gate.value, places)} {'without an interval' if ends == MISSING else ends}"


def verdict_sentences(rule: Rule, compared: Sequence[ArmVerdict], outcome: str, seeds: int) -> str:
    """The answer once all trials ended and the gate, if any, is met."""
    if not compared:
        return f"The study has no arm to compare with '{rule.comparator}'."
    first = f"{rule.bands[0].at_least:g} {rule.unit}"
    if outcome == "screen":
        return _screen(rule, compared, seeds)
    if outcome in {"improves", "marginal"}:
        return _gains(rule, compared)
    if outcome == "harm":
        every = "the arm does" if len(compared) == 1 else f"all {len(compared)} arms do"
        return f"No: {every} harm; the whole interval of each difference is on the bad side of 0."
    if outcome == "does_not_help":
        return (
            f"No arm gains {first} over '{rule.comparator}': "
            f"{_counts(compared)} of {_arms(len(compared))}."
        )
    largest = _largest(rule, compared)
    tail = f" Largest difference: {largest}." if largest else ""
    return (
        f"Inconclusive: no arm is shown to gain {first} over '{rule.comparator}', and not all are "
        f"shown to gain less ({_counts(compared)}).{tail}"
    )


def _gains(rule: Rule, compared: Sequence[ArmVerdict]) -> str:
    reached = {labels.at_least(band): i for i, band in enumerate(rule.bands)}
    gains = [one for one in compared if one.label in reached]
    gains.sort(key=lambda one: -reached[one.label])
    named = "; ".join(f"{one.arm}: {one.label}, {_difference(rule, one)}" for one in gains[:3])
    more = f"; and {len(gains) - 3} more" if len(gains) > 3 else ""
    rest = [one for one in compared if one.label not in reached]
    others = f" Of the other {_arms(len(rest))}: {_counts(rest)}." if rest else ""
    verb = "gains" if len(gains) == 1 else "gain"
    return (
        f"Yes: {len(gains)} of {_arms(len(compared))} {verb} on '{rule.comparator}' "
        f"({named}{more}).{others}"
    )


def _screen(rule: Rule, compared: Sequence[ArmVerdict], seeds: int) -> str:
    found = [one.arm for one in compared if one.label == labels.CANDIDATE]
    start = f"Screen of {seeds} seed{'' if seeds == 1 else 's'}: "
    if not found:
        return f"{start}no arm is a candidate. A verdict takes {rule.full_seeds} seeds."
    noun = "candidate" if len(found) == 1 else "candidates"
    return (
        f"{start}{len(found)} {noun} of {_arms(len(compared))} ({', '.join(found)}). "
        f"A verdict takes {rule.full_seeds} seeds."
    )


def _largest(rule: Rule, compared: Sequence[ArmVerdict]) -> str:
    sign = 1.0 if rule.direction == "higher" else -1.0
    known = [one for one in compared if one.delta is not None]
    if not known:
        return ""
    one = max(known, key=lambda arm: sign * (arm.delta or 0.0))
    return f"{one.arm}, {_difference(rule, one)}"


def _difference(rule: Rule, one: ArmVerdict) -> str:
    places = decimals([(band.at_least, band.name) for band in rule.bands])
    ends = interval(one.delta_ci_low, one.delta_ci_high, places, sign=True)
    return f"{signed(one.delta, places)} {ends}"


def _counts(arms: Sequence[ArmVerdict]) -> str:
    return ", ".join(f"{n} {name}" for name, n in Counter(one.label for one in arms).items())


def _arms(count: int) -> str:
    return f"{count} arm" if count == 1 else f"{count} arms"


def step_key(text: str) -> str:
    """An outcome as a key of `next_steps`: `Not calibrated` and `not_calibrated` are one, and so
    are `candidate: holds` and `candidate_holds`."""
    return "_".join(re.sub(r"[-_:]", " ", text.lower()).split())
