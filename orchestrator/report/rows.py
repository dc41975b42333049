"""The verdict as rows of text, the same in the terminal, in Markdown, in CSV and in HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.verdict.labels import (
    CANDIDATE,
    COLLAPSED,
    COMPARATOR,
    CONTROL,
    DIVERGED,
    EQUIVALENT,
    HARM,
    IDENTICAL,
)
from orchestrator.verdict.numbers import MISSING, decimals, interval, shown, signed
from orchestrator.verdict.result import ArmVerdict, GateResult, Verdict


def places(verdict: Verdict) -> int:
    """Decimals that suit the verdict's metric."""
    return decimals(verdict.bands)


def tone(arm: ArmVerdict) -> str:
    """What a label amounts to, for colours and markers: gain, harm, broken, none, unsure, plain."""
    if arm.label.startswith("at least") or arm.label == CANDIDATE:
        return "gain"
    if arm.label == HARM:
        return "harm"
    if arm.label in (COLLAPSED, DIVERGED):
        return "broken"
    if arm.label.startswith("less than") or arm.label in (EQUIVALENT, IDENTICAL):
        return "none"
    return "plain" if arm.label in (COMPARATOR, CONTROL) else "unsure"


def level(confidence: float) -> str:
    """A confidence as `95 %`."""
    return f"{confidence * 100:g} %"


def mean_text(arm: ArmVerdict, digits: int) -> str:
    """`45.6 [43.6, 47.6]`."""
    return _with_ends(shown(arm.mean, digits), interval(arm.ci_low, arm.ci_high, digits))


def delta_text(arm: ArmVerdict, digits: int) -> str:
    """`+5.5 [+3.3, +7.8]`."""
    ends = interval(arm.delta_ci_low, arm.delta_ci_high, digits, sign=True)
    return _with_ends(signed(arm.delta, digits), ends)


def counts_text(arm: ArmVerdict) -> str:
    """`5 of 5`, and what befell the others."""
    text = f"{arm.n} of {arm.planned}"
    for what in ("collapsed", "diverged", "failed"):
        count = arm.extra.get(what)
        if count:
            text += f", {count} {what}"
    return text


def gate_text(gate: GateResult | None, digits: int, unit: str) -> str:
    """One line: whether the gate is met, with its value, interval and target."""
    if gate is None:
        return "none stated"
    state = {True: "met", False: "not met", None: "cannot be judged yet"}[gate.met]
    if isinstance(gate.target, tuple):
        wanted = f"whole interval within {gate.target[0]:g} to {gate.target[1]:g} {unit}"
        got = _with_ends(shown(gate.value, digits), interval(gate.ci_low, gate.ci_high, digits))
        what = gate.control
    else:
        wanted = f"lower end at least {gate.target:g}"
        got = _with_ends(shown(gate.value, 2), interval(gate.ci_low, gate.ci_high, 2))
        what = f"({gate.control} - floor) / ({gate.reference} - floor)"
    floor = ""
    if gate.floor is not None:
        floor = f"; floor {shown(gate.floor, digits)} ({gate.floor_arm})"
    why = f"; {gate.why}" if gate.why else ""
    return f"{state}: {what} = {got} at {level(gate.confidence)}, wanted: {wanted}{floor}{why}"


def family_text(verdict: Verdict) -> str:
    """How the ends of the differences are to be read."""
    if verdict.family <= 1:
        return f"{level(verdict.confidence)} intervals"
    what = "comparisons, the stated ones among them" if verdict.comparisons else "arms"
    return (
        f"{level(verdict.confidence)} intervals, simultaneous over {verdict.family} {what} "
        f"({verdict.simultaneous.capitalize()})"
    )


def factor_names(arms: Sequence[ArmVerdict]) -> list[str]:
    """The factors of all arms, in order of first appearance."""
    return list(dict.fromkeys(name for arm in arms for name in arm.factors))


def cell(value: Any) -> str:
    """Any value as text; None and NaN are "n/a"."""
    if value is None or (isinstance(value, float) and value != value):
        return MISSING
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={cell(one)}" for key, one in value.items()) or MISSING
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(cell(one) for one in value)
    return str(value)


def columns(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of a table whose rows may lack some, in order of first appearance."""
    return list(dict.fromkeys(key for row in table for key in row))


FACTS = frozenset(
    ["id", "arm", "role", "replicate", "seed", "state", "attempts", "seconds", "flags", "failure"]
)
"""Columns of a table of trials that are no metrics."""
MOST_METRICS = 12
"""A page shows so many metrics of each trial; `trials.csv` has all."""


def trial_columns(
    trials: Sequence[Mapping[str, Any]], asked: Sequence[str] = ()
) -> tuple[list[str], str]:
    """The columns of a table of trials that a page shows, and a line on those it leaves out.

    Where there are too many metrics: those that the study asks of, then those that are not the same
    in all trials, in their order.
    """
    names = columns(trials)
    metrics = [name for name in names if name not in FACTS]
    if len(metrics) <= MOST_METRICS:
        return names, ""
    wanted = [name for name in dict.fromkeys(asked) if name in metrics]
    vary = [name for name in metrics if len({cell(row.get(name)) for row in trials}) > 1]
    shown = list(dict.fromkeys([*wanted, *vary]))[:MOST_METRICS]
    left = f"{len(metrics) - len(shown)} more metrics of each are in trials.csv."
    return [*(name for name in names if name in FACTS), *shown], left


def duration_text(seconds: float | None) -> str:
    """`1 h 02 min`, `3 min 20 s` or `12 s`."""
    if seconds is None:
        return MISSING
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def size_text(size_bytes: int | None) -> str:
    """`1.2 GiB`."""
    if size_bytes is None:
        return MISSING
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _with_ends(value: str, ends: str) -> str:
    return value if ends == MISSING else f"{value} {ends}"
