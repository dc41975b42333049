"""From the scores of every coalition to a table of labelled effects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from orchestrator.counted import counted
from orchestrator.effects import effect as words
from orchestrator.effects.effect import CoalitionMean, Effect, EffectTable, Question

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.statistics.weighted import Intervals, Reduced
    from telemetry.counterfactual.coalitions import Coalition
    from telemetry.counterfactual.weights import Figure

    Floats = NDArray[np.float64]

MOST_INTERVALS = 64
"""Coalitions whose means get intervals of their own; of more, the means alone are given."""


@dataclass(frozen=True)
class Asked:
    """What is asked, before any score is known; see `EffectTable` for the fields it shares.

    `figures` are what the rows of `weights` [figures, coalitions] give. `sampling`: from the means
    [coalitions], the standard errors [figures] that come from the choice of coalitions, and their
    degrees of freedom; None where all are measured. `one_model`: the intervals speak of the one
    model that is given. Seeds below `full_seeds` make candidates only, below `screen_seeds`
    nothing.
    """

    question: Question
    about: str
    seeds: tuple[int, ...]
    metric: str
    factors: tuple[str, ...]
    coalitions: tuple[Coalition, ...]
    figures: tuple[Figure, ...]
    weights: Floats
    sampling: Callable[[Floats], tuple[Floats, float]] | None = None
    arm: str = ""
    unit: str = ""
    direction: Literal["higher", "lower"] = "higher"
    confidence: float = 0.95
    one_model: bool = False
    screen_seeds: int = 3
    full_seeds: int = 5
    notes: tuple[str, ...] = field(default=())

    @property
    def families(self) -> list[int]:
        """[figures] how many figures are of the same kind and order."""
        groups = [(figure.kind, len(figure.of)) for figure in self.figures]
        sizes = Counter(groups)
        return [sizes[group] for group in groups]


def effect_table(
    asked: Asked, scores: Iterable[Floats], clusters: NDArray[np.intp] | None
) -> EffectTable:
    """The effects and the coalitions' means, with intervals.

    Args:
        scores: by seed or model [coalitions, examples], or [coalitions, 1] of means; finite. Each
            is reduced before the next is asked for.
        clusters: [examples] cluster of each, numbered from 0; None for means.

    Raises:
        ValueError: no scores, or scores that are not finite.
    """
    import numpy as np

    from orchestrator.statistics.weighted import intervals, reduce_scores

    states = np.array(asked.coalitions, dtype=bool).reshape(len(asked.coalitions), -1)
    count = len(asked.coalitions)
    cells = count if count <= MOST_INTERVALS else 0
    rows = np.vstack([asked.weights, np.eye(cells, count)])
    reduced: list[Reduced] = []
    examples = 0
    for one in scores:
        reduced.append(reduce_scores(one, states, rows))
        examples = one.shape[1]
    if not reduced:
        raise ValueError("no scores: there is nothing to make effects of")
    errors, df = None, float("inf")
    if asked.sampling is not None:  # the mean of a coalition does not hang on the choice
        errors, df = asked.sampling(np.mean([one.values for one in reduced], axis=0))
        errors = np.concatenate([errors, np.zeros(cells)])
    found = intervals(
        reduced,
        clusters,
        [*asked.families, *([1] * cells)],
        asked.confidence,
        one_model=asked.one_model,
        sampling_se=errors,
        sampling_df=df,
        plain=cells,
    )
    unchanged = np.all([one.unchanged for one in reduced], axis=0)
    nothing = tuple(f for f, same in zip(asked.factors, unchanged, strict=True) if same)
    size = len(asked.figures)
    return _table(
        asked,
        effects=tuple(
            _effect(asked, found, i, nothing, len(reduced), None if errors is None else errors[i])
            for i in range(size)
        ),
        coalitions=_means(asked, reduced, found, size, cells),
        null_players=nothing,
        examples=None if clusters is None else examples,
        clusters=None if clusters is None else int(clusters.max()) + 1,
    )


def known_means(
    asked: Asked,
    coalitions: Sequence[Coalition],
    scores: Iterable[Floats],
    clusters: NDArray[np.intp] | None,
) -> dict[tuple[str, ...], CoalitionMean]:
    """The means of some of the coalitions, with intervals, by what is on. As `effect_table`; scores
    [of these coalitions, examples]."""
    import numpy as np

    none = np.zeros((0, len(coalitions)))
    some = replace(asked, coalitions=tuple(coalitions), figures=(), weights=none, sampling=None)
    return {cell.on: cell for cell in effect_table(some, scores, clusters).coalitions}


def incomplete_table(
    asked: Asked,
    problems: Sequence[str],
    means: Sequence[Sequence[float | None]] = (),
    known: Mapping[tuple[str, ...], CoalitionMean] = MappingProxyType({}),
) -> EffectTable:
    """The same where something is missing: no figure is derived, and what is missing is said.

    `means` are by seed or model [coalitions]; None for one that is not known. What every seed or
    model has stands in the table, with its interval where that is `known` (`known_means`).
    """
    why = problems[0] if len(problems) == 1 else f"{problems[0]}; {len(problems) - 1} more"
    return _table(
        asked,
        effects=tuple(
            Effect(
                _kind(asked, figure),
                figure.of,
                asked.question,
                None,
                None,
                None,
                asked.confidence,
                family,
                len(means),
                words.NOT_ESTIMATED,
                why,
            )
            for figure, family in zip(asked.figures, asked.families, strict=True)
        ),
        coalitions=tuple(
            known.get(_on(asked, on)) or _mean(_on(asked, on), [one[i] for one in means])
            for i, on in enumerate(asked.coalitions)
        ),
        problems=tuple(problems),
    )


def _mean(on: tuple[str, ...], each: Sequence[float | None]) -> CoalitionMean:
    """Without an interval, and without a value where a seed or model has none."""
    there = [value for value in each if value is not None]
    whole = bool(there) and len(there) == len(each)
    return CoalitionMean(on, sum(there) / len(there) if whole else None, by_replicate=tuple(each))


def _table(
    asked: Asked,
    effects: tuple[Effect, ...],
    coalitions: tuple[CoalitionMean, ...],
    null_players: tuple[str, ...] = (),
    problems: tuple[str, ...] = (),
    examples: int | None = None,
    clusters: int | None = None,
) -> EffectTable:
    return EffectTable(
        question=asked.question,
        about=asked.about,
        arm=asked.arm,
        seeds=asked.seeds,
        metric=asked.metric,
        unit=asked.unit,
        direction=asked.direction,
        factors=asked.factors,
        effects=effects,
        coalitions=coalitions,
        null_players=null_players,
        problems=problems,
        notes=asked.notes,
        examples=examples,
        clusters=clusters,
    )


def _effect(
    asked: Asked,
    found: Intervals,
    i: int,
    nothing: Sequence[str],
    replicates: int,
    sampling_se: float | None,
) -> Effect:
    figure, value = asked.figures[i], float(found.value[i])
    low, high = _finite(found.low[i]), _finite(found.high[i])
    label, why = _label(asked, figure, value, low, high, bool(found.still[i]), nothing, replicates)
    if found.still[i] or low is None or high is None:
        low = high = None
    return Effect(
        kind=_kind(asked, figure),
        of=figure.of,
        question=asked.question,
        value=value,
        low=low,
        high=high,
        confidence=asked.confidence,
        family=asked.families[i],
        replicates=replicates,
        label=label,
        why=why,
        sampling_se=None if sampling_se is None else _finite(sampling_se),
    )


def _label(
    asked: Asked,
    figure: Figure,
    value: float,
    low: float | None,
    high: float | None,
    still: bool,
    nothing: Sequence[str],
    replicates: int,
) -> tuple[str, str]:
    """What the interval supports, and why where the numbers do not say it."""
    still_zero = still and value == 0.0
    if still_zero and figure.of and set(figure.of) & set(nothing):
        names = " and ".join(name for name in figure.of if name in nothing)
        return words.NULL_PLAYER, f"{names} changes no score in any coalition"
    if still_zero:
        return words.ZERO, "it is 0 for every example: nothing to test"
    if still:
        return words.INCONCLUSIVE, "nothing varied, so it cannot be tested"
    if low is None or high is None:
        return words.NOT_ESTIMATED, _no_interval(asked, replicates)
    if not asked.one_model and replicates < asked.screen_seeds:
        return (
            words.INCONCLUSIVE,
            f"{counted(replicates, 'seed')}; a screen takes {asked.screen_seeds}",
        )
    sign = 1.0 if asked.direction == "higher" else -1.0
    lower, upper = sorted((sign * low, sign * high))
    good, bad = (words.SYNERGY, words.INTERFERENCE) if len(figure.of) > 1 else _main
    if lower <= 0.0 <= upper:
        return words.INCONCLUSIVE, ""
    if not asked.one_model and replicates < asked.full_seeds:
        return words.CANDIDATE, f"{counted(replicates, 'seed')}; a verdict takes {asked.full_seeds}"
    return (good if lower > 0.0 else bad), ""


_main = (words.HELPS, words.HARMS)


def _no_interval(asked: Asked, replicates: int) -> str:
    if not asked.one_model and replicates < 2:
        return "one seed has no interval"
    if asked.one_model:
        return "one model has no interval without scores by example in two clusters"
    return "the variance cannot be estimated"


def _means(
    asked: Asked, reduced: Sequence[Reduced], found: Intervals, start: int, cells: int
) -> tuple[CoalitionMean, ...]:
    out = []
    for i, on in enumerate(asked.coalitions):
        each = tuple(float(one.values[i]) for one in reduced)
        known = i < cells and not found.still[start + i]
        low = _finite(found.low[start + i]) if known else None
        high = _finite(found.high[start + i]) if known else None
        out.append(CoalitionMean(_on(asked, on), sum(each) / len(each), low, high, each))
    return tuple(out)


def _kind(asked: Asked, figure: Figure) -> str:
    """Nothing is removed from an arm that was trained without it."""
    trained = asked.question == "causal effect" and figure.kind == "removal_cost"
    return words.LEFT_OUT if trained else figure.kind


def _on(asked: Asked, coalition: Coalition) -> tuple[str, ...]:
    return tuple(name for name, on in zip(asked.factors, coalition, strict=True) if on)


def _finite(value: float) -> float | None:
    number = float(value)
    return number if number == number and abs(number) != float("inf") else None
