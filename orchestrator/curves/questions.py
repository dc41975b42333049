"""Stated questions about curves, answered by intervals over the same examples in both.

A label needs the whole interval on its side of the margin: *sharper* is narrower by more than the
margin, *as sharp* within it both ways. Ends are simultaneous over the study's questions
(Bonferroni), and where a question is asked at several values, over those too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestrator.counted import counted
from orchestrator.curves import curve as words
from orchestrator.curves.curve import CurveAnswer, ValueAnswer
from orchestrator.curves.estimating import Asks, Turned, is_censored, turned
from orchestrator.curves.gathering import Gathered
from orchestrator.curves.sentences import sentence_of
from orchestrator.curves.settling import settled_by
from orchestrator.limits import clipped

if TYPE_CHECKING:
    from orchestrator.study_file import CurveFile, Higher, Matched, Question, Sharper

WIDTH_NAMES = (words.SHARPER, words.LESS_SHARP, words.AS_SHARP)
VALUE_NAMES = (words.LOWER, words.HIGHER, words.EQUAL)
"""Below the margin, above it, within it."""


@dataclass(frozen=True)
class _Asked:
    """A question with what was measured for it."""

    name: str
    question: Question
    curve: Gathered
    than: Gathered
    asks: Asks
    unit: str
    family: int

    def answer(self, label: str, **more: Any) -> CurveAnswer:
        drawn = [
            len(draws)
            for draws in (self.curve.draws, self.than.draws)
            if draws is not None and (draws != draws[0]).any()
        ]
        made = CurveAnswer(
            name=self.name,
            kind=self.question.kind,
            about=self.question.about,
            curve=_named(self.curve, self.question.curve),
            than=_named(self.than, self.question.than),
            label=label,
            sentence="",
            margin=self.question.margin,
            unit=self.unit,
            confidence=self.asks.confidence,
            family=self.family,
            examples=len(self.curve.units) or None,
            draws=min(drawn, default=None),
            **more,
        )
        made = replace(made, takes=settled_by(made))
        return sentence_of(made, self.curve.along, getattr(self.question, "by", ""))


def answers_of(
    questions: Mapping[str, Question],
    curves: Sequence[Gathered],
    asks: Asks,
    unit: str = "",
    pending: str = "",
) -> tuple[CurveAnswer, ...]:
    """The answer to every question, in their order.

    Args:
        unit: of the metric.
        pending: why nothing is answered yet; empty once all that was planned is measured.
    """
    by_name = {(one.arm, one.path): one for one in curves}
    found = []
    for name, question in questions.items():
        pair = [by_name[one.arm, one.path] for one in (question.curve, question.than)]
        along = pair[0].along if question.kind == "sharper" else unit
        asked = _Asked(name, question, pair[0], pair[1], asks, along, len(questions))
        found.append(asked.answer(words.NOT_ANSWERED, why=pending) if pending else _answer(asked))
    return tuple(found)


def _answer(asked: _Asked) -> CurveAnswer:
    problems = [
        f"{_named(curve, which)}: {problem}"
        for curve, which in (
            (asked.curve, asked.question.curve),
            (asked.than, asked.question.than),
        )
        for problem in _problems(curve, which, asked.asks.metric)
    ]
    if problems:
        more = f"; {len(problems) - 1} more" if len(problems) > 1 else ""
        return asked.answer(words.NOT_ANSWERED, why=problems[0] + more)
    one, other = asked.curve, asked.than
    if (one.units, one.clusters) != (other.units, other.clusters):
        return asked.answer(
            words.NOT_ANSWERED,
            why="the two curves were measured on different examples, so they cannot be paired",
        )
    if asked.question.kind == "sharper":
        return _sharper(asked, asked.question)
    return _by_value(asked, asked.question)


def _problems(curve: Gathered, which: CurveFile, metric: str) -> list[str]:
    """What keeps a curve, or its one point, from being compared."""
    if which.at is not None:
        at = next((one for one in curve.values if one.value == which.at), None)
        if at is None:
            return [f"{curve.along} {which.at:g} is not among its values"]
        if at.problem:
            return [f"{curve.along} {at.value:g}: {at.problem}"]
    elif curve.problems:
        return list(curve.problems)
    return [] if curve.scores is not None else [f"its points have no {metric} by example"]


# -- is it sharper? -------------------------------------------------------------------------------


def _sharper(asked: _Asked, question: Sharper) -> CurveAnswer:
    from orchestrator.statistics.widths import FEWEST, width_ends

    asks = asked.asks
    one, other = (turned(side, asks.confidence) for side in (asked.curve, asked.than))
    if one is None or other is None:
        return asked.answer(words.NOT_ANSWERED, why="a curve of one value has no width")
    for rise, which in ((one, asked.curve), (other, asked.than)):
        if why := _no_rise(rise, which, asks):
            return asked.answer(words.NOT_ANSWERED, why=why)
    found = width_ends(
        [one.rise, other.rise], one.clusters, asks.low, asks.high, asks.confidence, asked.family
    )
    if _same(one, other):
        return asked.answer(words.IDENTICAL, difference=0.0, why="every score is the same in both")
    if found.low is None or found.high is None:
        few = counted(int(one.clusters.max()) + 1, "cluster")
        why = f"{few} of examples make no interval; it takes {FEWEST}"
        return asked.answer(words.INCONCLUSIVE, difference=found.value, why=why)
    low: float | None = found.low
    high: float | None = found.high
    told = []
    grid = _grid(one, other, asks)
    if found.still:  # no draw of examples differs: what is left is the grid
        low, high = grid
        told.append("no draw of examples differs, so that the ends are those of the grid")
    for curve, which in ((one, asked.curve), (other, asked.than)):
        if is_censored(curve, asks):
            told.append(_censored(which, curve, asks))
            low, high = (low, None) if curve is one else (None, high)
    label = side(low, high, question.margin, WIDTH_NAMES)
    if label != words.INCONCLUSIVE and side(*grid, question.margin, WIDTH_NAMES) != label:
        told.append(
            f"with straight lines between the measured values: other curves through the same means "
            f"differ by {grid[0]:+.3g} to {grid[1]:+.3g}"
        )
    return asked.answer(label, difference=found.value, low=low, high=high, why="; ".join(told))


def _grid(one: Turned, other: Turned, asks: Asks) -> tuple[float, float]:
    """The least and the largest difference of the widths of any two curves that go one way and pass
    through the fits."""
    from orchestrator.statistics.crossing import width_range

    ranges = [width_range(c.rise.values, c.band.fit, asks.low, asks.high) for c in (one, other)]
    return ranges[0][0] - ranges[1][1], ranges[0][1] - ranges[1][0]


def _no_rise(curve: Turned, which: Gathered, asks: Asks) -> str:
    """Why a curve has no width at all; empty if it has."""
    import numpy as np

    name = which.name
    if curve.band.crossing(asks.high) == -np.inf:
        return f"{name} lies above {asks.high:g} everywhere, so it has no width"
    if curve.band.crossing(asks.low) == np.inf:
        return f"{name} lies below {asks.low:g} everywhere, so it has no width"
    return ""


def _censored(which: Gathered, curve: Turned, asks: Asks) -> str:
    means = curve.rise.scores.mean(axis=1)
    ends = (
        f"its means go from {means[0]:.3g} to {means[-1]:.3g}, "
        f"its width from {asks.low:g} to {asks.high:g}"
    )
    return f"{which.name} is measured in part ({ends}): its width is the least it is"


# -- does it lie above? ---------------------------------------------------------------------------


def _by_value(asked: _Asked, question: Higher | Matched) -> CurveAnswer:
    """One label at each value, and one over all."""
    import numpy as np

    from orchestrator.curves.rows import ends_by_value, rows_of
    from orchestrator.statistics import cluster_index

    rows = rows_of(question, asked.curve, asked.than)
    if isinstance(rows, str):
        return asked.answer(words.NOT_ANSWERED, why=rows)
    scores = [one.scores for one in (asked.curve, asked.than) if one.scores is not None]
    spread = max(float(np.nanmax(one)) for one in scores)
    spread -= min(float(np.nanmin(one)) for one in scores)
    clusters = cluster_index(asked.curve.clusters)
    family = asked.family * len(rows.values)
    ends = ends_by_value(
        rows.differences, clusters, asked.asks.confidence, family, rows.draws, spread
    )
    margin = question.margin
    least_score, most_score = asked.asks.limits
    within: tuple[float | None, float | None] = (None, None)
    if least_score is not None and most_score is not None:
        within = (least_score - most_score, most_score - least_score)
    found = []
    table = (rows.values, rows.differences.mean(axis=1), ends.low, ends.high, ends.identical)
    for value, mean, low, high, identical in zip(*map(list, table), strict=True):
        label = value_label(low, high, margin, identical)
        if identical:
            found.append(ValueAnswer(value, 0.0, None, None, label))
        elif low != low or high != high:
            found.append(ValueAnswer(value, float(mean), None, None, label))
        else:
            lower, upper = (clipped(float(end), within) for end in (low, high))
            found.append(ValueAnswer(value, float(mean), lower, upper, label))
    return asked.answer(overall([one.label for one in found]), values=tuple(found), why=rows.why)


def value_label(low: float, high: float, margin: float, identical: bool) -> str:
    """That of a difference with these ends (NaN: none could be estimated)."""
    if identical:
        return words.IDENTICAL
    if low != low or high != high:
        return words.INCONCLUSIVE
    return side(low, high, margin, VALUE_NAMES)


def overall(labels: Sequence[str]) -> str:
    there = set(labels)
    if there == {words.IDENTICAL}:
        return words.IDENTICAL
    if {words.HIGHER, words.LOWER} <= there:
        return words.MIXED
    for one in (words.HIGHER, words.LOWER):
        if one in there:
            return one
    return words.EQUAL if there <= {words.EQUAL, words.IDENTICAL} else words.INCONCLUSIVE


def side(low: float | None, high: float | None, margin: float, names: tuple[str, str, str]) -> str:
    """By the interval: below the margin, above it, within it; None is an end that is open."""
    below, above, within = names
    if high is not None and high < -margin:
        return below
    if low is not None and low > margin:
        return above
    if low is not None and high is not None and low >= -margin and high <= margin:
        return within
    return words.INCONCLUSIVE


def _same(one: Turned, other: Turned) -> bool:
    import numpy as np

    same = np.array_equal(one.rise.values, other.rise.values)
    return bool(same and np.array_equal(one.rise.scores, other.rise.scores))


def _named(curve: Gathered, which: CurveFile) -> str:
    at = f" at {curve.along} {which.at:g}" if which.at is not None else ""
    return curve.name + at
