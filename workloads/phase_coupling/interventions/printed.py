"""What the source printed of its two experiments, with the intervals that its numbers allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workloads.phase_coupling.interventions.source_tests import (
    Group,
    correlation,
    equal_variance_t,
    f_probability,
    t_probability,
)

ENTROPY_MARGIN: Final = 0.01
COUPLED: Final = Group(0.281, 0.030, 40)
"""Normalised entropy of its 8 prompts x 5 samples with oscillators, and without."""
ALONE: Final = Group(0.276, 0.033, 40)


@dataclass(frozen=True)
class Printed:
    """A test as printed, with p from its own figures, and what the numbers leave open."""

    experiment: str
    test: str
    figure: str
    printed_p: float
    p: float | None
    """From the printed statistic; None where none was printed."""
    allows: str


def printed_tests() -> tuple[Printed, ...]:
    """Each printed test. An interval is given where the printed numbers determine one."""
    difference = equal_variance_t(COUPLED, ALONE)
    rows = [
        Printed(
            "with against without",
            "t, entropy",
            "t(78) = 0.687, .281 ± .030 against .276 ± .033",
            0.494,
            t_probability(0.687, 78),
            f"difference [{difference.low:+.3f}, {difference.high:+.3f}]: "
            f"{'inside' if difference.within(ENTROPY_MARGIN) else 'not inside'} "
            f"±{ENTROPY_MARGIN:g}",
        ),
        Printed("with against without", "t, distinct-2", ".963 against .960", 0.800, None, ""),
        Printed("with against without", "t, repetition", ".208 against .211", 0.865, None, ""),
        _pearson("with against without", "R, entropy", 0.054, 40, 0.74),
        _anova("entropy", 0.945, 0.441),
        _anova("distinct-2", 0.616, 0.652),
        _pearson("forced R", "R, entropy", 0.069, 100, 0.496),
        _pearson("forced R", "R, distinct-2", 0.077, 100, 0.445),
    ]
    return tuple(rows)


def _anova(of: str, f: float, p: float) -> Printed:
    return Printed("forced R", f"ANOVA, {of}", f"F(4, 95) = {f:g}", p, f_probability(f, 4, 95), "")


def _pearson(experiment: str, of: str, r: float, n: int, p: float) -> Printed:
    again = correlation(r, n)
    return Printed(
        experiment,
        f"Pearson, {of}",
        f"r = {r:g}, n = {n}",
        p,
        again.p,
        f"r [{again.low:+.2f}, {again.high:+.2f}]",
    )
