"""Points of the phase plot: consistency and entropy of every chunk. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from workloads.structural_health.inference.chunks import ChunkRow

COLOURS: Final = ("#1f77b4", "#d62728", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b")
KAPPA_AXIS: Final = (-0.1, 1.1)
KAPPA_TITLE: Final = "κ: cosine with the chunk before"
ENTROPY_TITLE: Final = "H: entropy of the next token, nats"
NO_KAPPA: Final = "no κ"


@dataclass(frozen=True)
class Point:
    """A chunk of a run: of which arm or regime, under which seed (None: a log of one run)."""

    group: str
    seed: int | None
    row: ChunkRow


def by_group(points: Iterable[Point]) -> Mapping[str, list[Point]]:
    """Points of each group, in order of first appearance."""
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.group, []).append(point)
    return groups


def kappa_range(points: Sequence[Point]) -> tuple[float, float]:
    """The axis: from −0.1 to 1.1, and further down where a point lies there."""
    low, high = KAPPA_AXIS
    kappas = [point.row.kappa for point in points if point.row.kappa is not None]
    return min([low, *(kappa - 0.05 for kappa in kappas)]), high
