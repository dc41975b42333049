"""Differences of two curves by value, and their ends.

Everything here is linear in the scores, so that it takes those of many studies at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.curves.gathering import SPREAD, Gathered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.study_file import Higher, Matched

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Rows:
    """What one curve has more than another, by value.

    Attributes:
        values: of what both go along, or of what is matched.
        differences: [values, examples].
        draws: parts [draws, values] whose sum is the difference of the means.
        why: what the numbers do not say.
    """

    values: tuple[float, ...]
    differences: Floats
    draws: tuple[Floats, ...]
    why: str = ""


@dataclass(frozen=True, eq=False)
class ValueEnds:
    """Ends [rows] of differences, NaN where none can be estimated; `identical`: nothing differs."""

    low: Floats
    high: Floats
    identical: Flags


def rows_of(question: Higher | Matched, one: Gathered, other: Gathered) -> Rows | str:
    """The differences that a question asks about, or why there are none."""
    if question.kind == "higher":
        return _higher(question, one, other)
    return _matched(question, one, other)


def ends_by_value(
    differences: Floats,
    clusters: NDArray[np.intp],
    confidence: float,
    family: int,
    draws: Sequence[Floats],
    spread: float | Floats,
) -> ValueEnds:
    """Ends of the means of differences [rows, examples], simultaneous over `family`.

    Args:
        draws: parts [draws, rows] of the means by random draw.
        spread: how far scores lie apart, of all rows or of each: by so much a kind of text may
            differ that was not seen. Ends always leave room for it: where scores are nearly all 0,
            a rare one decides, and texts that lack it tell too little of how they scatter.
    """
    import numpy as np

    from orchestrator.statistics.draws import draw_half
    from orchestrator.statistics.ends import mean_ends, unanimous_half_width

    low, high = mean_ends(differences, clusters, confidence, family, draws)
    half = np.broadcast_to(draw_half(draws, (1.0 - confidence) / (2 * family)), low.shape)
    share = unanimous_half_width(1.0, int(clusters.max()) + 1, confidence, family)
    least = np.hypot(np.asarray(spread) * share, half)
    mean = differences.mean(axis=1)
    return ValueEnds(
        np.minimum(low, mean - least),  # NaN stays
        np.maximum(high, mean + least),
        ~differences.any(axis=1) & (half == 0),
    )


def _higher(question: Higher, curve: Gathered, than: Gathered) -> Rows | str:
    import numpy as np

    from orchestrator.statistics.draws import difference

    one = {v.value: i for i, v in enumerate(curve.values)}
    other = {v.value: i for i, v in enumerate(than.values)}
    at, against = question.curve.at, question.than.at
    if question.values is not None:
        values = list(question.values)
    elif at is not None and against is not None:
        values = [at]
    elif at is not None or against is not None:
        values = sorted(one if at is None else other)[:-1]
    else:
        values = sorted(set(one) & set(other))[:-1]
    known = [
        value
        for value in values
        if (at is not None or value in one) and (against is not None or value in other)
    ]
    if not known:
        return "the curves have no value in common"
    ours = [one[value if at is None else at] for value in known]
    theirs = [other[value if against is None else against] for value in known]
    assert curve.scores is not None
    assert than.scores is not None
    return Rows(
        tuple(known),
        np.asarray(curve.scores[ours] - than.scores[theirs]),
        difference(_draws(curve)[:, ours], _draws(than)[:, theirs]),
    )


def _draws(curve: Gathered) -> Floats:
    """[draws, values] means by random draw; a single row where there are not several."""
    import numpy as np

    if curve.draws is not None:
        return curve.draws
    assert curve.scores is not None
    return np.asarray(curve.scores.mean(axis=1)[None])


def _matched(question: Matched, curve: Gathered, than: Gathered) -> Rows | str:
    """Where both have the same of another metric, which is taken as known: a property of the
    weights, such as their error, is (exactly for each draw, and both it and the scores are means
    over the same draws); a metric that comes with a standard error is not, which is said."""
    import numpy as np

    from orchestrator.statistics.draws import difference

    by = question.by
    sides = [_against(c, q.at, by) for c, q in ((curve, question.curve), (than, question.than))]
    for side, one in zip(sides, (curve, than), strict=True):
        if side is None:
            return f"{one.name}: '{by}' was not measured at every value"
    (x, y, p), (u, v, q) = (side for side in sides if side is not None)
    low, high = max(x[0], u[0]), min(x[-1], u[-1])
    places = x[(x >= low) & (x <= high)]
    if not len(places):
        places = u[(u >= low) & (u <= high)]
    if not len(places):
        return (
            f"no {by} in common: {x[0]:.3g} to {x[-1]:.3g} in one curve, "
            f"{u[0]:.3g} to {u[-1]:.3g} in the other"
        )
    ours, theirs = (
        np.stack([_at(*side, place) for place in places], axis=1) for side in ((x, p), (u, q))
    )
    sampled = any(by + SPREAD in v.metrics for v in (*curve.values, *than.values))
    return Rows(
        tuple(places.tolist()),
        np.stack([_at(x, y, place) - _at(u, v, place) for place in places]),
        difference(ours, theirs),
        f"{by} was measured on examples too, and its error is not in the ends" if sampled else "",
    )


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
