"""Prefix sharing: coalitions that agree on the first switches share the computation up to there.

The coalitions form a tree, segment by segment, which is walked depth first for each batch: every
edge is one segment's pass, so all coalitions of n equally spaced switches take 2^(n + 1) - 1 passes
and not 2^n (n + 1). The operations of one coalition are those of the naive evaluation, in the same
order and at the same shapes, so that on the CPU the results are equal bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from workloads.switching.coalition import Coalition
from workloads.switching.results import FAILURES, CoalitionScores, Collected, Score
from workloads.switching.segments import Segment, check_segments, own_states


def evaluate_coalitions(
    segments: Sequence[Segment],
    coalitions: Sequence[Coalition],
    batches: Iterable[tuple[Any, Any]],
    score: Score,
) -> list[CoalitionScores]:
    """Scores and losses by example of each coalition, in the order given.

    `batches` are pairs of an input for the first segment and a target; `score` gets the last
    segment's output with the target. For n switches at most n + 1 activations are alive between
    two passes. A pass that raises (arithmetic, runtime or value error) fails the coalitions that
    share it, which say so; the others go on.

    The model is used as it is: call it within `undisturbed(model)`. Raises ValueError for segments
    that do not hold the switches.
    """
    if coalitions:
        check_segments(segments, len(coalitions[0]))
    collected = Collected(coalitions)
    alive = collected.alive()
    tree = _tree(segments, coalitions, 0, alive)
    for x, target in batches:
        if alive != (still := collected.alive()):
            alive, tree = still, _tree(segments, coalitions, 0, still)
        if alive:
            _walk(segments, tree, x, target, score, collected)
    return collected.results()


@dataclass(frozen=True)
class _Node:
    """One pass of one segment: the states it is run with, and the coalitions that share it."""

    on: Coalition
    members: list[int]
    after: list[_Node]


@dataclass
class _Parting:
    """An activation from which several passes go on; the last one takes it away."""

    depth: int
    x: Any
    left: list[_Node]


def _tree(
    segments: Sequence[Segment], coalitions: Sequence[Coalition], depth: int, members: list[int]
) -> list[_Node]:
    """The passes of the segment at `depth` for these coalitions, each with what follows it."""
    if depth == len(segments):
        return []
    parted: dict[Coalition, list[int]] = {}
    for index in members:
        parted.setdefault(own_states(segments[depth], coalitions[index]), []).append(index)
    return [
        _Node(on, part, _tree(segments, coalitions, depth + 1, part)) for on, part in parted.items()
    ]


def _walk(
    segments: Sequence[Segment],
    tree: list[_Node],
    x: Any,
    target: Any,
    score: Score,
    collected: Collected,
) -> None:
    """One batch. Only where coalitions part is an activation kept, until its last pass is run."""
    waiting = [_Parting(0, x, list(tree))]
    while waiting:
        at = waiting[-1]
        depth, x, node = at.depth, at.x, at.left.pop()
        if not at.left:
            waiting.pop()
        del at
        try:
            x = segments[depth].run(x, node.on)
            while len(node.after) == 1:
                depth, node = depth + 1, node.after[0]
                x = segments[depth].run(x, node.on)
            if node.after:
                waiting.append(_Parting(depth + 1, x, list(node.after)))
            else:
                collected.add(node.members, *score(x, target))
        except FAILURES as error:
            collected.fail(node.members, error)
