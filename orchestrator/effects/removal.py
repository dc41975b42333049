"""Removal costs: what a finished model loses when parts of it are switched off.

Conditional on one trained model: its interval speaks of other examples, and of other draws of
coalitions where they are sampled. Over the models of an arm, the seed is the outer unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from orchestrator.counted import counted
from orchestrator.effects.effect import CoalitionMean, EffectTable
from orchestrator.effects.planned import planned_figures
from orchestrator.effects.tabling import Asked, effect_table, incomplete_table, known_means

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.evaluation.tables import PointTable
    from orchestrator.study_file import Removal


@dataclass(frozen=True, eq=False)
class Subject:
    """A finished trial's model with what was measured on it. `table` is None while there is no
    model; `why` then says so."""

    trial: str
    arm: str
    seed: int
    table: PointTable | None
    why: str = ""


@dataclass(frozen=True)
class Scale:
    """How figures are judged: of the study's rule, or the usual."""

    unit: str = ""
    direction: Literal["higher", "lower"] = "higher"
    confidence: float = 0.95
    screen_seeds: int = 3
    full_seeds: int = 5


def subject_effects(
    design: Removal, subject: Subject, factors: tuple[str, ...], scale: Scale
) -> EffectTable:
    """Of one model. Without a complete table it holds no figure, and says what is missing."""
    about = f"the model of {subject.arm}, seed {subject.seed}"
    asked = _asked(design, factors, scale, [subject], about)
    return _judged(replace(asked, one_model=True), [subject])


def arm_effects(
    design: Removal, subjects: Sequence[Subject], factors: tuple[str, ...], scale: Scale
) -> EffectTable:
    """Over the models of one arm, which must all have a complete table. Each is a seed."""
    arm = subjects[0].arm
    about = f"{counted(len(subjects), 'model')} of {arm}"
    return _judged(_asked(design, factors, scale, subjects, about), subjects)


def problems_of(subject: Subject, asked: Asked) -> list[str]:
    """What is missing of a model's table, by the name of the coalition; empty if it is whole."""
    table = subject.table
    if table is None:
        return [subject.why or "there is no model yet"]
    rows = _rows(table)
    found = []
    for name, on in _named(asked):
        row = rows.get(on)
        if row is None or row in table.missing:
            found.append(f"coalition {name} is missing")
        elif row in table.errors:
            found.append(f"coalition {name} failed: {table.errors[row]}")
        elif not _finite(table, row):
            found.append(f"coalition {name} has no finite {table.score_metric or 'score'}")
    return found


def _asked(
    design: Removal,
    factors: tuple[str, ...],
    scale: Scale,
    subjects: Sequence[Subject],
    about: str,
) -> Asked:
    planned = planned_figures(design, factors)
    metrics = [s.table.score_metric for s in subjects if s.table and s.table.score_metric]
    return Asked(
        question="removal cost",
        about=about,
        arm=subjects[0].arm,
        seeds=tuple(one.seed for one in subjects),
        metric=metrics[0] if metrics else "score",
        factors=factors,
        coalitions=planned.coalitions,
        figures=planned.figures,
        weights=planned.weights,
        sampling=planned.sampling,
        unit=scale.unit,
        direction=scale.direction,
        confidence=scale.confidence,
        screen_seeds=scale.screen_seeds,
        full_seeds=scale.full_seeds,
        notes=() if planned.sampling is None else (planned.described,),
    )


def _judged(asked: Asked, subjects: Sequence[Subject]) -> EffectTable:
    several = len(subjects) > 1
    problems = [
        f"seed {one.seed}: {problem}" if several else problem
        for one in subjects
        for problem in problems_of(one, asked)
    ]
    tables = [one.table for one in subjects if one.table is not None]
    if not problems and len({one.units for one in tables}) > 1:
        problems = ["the models were measured on different examples"]
    if problems:
        means = [_means(one, asked) for one in subjects]
        return incomplete_table(asked, problems, means, _known(asked, tables, means))
    named = [on for _, on in _named(asked)]
    return effect_table(asked, _scores(tables, named), _clusters(tables[0]))


def _known(
    asked: Asked, tables: Sequence[PointTable], means: Sequence[Sequence[float | None]]
) -> dict[tuple[str, ...], CoalitionMean]:
    """What was measured on every model, with intervals: one bad coalition spoils no other."""
    whole = [i for i in range(len(asked.coalitions)) if all(one[i] is not None for one in means)]
    if not whole or len({one.units for one in tables}) > 1:
        return {}
    named = [on for _, on in _named(asked)]
    scores = _scores(tables, [named[i] for i in whole])
    chosen = [asked.coalitions[i] for i in whole]
    return known_means(asked, chosen, scores, _clusters(tables[0]))


def _scores(
    tables: Sequence[PointTable], named: Sequence[frozenset[str]]
) -> Iterator[NDArray[np.float64]]:
    """[coalitions, examples] of each model, or [coalitions, 1] of means."""
    import numpy as np

    for table in tables:
        rows = _rows(table)
        order = [rows[on] for on in named]
        if table.scores is not None:
            yield np.asarray(table.scores[order], dtype=np.float64)
        else:
            yield _values(table)[order][:, None]


def _clusters(table: PointTable) -> NDArray[np.intp] | None:
    from orchestrator.statistics import cluster_index

    return None if table.scores is None else cluster_index(table.clusters)


def _means(subject: Subject, asked: Asked) -> list[float | None]:
    table = subject.table
    if table is None:
        return [None] * len(asked.coalitions)
    rows = _rows(table)
    known = [rows.get(on) for _, on in _named(asked)]
    return [None if row is None or not _finite(table, row) else _mean(table, row) for row in known]


def _finite(table: PointTable, row: int) -> bool:
    import numpy as np

    if row in table.missing or row in table.errors:
        return False
    if table.scores is not None:
        return bool(np.isfinite(table.scores[row]).all())
    return bool(table.values) and bool(np.isfinite(_values(table)[row]))


def _mean(table: PointTable, row: int) -> float:
    if table.scores is not None:
        return float(table.scores[row].mean(dtype="float64"))
    return float(_values(table)[row])


def _values(table: PointTable) -> NDArray[np.float64]:
    """[points] the metric that is scored; the first there is where no score is kept."""
    name = table.score_metric or next(iter(table.values))
    return table.values[name]


def _rows(table: PointTable) -> dict[frozenset[str], int]:
    return {on: row for row, on in enumerate(table.on)}


def _named(asked: Asked) -> Iterator[tuple[str, frozenset[str]]]:
    """The asked coalitions: their names, and what is on."""
    for coalition in asked.coalitions:
        on = [name for name, flag in zip(asked.factors, coalition, strict=True) if flag]
        yield "+".join(on) or "none", frozenset(on)
