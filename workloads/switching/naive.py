"""The reference: every coalition runs the whole model by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from workloads.switching.coalition import Coalition
from workloads.switching.results import FAILURES, CoalitionScores, Collected, Score
from workloads.switching.segments import Segment, check_segments, own_states


def evaluate_naively(
    segments: Sequence[Segment],
    coalitions: Sequence[Coalition],
    batches: Iterable[tuple[Any, Any]],
    score: Score,
) -> list[CoalitionScores]:
    """As `evaluate_coalitions`, with `len(segments)` passes for each coalition and batch."""
    if coalitions:
        check_segments(segments, len(coalitions[0]))
    collected = Collected(coalitions)
    for x, target in batches:
        for index in collected.alive():
            try:
                y = x
                for segment in segments:
                    y = segment.run(y, own_states(segment, coalitions[index]))
                scores, losses = score(y, target)
            except FAILURES as error:
                collected.fail([index], error)
            else:
                collected.add([index], scores, losses)
    return collected.results()
