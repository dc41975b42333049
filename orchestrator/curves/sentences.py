"""Answers as sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.curves import curve as words
from orchestrator.curves.curve import CurveAnswer, ValueAnswer
from orchestrator.curves.settling import widest
from orchestrator.curves.words import difference_text, number

MOST_VALUES = 6


def sentence_of(answer: CurveAnswer, along: str, by: str) -> CurveAnswer:
    """The answer with its sentence. `by`: the metric that is matched, if one is."""
    return replace(answer, sentence=_sentence(answer, by or along))


def _sentence(answer: CurveAnswer, key: str) -> str:
    if answer.label == words.NOT_ANSWERED:
        return f"{_subject(answer)} n/a: {answer.why}."
    if answer.label == words.IDENTICAL:
        return f"{answer.curve} and {answer.than} are identical: every score is the same."
    said = _widths(answer) if answer.kind == "sharper" else _values(answer, key)
    told = f"{said} ({answer.why})." if answer.why else f"{said}."
    return f"{told}{_settling(answer)}"


def _settling(answer: CurveAnswer) -> str:
    """What an inconclusive answer lacks; empty for another."""
    half = widest(answer)
    if half is None:
        return ""
    if answer.takes is not None:
        return (
            f" About {answer.takes:,} examples, where there are {answer.examples:,}, would make an "
            "interval of half the margin either way (an estimate)."
        )
    if answer.draws and half > answer.margin / 2:
        return (
            f" The interval holds the scatter of {answer.draws} random draws, which more draws "
            "narrow and more examples do not."
        )
    return (
        f" The interval goes {number(half)} either way at most, less than half the margin: the "
        "difference lies near the margin, where more examples settle little."
    )


def _subject(answer: CurveAnswer) -> str:
    how = {"sharper": "sharper than", "higher": "above", "matched": "above, where matched,"}
    return f"Is {answer.curve} {how[answer.kind]} {answer.than}?"


def _widths(answer: CurveAnswer) -> str:
    told = difference_text(answer.difference, answer.low, answer.high)
    numbers = f"difference of widths {told} in {answer.unit}, margin {number(answer.margin)}"
    if answer.label == words.INCONCLUSIVE:
        asked = f"Whether {answer.curve} is sharper than {answer.than}"
        return f"{asked} is inconclusive{_possible(answer)}: {numbers}"
    than = "" if answer.label == words.AS_SHARP else "than "
    label = "as sharp as" if answer.label == words.AS_SHARP else answer.label
    tail = " within the margin" if answer.label == words.AS_SHARP else ""
    return f"{answer.curve} is {label} {than}{answer.than}{tail}: {numbers}"


def _possible(answer: CurveAnswer) -> str:
    """What the interval still leaves open, where it rules something out."""
    if answer.low is None and answer.high is None:
        return ""
    margin, may = answer.margin, ["as sharp"]
    if answer.low is None or answer.low < -margin:
        may.insert(0, "sharper")
    if answer.high is None or answer.high > margin:
        may.append("less sharp")
    return f" (it may be {' or '.join(may)})" if len(may) < 3 else ""


def _values(answer: CurveAnswer, key: str) -> str:
    count = len(answer.values)
    parts = []
    for label in (words.HIGHER, words.LOWER, words.EQUAL, words.IDENTICAL, words.INCONCLUSIVE):
        chosen = [one for one in answer.values if one.label == label]
        if chosen:
            parts.append(f"{label} at {len(chosen)}{_at(chosen, count, key)}")
    largest = max(answer.values, key=lambda one: abs(one.difference or 0.0))
    most = difference_text(largest.difference, largest.low, largest.high)
    unit = f" {answer.unit}" if answer.unit else ""
    matched = f" where {key} is the same" if answer.kind == "matched" else ""
    verdict = {
        words.HIGHER: f"{answer.curve} lies above {answer.than}{matched}",
        words.LOWER: f"{answer.curve} lies below {answer.than}{matched}",
        words.MIXED: f"{answer.curve} lies above {answer.than} at some values and below at others",
        words.EQUAL: f"{answer.curve} and {answer.than} are equal within the margin{matched}",
    }.get(answer.label, f"Whether {answer.curve} lies above {answer.than}{matched} is inconclusive")
    return (
        f"{verdict}: of {count} values, {', '.join(parts)}; the largest difference is {most}{unit} "
        f"at {key} {number(largest.value)}, margin {number(answer.margin)}"
    )


def _at(chosen: Sequence[ValueAnswer], count: int, key: str) -> str:
    if len(chosen) == count:
        return " (all)"
    named = ", ".join(number(one.value) for one in chosen[:MOST_VALUES])
    more = f" and {len(chosen) - MOST_VALUES} more" if len(chosen) > MOST_VALUES else ""
    return f" ({key} {named}{more})"
