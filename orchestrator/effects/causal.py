"""Causal effects: what training with a factor changes, from arms of every combination.

The seed is the outer unit: a figure is made from the whole set of arms of each seed, and t runs
over the seeds. What the arms of a seed share (its initial weights, its order of data) then counts
once, and cancels where it can.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.counted import counted
from orchestrator.effects.effect import EffectTable
from orchestrator.effects.planned import planned_figures
from orchestrator.effects.tabling import Asked, effect_table, incomplete_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.statistics import ScoredQuestions
    from orchestrator.study_file import Factorial
    from orchestrator.verdict import ArmScores, ReplicateScores, Rule
    from telemetry.counterfactual.coalitions import Coalition


def causal_effects(
    design: Factorial,
    named: Mapping[str, Coalition],
    arms: Sequence[ArmScores],
    rule: Rule,
) -> EffectTable:
    """The effects of the design's factors on the rule's metric.

    Args:
        named: coalition by the name of its arm.
        arms: the study's arms with their replicates, planned ones included.
    """
    factors = tuple(design.factors)
    planned = planned_figures(design, factors)
    names = {coalition: name for name, coalition in named.items()}
    by_name = {arm.arm: arm for arm in arms}
    order = [names[coalition] for coalition in planned.coalitions]
    missing = [f"arm {name} is not in the study" for name in order if name not in by_name]
    chosen = [by_name[name] for name in order if name in by_name]
    seeds = tuple(sorted({one.seed for arm in chosen for one in arm.replicates}))
    asked = Asked(
        question="causal effect",
        about=f"{counted(len(order), 'arm')} x {counted(len(seeds), 'seed')}",
        seeds=seeds,
        metric=rule.metric,
        factors=factors,
        coalitions=planned.coalitions,
        figures=planned.figures,
        weights=planned.weights,
        sampling=planned.sampling,
        unit=rule.unit,
        direction=rule.direction,
        confidence=rule.confidence,
        screen_seeds=rule.screen_seeds,
        full_seeds=rule.full_seeds,
        notes=() if planned.sampling is None else (planned.described,),
    )
    if missing:
        return incomplete_table(asked, missing)
    by_seed = [[_of_seed(arm, seed) for arm in chosen] for seed in seeds]
    problems = _problems(chosen, seeds, by_seed)
    if problems:
        means = [[None if one is None else one.mean_score for one in row] for row in by_seed]
        return incomplete_table(asked, problems, means)
    whole = [[one for one in row if one is not None] for row in by_seed]
    keyed = [[one.questions for one in row] for row in whole]
    if any(one is None for row in keyed for one in row):
        return effect_table(asked, [_mean_column(row) for row in whole], None)
    known = [[one for one in row if one is not None] for row in keyed]
    common = _common(known)
    if not common:
        return incomplete_table(asked, ["no example was scored in every arm and seed"])
    from orchestrator.statistics import cluster_index

    group = dict(zip(known[0][0].units, known[0][0].clusters, strict=True))
    clusters = cluster_index([group[unit] for unit in common])
    return effect_table(asked, [_table(row, common) for row in known], clusters)


def _of_seed(arm: ArmScores, seed: int) -> ReplicateScores | None:
    """The scored replicate of a seed; that of a deterministic arm is every seed's."""
    if arm.deterministic and len(arm.replicates) == 1:
        return arm.replicates[0] if arm.replicates[0].scored else None
    return next((one for one in arm.replicates if one.seed == seed and one.scored), None)


def _problems(
    arms: Sequence[ArmScores],
    seeds: Sequence[int],
    by_seed: Sequence[Sequence[ReplicateScores | None]],
) -> list[str]:
    """What is missing or failed, by coalition and seed."""
    found = []
    for i, arm in enumerate(arms):
        for seed, row in zip(seeds, by_seed, strict=True):
            if row[i] is None:
                planned = next((one for one in arm.replicates if one.seed == seed), None)
                found.append(f"coalition {arm.arm}, seed {seed}: {_state(planned)}")
    return found


def _state(one: ReplicateScores | None) -> str:
    if one is None:
        return "not planned"
    if one.state == "done":
        return "done without a finite score"
    return f"{one.state} ({one.failure_kind})" if one.failure_kind else one.state


def _mean_column(row: Sequence[ReplicateScores]) -> NDArray[np.float64]:
    import numpy as np

    return np.array([[one.mean_score] for one in row], dtype=np.float64)


def _common(rows: Sequence[Sequence[ScoredQuestions]]) -> list[Hashable]:
    """The examples with a finite score in every arm under every seed, in the first one's order."""
    import numpy as np

    first = rows[0][0]
    kept = set(first.units)
    for row in rows:
        for one in row:
            finite = np.isfinite(one.scores)
            if one.units != first.units or not finite.all():
                kept &= {unit for unit, ok in zip(one.units, finite, strict=True) if ok}
    return [unit for unit in first.units if unit in kept]


def _table(row: Sequence[ScoredQuestions], common: Sequence[Hashable]) -> NDArray[np.float64]:
    """[coalitions, examples] of one seed."""
    import numpy as np

    wanted = tuple(common)
    columns = []
    for one in row:
        if one.units == wanted:
            columns.append(one.scores)
            continue
        at = {unit: i for i, unit in enumerate(one.units)}
        columns.append(one.scores[[at[unit] for unit in wanted]])
    return np.stack(columns)
