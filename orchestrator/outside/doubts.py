"""What looks as if a table's rows were not what its columns say: told, as it may be right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.seeds import shown_seeds

if TYPE_CHECKING:
    from orchestrator.outside.evidence import Evidence
    from orchestrator.outside.runs import ScoredUnits

FEWEST_UNITS = 8
"""Runs that agree on fewer may do so by chance."""
MOST_NAMED = 6
DECIMALS = 6
"""One score a run with no more of them is a share of few, which two runs may have alike."""


def doubts(evidence: Evidence, asked: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Runs counted twice, seeds given as units, and arms scored on other units. `asked`: metrics,
    each with its split."""
    by_arm: dict[str, dict[int, list[ScoredUnits]]] = {}
    for metric, split in asked:
        found = evidence.scores_of(metric, split)
        for (arm, seed), scores in zip(evidence.runs.keys, found, strict=True):
            if scores is not None and evidence.role(arm) != "proposal":
                by_arm.setdefault(arm, {}).setdefault(seed, []).append(scores)
    for arm, runs in by_arm.items():
        alike = [] if arm in evidence.deterministic else _alike(runs)
        if alike:
            groups = "; ".join(f"seeds {shown_seeds(seeds)}" for seeds in alike[:MOST_NAMED])
            yield (
                f"{arm}: {groups} scored exactly the same. If they are one run, the interval is "
                f"too narrow: leave the others out, or state deterministic: [{arm}] if no seed "
                "changes it."
            )
    yield from _of_units(evidence, by_arm)


def _alike(runs: Mapping[int, Sequence[ScoredUnits]]) -> list[list[int]]:
    """Groups of seeds with the same scores of every metric, to the last digit."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for seed, scored in runs.items():
        if any(map(_telling, scored)):
            same = (sorted(zip(s.units or [""], s.values, strict=True)) for s in scored)
            groups.setdefault(tuple(map(tuple, same)), []).append(seed)
    return [seeds for seeds in groups.values() if len(seeds) > 1]


def _telling(scores: ScoredUnits) -> bool:
    """Whether two runs do not score so by chance."""
    if scores.units is None:
        return round(scores.values[0], DECIMALS) != scores.values[0]
    return len(scores.units) >= FEWEST_UNITS and len(set(scores.values)) > 1


def _of_units(
    evidence: Evidence, by_arm: Mapping[str, Mapping[int, Sequence[ScoredUnits]]]
) -> Iterator[str]:
    by_seed: dict[int, set[str]] = {}
    for runs in by_arm.values():
        for seed, one in runs.items():
            by_seed.setdefault(seed, set()).update(_units([one]))
    scored = [units for units in by_seed.values() if units]
    if len(scored) > 1 and sum(map(len, scored)) == len(set().union(*scored)):
        yield (
            "every unit was scored under one seed alone: a unit is what all runs are scored on, "
            "such as a question. If there is none, leave the column out."
        )
    rule = evidence.rule.file.verdict
    mine = _units(by_arm.get(rule.comparator, {}).values()) if rule is not None else set()
    for arm, runs in by_arm.items():
        theirs = _units(runs.values())
        if rule is not None and mine and theirs and not mine & theirs:
            yield f"{arm}: shares no unit with '{rule.comparator}', so that nothing is compared."


def _units(runs: Iterable[Sequence[ScoredUnits]]) -> set[str]:
    return {unit for scored in runs for one in scored for unit in one.units or ()}
