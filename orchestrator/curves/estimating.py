"""From what was measured along a curve to its means, threshold and width, with intervals."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.curves.curve import Crossing, Curve, CurvePoint, Width
from orchestrator.curves.gathering import SPREAD, Gathered
from orchestrator.limits import clipped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.statistics.ends import Band
    from orchestrator.statistics.widths import Rise

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Asks:
    """What the design says of every curve: `level` of its threshold, `low` and `high` of its
    width; and what the metric cannot be below and above."""

    metric: str
    level: float
    low: float
    high: float
    confidence: float
    limits: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True, eq=False)
class Turned:
    """A complete curve as one that rises: a falling one is read from its end.

    `clusters` [examples] are numbered from 0. `sign` is -1 where its values are negated. `band`
    has the intervals all along it.
    """

    rise: Rise
    clusters: NDArray[np.intp]
    sign: float
    band: Band


def turned(gathered: Gathered, confidence: float) -> Turned | None:
    """None for a curve that is incomplete, has a single value, or no scores by example."""
    import numpy as np

    from orchestrator.statistics import cluster_index
    from orchestrator.statistics.ends import band
    from orchestrator.statistics.widths import Rise

    if gathered.problems or gathered.scores is None or len(gathered.values) < 2:
        return None
    values = np.array([one.value for one in gathered.values], dtype=np.float64)
    scores, draws = gathered.scores, gathered.draws
    sign = 1.0 if rises(gathered) else -1.0
    if sign < 0:
        values, scores = -values[::-1], scores[::-1]
        draws = None if draws is None else draws[:, ::-1]
    clusters = cluster_index(gathered.clusters)
    found = band(values, scores, clusters, confidence, draws)
    return Turned(Rise(values, scores, draws), clusters, sign, found)


def rises(gathered: Gathered) -> bool:
    """Whether its last mean that is known is at least its first."""
    means = [statistics.fmean(one.draw_means) for one in gathered.values if one.draw_means]
    return not means or means[-1] >= means[0]


def curve_of(
    gathered: Gathered, asks: Asks, unit: str = "", about: str = "", role: str = "arm"
) -> Curve:
    """The curve with everything that can be said of it alone."""
    found = turned(gathered, asks.confidence)
    count = len(set(gathered.clusters)) or None
    return Curve(
        arm=gathered.arm,
        path=gathered.path,
        along=gathered.along,
        metric=asks.metric,
        unit=unit,
        rising=rises(gathered),
        points=_points(gathered, found, asks),
        threshold=None if found is None else crossing_of(found, asks.level),
        width=None if found is None else _width(found, asks),
        about=about,
        role=role,
        models=gathered.models,
        examples=len(gathered.units) or None,
        clusters=count,
        problems=gathered.problems,
    )


def crossing_of(found: Turned, level: float) -> Crossing:
    """Where the fit first passes a level, in the order in which the curve rises."""
    import numpy as np

    from orchestrator.statistics.crossing import step_at

    at = found.band.crossing(level)
    low, high = found.band.crossing_ends(level)
    step = step_at(found.rise.values, at) if np.isfinite(at) else None
    if found.sign < 0:
        at, low, high = -at, -high, -low
    inside = bool(np.isfinite(at))
    return Crossing(
        level=level,
        at=at if inside else None,
        outside="" if inside else "below" if at < 0 else "above",
        low=low if np.isfinite(low) else None,
        high=high if np.isfinite(high) else None,
        open_low=low == -np.inf,
        open_high=high == np.inf,
        step=step,
    )


def _points(gathered: Gathered, found: Turned | None, asks: Asks) -> tuple[CurvePoint, ...]:
    from orchestrator.statistics import cluster_index
    from orchestrator.statistics.ends import mean_ends

    whole = [i for i, one in enumerate(gathered.values) if not one.problem]
    lows: dict[int, float] = {}
    highs: dict[int, float] = {}
    if gathered.scores is not None and whole:
        clusters = cluster_index(gathered.clusters)
        draws = gathered.draws
        parts = () if draws is None else (draws[:, whole],)
        ends = mean_ends(gathered.scores[whole], clusters, asks.confidence, draws=parts)
        lows, highs = (dict(zip(whole, end.tolist(), strict=True)) for end in ends)
    means = [
        statistics.fmean(one.draw_means) if one.draw_means else None for one in gathered.values
    ]
    fits: list[float] = []
    if found is not None:
        fits = (found.band.fit if found.sign > 0 else found.band.fit[::-1]).tolist()
    return tuple(
        CurvePoint(
            value=one.value,
            mean=means[i],
            low=clipped(_finite(lows.get(i)), asks.limits),
            high=clipped(_finite(highs.get(i)), asks.limits),
            fit=fits[i] if fits else None,
            draws=one.draws,
            draw_sd=statistics.stdev(one.draw_means) if len(one.draw_means) > 1 else None,
            metrics={k: v for k, v in one.metrics.items() if not _is_spread(k, one.metrics)},
            spreads={
                k.removesuffix(SPREAD): v
                for k, v in one.metrics.items()
                if _is_spread(k, one.metrics)
            },
            notes=one.notes,
            problem=one.problem,
        )
        for i, one in enumerate(gathered.values)
    )


def _is_spread(name: str, metrics: Mapping[str, float | None]) -> bool:
    """Whether it is the standard error of another metric that is there."""
    return name.endswith(SPREAD) and name.removesuffix(SPREAD) in metrics


def _width(found: Turned, asks: Asks) -> Width:
    from orchestrator.statistics.widths import FEW_DRAWS, width_ends

    ends = width_ends(
        [found.rise], found.clusters, asks.low, asks.high, asks.confidence, draws=FEW_DRAWS
    )
    censored = is_censored(found, asks)
    steps = [crossing_of(found, level).step for level in (asks.low, asks.high)]
    known = [step for step in steps if step is not None]
    return Width(
        ends.value,
        None if ends.low is None else max(0.0, ends.low),
        None if censored else ends.high,
        censored,
        sum(known) if len(known) == 2 else None,
    )


def is_censored(found: Turned, asks: Asks) -> bool:
    """Whether a crossing that makes the width may lie outside the grid."""
    import numpy as np

    if found.band.sides is None:  # no interval: by the fit itself
        begin, end = found.band.crossing(asks.low), found.band.crossing(asks.high)
    else:
        begin = found.band.crossing_ends(asks.low)[0]
        end = found.band.crossing_ends(asks.high)[1]
    return bool(begin == -np.inf or end == np.inf)


def _finite(value: float | None) -> float | None:
    return value if value is not None and value == value else None
