"""What a column can be: as its workload declares, else as the metric of its name."""

from __future__ import annotations

from orchestrator.limits import NO_LIMITS, column_limits, difference_limits, ends_within
from workloads.phase_coupling.kssm_workload import Kssm
from workloads.phase_coupling.metrics import SCORE_COLUMNS, SCORE_LIMITS
from workloads.phase_coupling.workload import PhaseCoupling


def test_a_column_has_the_limits_that_its_workload_declares_else_its_metrics() -> None:
    assert column_limits(PhaseCoupling(), "core_gradient") == (0.0, None)
    assert column_limits(PhaseCoupling(), "divergence") == (0, None)  # a metric's
    assert column_limits(PhaseCoupling(), "loss") == NO_LIMITS
    assert column_limits(Kssm(), "r_mean") == (0.0, 1.0)
    assert column_limits(Kssm(), "u_mean") == NO_LIMITS
    columns = {column for of in SCORE_COLUMNS.values() for column in of}
    assert set(SCORE_LIMITS) == columns - {"loss"}


def test_a_difference_has_limits_where_both_sides_have() -> None:
    assert difference_limits((-1.0, 1.0)) == (-2.0, 2.0)
    assert difference_limits((0.0, None)) == NO_LIMITS


def test_ends_lie_within_and_never_part_from_their_figure() -> None:
    assert ends_within(0.9, 0.8, 1.2, (0.0, 1.0)) == (0.8, 1.0)
    assert ends_within(1.5, 1.4, 1.6, (0.0, 1.0)) == (1.0, 1.5)
    assert ends_within(0.9, None, None, (0.0, 1.0)) == (None, None)
