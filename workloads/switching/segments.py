"""A model cut along its depth into segments, some of which hold switches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from workloads.switching.coalition import Coalition


@runtime_checkable
class Segment(Protocol):
    """A piece of a network: what it gives depends on its input and its own switches alone.

    To share the most, let a segment begin with its switch, and let the next one begin where the
    next switch is.
    """

    @property
    def factors(self) -> tuple[int, ...]:
        """Indices of the switches inside it, usually one or none. Two segments may name the same
        switch, as where one switch turns off a part in several layers."""

    def run(self, x: Any, on: Coalition) -> Any:
        """The activation that follows `x`. `on` has a state for each of `factors`, in that order.

        Must not change `x` in place: other coalitions go on from it.
        """


def own_states(segment: Segment, coalition: Coalition) -> Coalition:
    """The states of a segment's own switches."""
    return tuple(coalition[index] for index in segment.factors)


def check_segments(segments: Sequence[Segment], switches: int) -> None:
    """Refuses (ValueError) switches that no segment holds, or that lie beyond the last one."""
    if not segments:
        raise ValueError("no segments: cut the model into one at least")
    named = {index for segment in segments for index in segment.factors}
    beyond = sorted(index for index in named if not 0 <= index < switches)
    if beyond:
        raise ValueError(
            f"segments name the switches {beyond}, but a coalition has {switches} states "
            f"(0 to {switches - 1})"
        )
    missing = sorted(set(range(switches)) - named)
    if missing:
        raise ValueError(
            f"no segment holds the switches {missing}: they would change nothing; "
            "list each in the `factors` of the segment that it is in"
        )


def segment_passes(segments: Sequence[Segment], coalitions: Sequence[Coalition]) -> int:
    """How often a segment is run, per batch, where coalitions share prefixes.

    Naive evaluation needs `len(segments) * len(coalitions)`. With n switches, each at the beginning
    of a segment, and one segment before them, all 2^n coalitions take 2^(n + 1) - 1 passes.
    """
    prefixes: list[Coalition] = [()] * len(coalitions)
    passes = 0
    for segment in segments:
        prefixes = [
            prefix + own_states(segment, coalition)
            for prefix, coalition in zip(prefixes, coalitions, strict=True)
        ]
        passes += len(set(prefixes))
    return passes
