"""What a comparison comes to: where the whole interval of the difference lies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.counted import counted
from orchestrator.endpoints.pairing import Pairs, Run, Side, common_seeds, pair, paired_runs
from orchestrator.endpoints.result import (
    CANDIDATE,
    DIVERGED,
    FAILED,
    HIGHER,
    IDENTICAL,
    INCOMPLETE,
    INCONCLUSIVE,
    LOWER,
    NO_EFFECT,
    NOT_FINITE,
    NOT_MEASURED,
    PENDING,
    Comparison,
    SeedDifference,
    StudyEndpoints,
)
from orchestrator.endpoints.rule import Endpoint, family_of
from orchestrator.endpoints.sentences import answer_of, with_sentence
from orchestrator.limits import NO_LIMITS, Limits, difference_limits, ends_within

if TYPE_CHECKING:
    from orchestrator.statistics.paired import Interval

CONFIDENCE = 0.95
"""Of each family together, where nothing else answers the study."""
FEWEST_SEEDS = 5
"""With fewer, what is found is a candidate."""


@dataclass(frozen=True)
class _Finding:
    """A label with what the numbers do not say."""

    label: str
    why: str = ""


def judge_endpoints(
    endpoints: Mapping[str, Endpoint],
    sides: Mapping[str, Mapping[str, Side]],
    pending: str = "",
    confidence: float = CONFIDENCE,
    limits: Mapping[str, Limits] | None = None,
) -> StudyEndpoints:
    """Every comparison of every endpoint, from the arms that were gathered under its name.

    `pending`: what the study still waits for; until it is there nothing is called anything.
    `limits`: of columns; ends are shown within what a difference can be, and labels go by the ends
    as they are estimated.

    Raises:
        ValueError: scores that cannot be paired, with the endpoint's name.
    """
    import numpy as np

    sizes = Counter(
        family_of(one.primary, side.control)
        for name, one in endpoints.items()
        for arm, side in sides[name].items()
        if arm != one.against
    )
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large is told in words
        judged = tuple(
            with_sentence(
                _within(
                    _judge(name, one, side, sides[name][one.against], pending, confidence, sizes),
                    (limits or {}).get(one.column, NO_LIMITS),
                )
            )
            for name, one in endpoints.items()
            for arm, side in sides[name].items()
            if arm != one.against
        )
    state = "no verdict yet" if pending else "answered"
    return StudyEndpoints(judged, answer_of(judged, pending), state, confidence)  # type: ignore[arg-type]


def label_of(low: float, high: float, margin: float) -> str:
    """Of an interval alone: all of it within ±margin, all of it on one side of 0, or neither."""
    if -margin <= low and high <= margin:
        return NO_EFFECT
    if low > 0:
        return HIGHER
    return LOWER if high < 0 else INCONCLUSIVE


def _within(one: Comparison, limits: Limits) -> Comparison:
    """With its ends within what the difference of two such columns can be."""
    low, high = ends_within(one.value, one.low, one.high, difference_limits(limits))
    return replace(one, low=low, high=high)


def _judge(
    name: str,
    endpoint: Endpoint,
    arm: Side,
    against: Side,
    pending: str,
    confidence: float,
    sizes: Mapping[tuple[bool, bool], int],
) -> Comparison:
    family = sizes[family_of(endpoint.primary, arm.control)]
    runs = paired_runs(arm, against)
    strange = [run for run in _distinct(runs) if not run.finite]
    fixed = arm.deterministic and against.deterministic
    try:
        pairs = None if strange else pair(runs, fixed)
    except ValueError as error:
        raise ValueError(f"endpoints.{name}, {arm.arm} and {against.arm}: {error}") from error
    found = None if pairs is None else _interval(endpoint, pairs, confidence, family)
    finding = _finding(endpoint, arm, against, runs, strange, pairs, found)
    if pending:
        finding = _Finding(PENDING, pending)
    planned = common_seeds(arm, against)
    ends = _ends(found) if found is not None else (None, None)
    differences = _by_seed(runs, pairs)
    return Comparison(
        endpoint=name,
        arm=arm.arm,
        against=against.arm,
        column=endpoint.column,
        split=endpoint.split,
        unit=endpoint.unit,
        about=endpoint.about,
        margin=endpoint.margin,
        primary=endpoint.primary,
        control=arm.control,
        label=finding.label,
        sentence="",
        confidence=confidence,
        family=family,
        value=None if found is None else _finite(float(found.value)),
        low=ends[0],
        high=ends[1],
        mean=None if pairs is None else _finite(float(pairs.arm.mean())),
        against_mean=None if pairs is None else _finite(float(pairs.against.mean())),
        seed_sd=None if found is None or fixed else _finite(float(found.seed_sd)),
        seeds=len(runs),
        planned=len(planned),
        left_seeds=0
        if arm.deterministic or against.deterministic
        else len(set(arm.seeds) ^ set(against.seeds)),
        units=0 if pairs is None else len(pairs.units),
        clusters=0 if pairs is None else len(set(pairs.clusters)),
        left_units=0 if pairs is None else pairs.left_units,
        fixed=fixed,
        over_seeds=endpoint.over_seeds,
        failed=len(arm.failures) + len(against.failures),
        not_finite=len(strange),
        diverged=sum(run.diverged for run in _distinct(runs)),
        flagged=sum(bool(run.notes) for run in _distinct(runs)),
        why=finding.why,
        differences=differences,
    )


def _distinct(runs: Mapping[int, tuple[Run, Run]]) -> list[Run]:
    """A deterministic arm's run is paired with every seed, and is one run."""
    return list({id(run): run for both in runs.values() for run in both}.values())


def _interval(endpoint: Endpoint, pairs: Pairs, confidence: float, family: int) -> Interval:
    from orchestrator.statistics import cluster_index
    from orchestrator.statistics.paired import interval

    clusters = None if endpoint.over_seeds else cluster_index(pairs.clusters)
    return interval(pairs.differences, clusters, confidence, family, fixed=pairs.fixed)


def _finding(
    endpoint: Endpoint,
    arm: Side,
    against: Side,
    runs: Mapping[int, tuple[Run, Run]],
    strange: list[Run],
    pairs: Pairs | None,
    found: Interval | None,
) -> _Finding:
    """First what keeps the numbers from speaking, then what they say."""
    if strange:
        return _Finding(
            NOT_FINITE, f"{counted(len(strange), 'run')} with values that are not finite"
        )
    for side in (arm, against):
        if side.failures:
            return _failed(side)
    if pairs is None or found is None:
        return _Finding(NOT_MEASURED, _why_nothing(endpoint, arm, against, runs))
    missing = len(common_seeds(arm, against)) - len(runs)
    if missing > 0:
        return _Finding(
            INCOMPLETE, f"{counted(missing, 'run')} of {len(runs) + missing} measured nothing"
        )
    return _from_numbers(endpoint, arm, against, pairs, found)


def _failed(side: Side) -> _Finding:
    """An arm is not averaged without the runs that failed."""
    of = f"of {counted(len(side.seeds), 'run')} of {side.arm}"
    diverged = sum(kind == DIVERGED for kind in side.failures)
    if diverged:
        return _Finding(DIVERGED, f"{of} {diverged} diverged and could not be scored")
    if len(side.failures) == len(side.seeds):
        return _Finding(FAILED, f"every run of {side.arm} failed")
    return _Finding(INCOMPLETE, f"{of} {len(side.failures)} failed")


def _why_nothing(
    endpoint: Endpoint, arm: Side, against: Side, runs: Mapping[int, tuple[Run, Run]]
) -> str:
    if not common_seeds(arm, against):
        return f"{arm.arm} and {against.arm} share no seed"
    for side in (arm, against):
        if not any(run.measured for run in side.runs):
            return f"{side.arm} holds no '{endpoint.column}' in its split '{endpoint.split}'"
    if not runs:
        return "no seed was measured in both"
    return f"no unit of '{endpoint.split}' was measured in every run of both"


def _from_numbers(
    endpoint: Endpoint, arm: Side, against: Side, pairs: Pairs, found: Interval
) -> _Finding:
    whys = _remarks(arm, against, pairs)
    if pairs.equal:
        return _Finding(IDENTICAL, "; ".join(whys))
    low, high = _ends(found)
    if low is None or high is None:
        return _Finding(INCONCLUSIVE, "; ".join([_no_interval(endpoint, pairs, found), *whys]))
    label = label_of(low, high, endpoint.margin)
    if label == NO_EFFECT and (low > 0 or high < 0):
        whys.insert(0, "it is not exactly 0, and smaller than the margin")
    elif label in (HIGHER, LOWER) and min(abs(low), abs(high)) < endpoint.margin:
        whys.insert(0, "it may be smaller than the margin")
    if label != INCONCLUSIVE and not pairs.fixed and len(pairs.seeds) < FEWEST_SEEDS:
        label = f"{CANDIDATE} {label}"
        whys.append(f"{counted(len(pairs.seeds), 'seed')}, fewer than {FEWEST_SEEDS}")
    return _Finding(label, "; ".join(whys))


def _remarks(arm: Side, against: Side, pairs: Pairs) -> list[str]:
    whys = []
    if pairs.fixed:
        whys.append("neither arm depends on the seed")
    elif not (arm.deterministic or against.deterministic):
        left = set(arm.seeds) ^ set(against.seeds)
        if left:
            whys.append(f"{counted(len(left), 'seed')} of one arm alone left out")
    if pairs.left_units:
        whys.append(f"{counted(pairs.left_units, 'unit')} not measured in every run left out")
    whys += _told_by_runs(arm, against)
    diverged = sum(run.diverged for side in (arm, against) for run in side.runs)
    if diverged:
        whys.append(f"{counted(diverged, 'run')} diverged and was scored")
    return whys


def _told_by_runs(arm: Side, against: Side) -> list[str]:
    """What flagged runs noted: "identical" of an arm that acts on nothing is no null result."""
    counts = Counter(
        (side.arm, note) for side in (arm, against) for run in side.runs for note in run.notes
    )
    runs = {side.arm: len(side.runs) for side in (arm, against)}
    return [
        (note if count == runs[name] else f"{count} of {counted(runs[name], 'run')}: {note}")
        for (name, note), count in counts.items()
    ]


def _no_interval(endpoint: Endpoint, pairs: Pairs, found: Interval) -> str:
    if not math.isfinite(float(found.value)):
        return "scores are too large to take a mean of"
    if not pairs.differences.any():
        return "equal where all runs measured, and not all of it was measured in all of them"
    if bool(found.still) and (len(pairs.seeds) > 1 or len(pairs.units) > 1):
        return "no difference varied, so that there is nothing to test"
    if len(pairs.seeds) < 2 and not pairs.fixed:
        return "one seed has no interval"
    if endpoint.over_seeds:
        return "one run has no interval over seeds"
    return "one cluster has no interval"


def _ends(found: Interval) -> tuple[float | None, float | None]:
    low, high = _finite(float(found.low)), _finite(float(found.high))
    if low is None or high is None or bool(found.still):
        return None, None
    return low, high


def _by_seed(
    runs: Mapping[int, tuple[Run, Run]], pairs: Pairs | None
) -> tuple[SeedDifference, ...]:
    if pairs is None:
        return tuple(
            SeedDifference(seed, None) for seed, both in runs.items() if not _all_finite(both)
        )
    means = pairs.differences.mean(axis=1)
    return tuple(
        SeedDifference(seed, _finite(float(value)))
        for seed, value in zip(pairs.seeds, means, strict=True)
    )


def _all_finite(both: tuple[Run, Run]) -> bool:
    return all(run.finite for run in both)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
