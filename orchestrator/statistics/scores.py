"""From the replicates' per-question scores to moments on common questions."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.statistics.moments import (
    Floats,
    Moments,
    cluster_index,
    moments,
    moments_of_means,
)


@dataclass(frozen=True)
class ScoredQuestions:
    """One replicate: ids, scores (NaN for one not measured) and clusters, each ``[questions]``."""

    units: tuple[Hashable, ...]
    scores: Floats
    clusters: tuple[Hashable, ...]


def scored_questions(
    scores: Sequence[float | None],
    units: Sequence[Hashable] | None = None,
    clusters: Sequence[Hashable] | None = None,
) -> ScoredQuestions:
    """Name each score by its question: by id, or by position where no ids are given.

    None, NaN and infinities are scores that were not measured. Without clusters each question is
    its own.

    Raises:
        ValueError: lengths differ, or a question id occurs twice.
    """
    values = np.asarray(scores, dtype=np.float64)
    names = tuple(range(len(values))) if units is None else tuple(units)
    groups = names if clusters is None else tuple(clusters)
    if len(names) != len(values) or len(groups) != len(values):
        raise ValueError(
            f"{len(values)} scores, {len(names)} units and {len(groups)} clusters: "
            "give one of each per question"
        )
    if len(set(names)) != len(names):
        seen: set[Hashable] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"question {twice!r} was scored twice in one replicate")
    return ScoredQuestions(names, np.where(np.isfinite(values), values, np.nan), groups)


@dataclass(frozen=True)
class Aligned:
    """Arms reduced to moments on the questions that every replicate of every arm has.

    Attributes:
        arms: one per arm, in the order given.
        questions: how many are common to all; None where the arms hold means only.
        dropped: how many more were asked somewhere but not measured everywhere.
    """

    arms: tuple[Moments, ...]
    questions: int | None
    dropped: int


def align(arms: Sequence[Sequence[ScoredQuestions]]) -> Aligned | None:
    """Reduce arms, each a sequence of replicates, to their common questions; None without any.

    Raises:
        ValueError: an arm without replicates, or a question in two different clusters.
    """
    if not arms or any(not arm for arm in arms):
        raise ValueError("each arm needs at least one replicate")
    replicates = [replicate for arm in arms for replicate in arm]
    names = {replicate.units for replicate in replicates}
    order = replicates[0].units if len(names) == 1 else _shared(replicates)
    asked = len(order) if len(names) == 1 else len(set().union(*names))
    labels = _in_order(replicates[0], order)[1]
    columns = []
    for replicate in replicates:
        scores, groups = _in_order(replicate, order)
        if groups != labels:
            i = next(i for i, (a, b) in enumerate(zip(groups, labels, strict=True)) if a != b)
            raise ValueError(
                f"question {order[i]!r} is in cluster {labels[i]!r} in one replicate "
                f"and in {groups[i]!r} in another"
            )
        columns.append(scores)
    table = np.stack(columns)
    measured = np.asarray(np.isfinite(table).all(axis=0))
    if not measured.any():
        return None
    index = cluster_index([label for label, kept in zip(labels, measured, strict=True) if kept])
    ends = np.cumsum([len(arm) for arm in arms])[:-1]
    parts = np.split(table[:, measured], ends)
    count = int(measured.sum())
    return Aligned(tuple(moments(part, index) for part in parts), count, asked - count)


def align_means(arms: Sequence[Sequence[float]]) -> Aligned:
    """The same from seed means alone: intervals then speak of the seeds, not of the questions."""
    return Aligned(tuple(moments_of_means(list(arm)) for arm in arms), None, 0)


def _shared(replicates: Sequence[ScoredQuestions]) -> tuple[Hashable, ...]:
    """The questions that all replicates were asked, in the first one's order."""
    common = set(replicates[0].units).intersection(*(set(one.units) for one in replicates[1:]))
    return tuple(name for name in replicates[0].units if name in common)


def _in_order(
    replicate: ScoredQuestions, order: tuple[Hashable, ...]
) -> tuple[Floats, tuple[Hashable, ...]]:
    if replicate.units == order:
        return replicate.scores, replicate.clusters
    at = {name: i for i, name in enumerate(replicate.units)}
    rows = [at[name] for name in order]
    return replicate.scores[rows], tuple(replicate.clusters[row] for row in rows)
