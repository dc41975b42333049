"""What a study can resolve, for `plan`: before anything has run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.verdict.numbers import decimals, shown
from orchestrator.verdict.rule import Rule

if TYPE_CHECKING:
    from orchestrator.statistics import Noise

MOST_SEEDS = 20


@dataclass(frozen=True)
class Resolvable:
    """What a study can resolve, in the units of the metric.

    Attributes:
        half_width: expected half-width of a difference's simultaneous interval; None for one seed.
        smallest_difference: the difference found in four of five studies; None for one seed.
        target: half the first band, the half-width that tells a first-band effect from none.
        enough: whether the half-width is within the target.
        needed: (seeds, questions) that reach the target, from the fewest seeds that can.
        text: one or two sentences for a person.
    """

    half_width: float | None
    smallest_difference: float | None
    target: float
    enough: bool
    needed: tuple[tuple[int, int], ...]
    text: str


def smallest_resolvable(
    rule: Rule, seeds: int, questions: int, noise: Noise, comparisons: int = 1
) -> Resolvable:
    """What `seeds` x `questions` resolve under a rule, and what half the first band would take.

    Args:
        noise: assumed, or measured by `orchestrator.statistics.measured_noise` on earlier trials.
        comparisons: arms in the family.
    """
    from orchestrator.statistics import questions_needed, resolution

    target = rule.bands[0].at_least / 2
    family = max(1, comparisons)
    here = resolution(noise, seeds, questions, family, rule.confidence)
    needed: list[tuple[int, int]] = []
    for more in range(2, MOST_SEEDS + 1):
        wanted = questions_needed(noise, more, target, family, rule.confidence)
        if wanted is not None and (not needed or wanted < needed[-1][1]):
            needed.append((more, wanted))
    enough = here is not None and here.half_width <= target
    return Resolvable(
        half_width=None if here is None else here.half_width,
        smallest_difference=None if here is None else here.smallest_difference,
        target=target,
        enough=enough,
        needed=tuple(needed),
        text=_text(rule, seeds, questions, None if here is None else here.smallest_difference)
        + ("" if enough else _shortfall(rule, target, needed, questions)),
    )


def _text(
    rule: Rule,
    seeds: int,
    questions: int,
    smallest: float | None,
) -> str:
    if smallest is None:
        return f"{seeds} seed x {questions} questions: no interval, so nothing can be resolved."
    places = decimals([(band.at_least, band.name) for band in rule.bands])
    return (
        f"{seeds} seeds x {questions} questions resolve a difference of "
        f"{shown(smallest, places)} {rule.unit} (in 4 of 5 studies)."
    )


def _shortfall(rule: Rule, target: float, needed: list[tuple[int, int]], questions: int) -> str:
    want = f" To within {target:g} {rule.unit} (half the first band)"
    if not needed:
        return f"{want}: out of reach within {MOST_SEEDS} seeds, as the seeds alone vary too much."
    within = next(((s, q) for s, q in needed if q <= questions), None)
    seeds, wanted = within or needed[-1]
    return f"{want} it takes {seeds} seeds x {wanted} questions."
