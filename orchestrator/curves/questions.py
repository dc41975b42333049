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
from orchestrator.curves.draws import difference, draw_half
from orchestrator.curves.estimating import Asks, Turned, is_censored, turned
from orchestrator.curves.gathering import SPREAD, Gathered
from orchestrator.curves.sentences import sentence_of
from orchestrator.curves.settling import settled_by
from orchestrator.limits import clipped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.study_file import CurveFile, Higher, Matched, Question, Sharper

    Floats = NDArray[np.float64]


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
    if asked.question.kind == "higher":
        return _higher(asked, asked.question)
    return _matched(asked, asked.question)


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
    from orchestrator.curves.widths import FEWEST, width_ends

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
    names = (words.SHARPER, words.LESS_SHARP, words.AS_SHARP)
    label = _side(low, high, question.margin, names)
    if label != words.INCONCLUSIVE and _side(*grid, question.margin, names) != label:
        told.append(
            f"with straight lines between the measured values: other curves through the same means "
            f"differ by {grid[0]:+.3g} to {grid[1]:+.3g}"
        )
    return asked.answer(label, difference=found.value, low=low, high=high, why="; ".join(told))


def _grid(one: Turned, other: Turned, asks: Asks) -> tuple[float, float]:
    """The least and the largest difference of the widths of any two curves that go one way and pass
    through the fits."""
    from orchestrator.curves.crossing import width_range

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


def _higher(asked: _Asked, question: Higher) -> CurveAnswer:
    one = {v.value: i for i, v in enumerate(asked.curve.values)}
    other = {v.value: i for i, v in enumerate(asked.than.values)}
    at, against = question.curve.at, question.than.at
    if question.values is not None:
        values = list(question.values)
    elif at is not None and against is not None:
        values = [at]
    elif at is not None or against is not None:
        values = sorted(one if at is None else other)[:-1]
    else:
        values = sorted(set(one) & set(other))[:-1]
    pairs = [
        (one[value if at is None else at], other[value if against is None else against])
        for value in values
        if (at is not None or value in one) and (against is not None or value in other)
    ]
    if not pairs:
        return asked.answer(words.NOT_ANSWERED, why="the curves have no value in common")
    assert asked.curve.scores is not None
    assert asked.than.scores is not None
    rows = [asked.curve.scores[i] - asked.than.scores[j] for i, j in pairs]
    ours, theirs = zip(*pairs, strict=True)
    draws = difference(_draws(asked.curve)[:, ours], _draws(asked.than)[:, theirs])
    return _by_value(asked, values, rows, draws)


def _draws(curve: Gathered) -> Floats:
    """[draws, values] means by random draw; a single row where there are not several."""
    import numpy as np

    if curve.draws is not None:
        return curve.draws
    assert curve.scores is not None
    return np.asarray(curve.scores.mean(axis=1)[None])


def _matched(asked: _Asked, question: Matched) -> CurveAnswer:
    """Where both have the same of another metric, which is taken as known: a property of the
    weights, such as their error, is (exactly for each draw, and both it and the scores are means
    over the same draws); a metric that comes with a standard error is not, which is said."""
    import numpy as np

    by = question.by
    sides = [
        _against(curve, which.at, by)
        for curve, which in ((asked.curve, question.curve), (asked.than, question.than))
    ]
    for side, curve in zip(sides, (asked.curve, asked.than), strict=True):
        if side is None:
            why = f"{curve.name}: '{by}' was not measured at every value"
            return asked.answer(words.NOT_ANSWERED, why=why)
    (x, y, p), (u, v, q) = (side for side in sides if side is not None)
    low, high = max(x[0], u[0]), min(x[-1], u[-1])
    places = x[(x >= low) & (x <= high)]
    if not len(places):
        places = u[(u >= low) & (u <= high)]
    if not len(places):
        why = (
            f"no {by} in common: {x[0]:.3g} to {x[-1]:.3g} in one curve, "
            f"{u[0]:.3g} to {u[-1]:.3g} in the other"
        )
        return asked.answer(words.NOT_ANSWERED, why=why)
    rows = [_at(x, y, place) - _at(u, v, place) for place in places]
    ours, theirs = (
        np.stack([_at(*side, place) for place in places], axis=1) for side in ((x, p), (u, q))
    )
    sampled = any(by + SPREAD in v.metrics for v in (*asked.curve.values, *asked.than.values))
    why = f"{by} was measured on examples too, and its error is not in the ends" if sampled else ""
    return _by_value(asked, places.tolist(), rows, difference(ours, theirs), why)


def _against(curve: Gathered, at: float | None, by: str) -> tuple[Floats, Floats, Floats] | None:
    """Values of another metric, rising, and there the scores [values, examples] and the means by
    draw [values, draws]; those of equal value are averaged."""
    import numpy as np

    assert curve.scores is not None
    chosen = [i for i, one in enumerate(curve.values) if at is None or one.value == at]
    metric = [curve.values[i].metrics.get(by) for i in chosen]
    if not metric or any(value is None for value in metric):
        return None
    unique, where = np.unique(np.array(metric, dtype=np.float64), return_inverse=True)
    examples = curve.scores.shape[1]
    both = np.concatenate([curve.scores, _draws(curve).T], axis=1)
    totals = np.zeros((len(unique), both.shape[1]))
    np.add.at(totals, where, both[chosen])
    scores, draws = np.split(totals / np.bincount(where)[:, None], [examples], axis=1)
    return unique, scores, draws


def _at(x: Floats, y: Floats, place: float) -> Floats:
    """[examples] between the values on a straight line."""
    import numpy as np

    if len(x) == 1:
        return np.asarray(y[0])
    after = int(np.clip(np.searchsorted(x, place), 1, len(x) - 1))
    share = (place - x[after - 1]) / (x[after] - x[after - 1])
    return np.asarray((1.0 - share) * y[after - 1] + share * y[after])


def _by_value(
    asked: _Asked,
    values: Sequence[float],
    rows: Sequence[Floats],
    draws: Sequence[Floats],
    why: str = "",
) -> CurveAnswer:
    """One label at each value, and one over all. `draws`: parts [draws, values] of the means."""
    import numpy as np

    from orchestrator.curves.ends import mean_ends, unanimous_half_width
    from orchestrator.statistics import cluster_index

    figures = np.stack(rows)
    clusters = cluster_index(asked.curve.clusters)
    family = asked.family * len(rows)
    confidence = asked.asks.confidence
    lows, highs = mean_ends(figures, clusters, confidence, family, draws)
    over_draws = draw_half(draws, (1.0 - confidence) / (2 * family))
    halves = np.broadcast_to(over_draws, (len(rows),)).tolist()
    scores = [one.scores for one in (asked.curve, asked.than) if one.scores is not None]
    spread = max(float(np.nanmax(one)) for one in scores)
    spread -= min(float(np.nanmin(one)) for one in scores)
    count = int(clusters.max()) + 1
    least = unanimous_half_width(spread, count, confidence, family)
    margin = asked.question.margin
    least_score, most_score = asked.asks.limits
    within: tuple[float | None, float | None] = (None, None)
    if least_score is not None and most_score is not None:
        within = (least_score - most_score, most_score - least_score)
    found = []
    ends = zip(values, figures, lows.tolist(), highs.tolist(), halves, strict=True)
    for value, row, low, high, half in ends:
        mean = float(row.mean())
        if not row.any() and not half:
            found.append(ValueAnswer(value, 0.0, None, None, words.IDENTICAL))
            continue
        if low != low or high != high:
            found.append(ValueAnswer(value, mean, None, None, words.INCONCLUSIVE))
            continue
        if np.ptp(row) <= 1e-9:
            low, high = mean - float(np.hypot(least, half)), mean + float(np.hypot(least, half))
        names = (words.LOWER, words.HIGHER, words.EQUAL)
        label = _side(low, high, margin, names)
        low, high = (clipped(end, within) for end in (low, high))
        found.append(ValueAnswer(value, mean, low, high, label))
    return asked.answer(_overall([one.label for one in found]), values=tuple(found), why=why)


def _overall(labels: Sequence[str]) -> str:
    there = set(labels)
    if there == {words.IDENTICAL}:
        return words.IDENTICAL
    if {words.HIGHER, words.LOWER} <= there:
        return words.MIXED
    for one in (words.HIGHER, words.LOWER):
        if one in there:
            return one
    return words.EQUAL if there <= {words.EQUAL, words.IDENTICAL} else words.INCONCLUSIVE


def _side(low: float | None, high: float | None, margin: float, names: tuple[str, str, str]) -> str:
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
