"""Stated questions about the curves of many studies at once, judged as `orchestrator.curves` does.

Intervals and labels are the product's own functions. What is done for many studies together is the
way there: means over drawn clusters in single precision, and whether a curve is measured in part,
from its first and last value alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.calibration.curve_laws import Drawn
from orchestrator.curves import curve as words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.curves.estimating import Asks
    from orchestrator.study_file import Question

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AskedValues:
    """A question that is asked by value: `ours` and `theirs` [rows, values] are the weights that
    make its rows from the two curves."""

    name: str
    curve: str
    than: str
    margin: float
    values: tuple[float, ...]
    ours: Floats
    theirs: Floats


@dataclass(frozen=True)
class AskedWidth:
    """A question about the widths of two curves."""

    name: str
    curve: str
    than: str
    margin: float


Asked = AskedValues | AskedWidth


@dataclass(frozen=True, eq=False)
class Judged:
    """What a question came to in many studies: `labels` [studies][rows] (one row of a width), and
    the ends [studies, rows], NaN where there is none."""

    labels: list[list[str]]
    low: Floats
    high: Floats


def asked_of(questions: Mapping[str, Question], curves: Mapping[str, Curve]) -> list[Asked]:
    """The questions that can be asked of these curves, with the weights of their rows."""
    import numpy as np

    from orchestrator.curves.gathering import AtValue, Gathered
    from orchestrator.curves.rows import rows_of

    found: list[Asked] = []
    for name, question in questions.items():
        one, other = (f"{side.arm}/{side.path}" for side in (question.curve, question.than))
        if question.kind == "sharper":
            found.append(AskedWidth(name, one, other, question.margin))
            continue
        # rows are linear in scores: asked of unit vectors they tell their weights
        sizes = [len(curves[key].values) for key in (one, other)]
        whole = np.eye(sum(sizes))
        probes = []
        for key, scores in zip((one, other), np.split(whole, [sizes[0]]), strict=True):
            at = tuple(
                AtValue(value, 1, {k: v[i] for k, v in curves[key].metrics.items()}, (0.0,))
                for i, value in enumerate(curves[key].values)
            )
            units = tuple(str(i) for i in range(len(whole)))
            probes.append(Gathered("", key, "", at, scores, units, units, 1))
        rows = rows_of(question, *probes)
        if isinstance(rows, str):
            continue
        ours, theirs = np.split(rows.differences, [sizes[0]], axis=1)
        found.append(AskedValues(name, one, other, question.margin, rows.values, ours, -theirs))
    return found


@dataclass(frozen=True)
class Curve:
    """What questions see of a curve: its values, and by metric what is matched at each."""

    values: tuple[float, ...]
    metrics: Mapping[str, tuple[float, ...]]


def judge_values(
    asked: AskedValues,
    drawn: Mapping[str, Drawn],
    clusters: NDArray[np.intp],
    asks: Asks,
    family: int,
) -> Judged:
    """The labels and ends of a question that is asked by value, as `orchestrator.curves` has them.

    Args:
        family: questions of the study.
    """
    import numpy as np

    from orchestrator.curves.questions import value_label
    from orchestrator.curves.rows import ends_by_value
    from orchestrator.statistics.draws import difference

    one, other = drawn[asked.curve], drawn[asked.than]
    ours, theirs = asked.ours, asked.theirs
    rows = (
        ours.astype(one.scores.dtype) @ one.scores
        - theirs.astype(other.scores.dtype) @ other.scores
    )
    studies, count, examples = rows.shape
    spread = _most(one, other) - _least(one, other)
    parts = difference(one.draws @ ours.T, other.draws @ theirs.T)
    ends = ends_by_value(
        rows.reshape(-1, examples).astype(np.float64),
        clusters,
        asks.confidence,
        family * count,
        [part.reshape(len(part), -1) for part in parts],
        np.repeat(spread, count),
    )
    table = zip(ends.low.tolist(), ends.high.tolist(), ends.identical.tolist(), strict=True)
    flat = [value_label(low, high, asked.margin, same) for low, high, same in table]
    labels = [flat[i : i + count] for i in range(0, len(flat), count)]
    none = ends.identical
    low, high = (
        np.where(none, np.nan, end).reshape(studies, count) for end in (ends.low, ends.high)
    )
    return Judged(labels, low, high)


def _most(one: Drawn, other: Drawn) -> Floats:
    import numpy as np

    first, second = (side.scores.max(axis=(1, 2)) for side in (one, other))
    return np.asarray(np.maximum(first, second))


def _least(one: Drawn, other: Drawn) -> Floats:
    import numpy as np

    first, second = (side.scores.min(axis=(1, 2)) for side in (one, other))
    return np.asarray(np.minimum(first, second))


def judge_widths(
    asked: Sequence[AskedWidth],
    drawn: Mapping[str, Drawn],
    values: Mapping[str, Floats],
    clusters: NDArray[np.intp],
    asks: Asks,
    family: int,
) -> dict[str, Judged]:
    """The labels and ends of questions about widths, by name. All curves rise."""
    import numpy as np

    from orchestrator.curves.questions import WIDTH_NAMES, side
    from orchestrator.statistics.widths import (
        FEWEST,
        draw_widths,
        drawn_means,
        half_width,
        width,
    )

    names = list(dict.fromkeys(name for one in asked for name in (one.curve, one.than)))
    sizes = np.bincount(clusters)
    means = {name: drawn[name].scores.mean(axis=-1, dtype=np.float64) for name in names}
    levels = (asks.low, asks.high)
    found = {name: width(values[name], means[name], *levels) for name in names}
    enough = len(sizes) >= FEWEST
    boot = {}
    if enough:
        for name in names:
            once = drawn_means(drawn[name].scores, clusters, precision="float32")
            boot[name] = width(values[name], once, *levels)
    by_draw = {name: draw_widths(values[name], drawn[name].draws, *levels) for name in names}
    states = {name: state_of(drawn[name], means[name], clusters, asks) for name in names}
    tail = (1.0 - asks.confidence) / (2 * family)
    judged = {}
    for one in asked:
        value = found[one.curve] - found[one.than]
        none = states[one.curve].none | states[one.than].none
        if enough:
            half, still = half_width(
                value,
                boot[one.curve] - boot[one.than],
                sizes,
                [by_draw[one.curve], by_draw[one.than]],
                tail,
            )
        else:
            half, still = np.full(len(value), np.nan), np.zeros(len(value), dtype=bool)
        low, high = value - half, value + half
        for at in np.flatnonzero(still).tolist():
            low[at], high[at] = _grid(one, at, means, values, levels)
        same = _identical(drawn[one.curve], drawn[one.than], values, one)
        given = enough & ~none & ~same
        open_low = ~given | states[one.than].censored
        open_high = ~given | states[one.curve].censored
        low, high = np.where(open_low, np.nan, low), np.where(open_high, np.nan, high)
        labels = []
        for at in range(len(value)):
            if none[at]:
                label = words.NOT_ANSWERED
            elif same[at]:
                label = words.IDENTICAL
            else:
                ends = [None if end != end else float(end) for end in (low[at], high[at])]
                label = side(ends[0], ends[1], one.margin, WIDTH_NAMES)
            labels.append([label])
        judged[one.name] = Judged(labels, low[:, None], high[:, None])
    return judged


def _identical(
    one: Drawn, other: Drawn, values: Mapping[str, Floats], asked: AskedWidth
) -> NDArray[np.bool_]:
    import numpy as np

    if not np.array_equal(values[asked.curve], values[asked.than]):
        return np.zeros(len(one.scores), dtype=bool)
    return np.asarray((one.scores == other.scores).all(axis=(1, 2)))


def _grid(
    asked: AskedWidth,
    at: int,
    means: Mapping[str, Floats],
    values: Mapping[str, Floats],
    levels: tuple[float, float],
) -> tuple[float, float]:
    from orchestrator.statistics.crossing import width_range
    from orchestrator.statistics.isotonic import isotonic

    one, other = (
        width_range(values[name], isotonic(means[name][at]), *levels)
        for name in (asked.curve, asked.than)
    )
    return one[0] - other[1], one[1] - other[0]


@dataclass(frozen=True, eq=False)
class State:
    """[studies] of a curve: whether it has no width, and whether it is measured in part."""

    none: NDArray[np.bool_]
    censored: NDArray[np.bool_]


def state_of(drawn: Drawn, means: Floats, clusters: NDArray[np.intp], asks: Asks) -> State:
    """From the first and the last value: a crossing may lie before the first where the interval
    there reaches `low`, of the curve as measured or of its pooled one, and may be nowhere where
    the interval of the last lies below `high`."""
    import numpy as np

    from orchestrator.statistics.ends import mean_ends
    from orchestrator.statistics.isotonic import isotonic

    fit = isotonic(means)
    count = fit.shape[1]
    close = 1e-12 * np.maximum(1.0, np.abs(fit).max(axis=1))[:, None]
    rises = np.diff(fit, axis=1) > close
    first = np.where(rises.any(axis=1), rises.argmax(axis=1) + 1, count)
    last = np.where(rises.any(axis=1), rises[:, ::-1].argmax(axis=1) + 1, count)
    both = np.concatenate([drawn.scores, np.moveaxis(drawn.draws, 0, -1)], axis=-1)
    rows = [both[:, 0], both[:, -1]]
    for sizes, part in ((first, both), (last, both[:, ::-1])):
        inside = np.arange(count) < sizes[:, None]
        rows.append(np.einsum("sv,sve->se", inside / sizes[:, None], part))
    table = np.stack(rows).astype(np.float64).reshape(-1, both.shape[-1])
    scores, by_draw = np.split(table, [drawn.scores.shape[-1]], axis=-1)
    low, high = (
        end.reshape(4, -1)
        for end in mean_ends(scores, clusters, asks.confidence, draws=[by_draw.T])
    )
    unknown = np.isnan(low).any(axis=0)
    begins = (fit[:, 0] >= asks.low) | (high[[0, 2]] >= asks.low).any(axis=0)
    ends = (fit[:, -1] < asks.high) | (low[[1, 3]] < asks.high).any(axis=0)
    plain = (fit[:, 0] >= asks.low) | (fit[:, -1] < asks.high)
    return State(
        none=(fit[:, 0] >= asks.high) | (fit[:, -1] < asks.low),
        censored=np.where(unknown, plain, begins | ends),
    )
