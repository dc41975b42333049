"""The toy workload keeps the contract of workloads, and refuses what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.workloads.structural_health.toy.small import SMALL
from workloads.errors import InputError
from workloads.recording import run_recorded
from workloads.structural_health.config import StructuralHealthConfig
from workloads.structural_health.workload import StructuralHealth
from workloads.testing import WorkloadContract


class TestStructuralHealth(WorkloadContract):
    workload = StructuralHealth
    config_a: ClassVar[Mapping[str, Any]] = {**SMALL, "fault": "slow_collapse", "steps": 21}
    config_b: ClassVar[Mapping[str, Any]] = {
        **SMALL,
        "fault": "true_collapse",
        "onset": 2,
        "ramp": 8,
        "steps": 16,
        "monitor_window": 7,
        # Before the window is full, and after.
        "checkpoint_steps": 6,
    }


def test_settings_that_a_fault_does_not_read_name_no_other_trial() -> None:
    workload = StructuralHealth()
    healthy = workload.resolve(StructuralHealthConfig(onset=7, ramp=3, pull=2.0))
    assert healthy == StructuralHealthConfig()
    slow = StructuralHealthConfig(fault="slow_collapse", onset=7, ramp=3, pull=2.0)
    assert workload.resolve(slow) == slow


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"width": 30, "heads": 4}, "multiple of heads"),
        ({"monitor_window": 62}, "2 to 61"),
        (
            {"monitor_window": 4, "collapse_threshold": 0.2},
            "no ratio is below 0.25; give a threshold",
        ),
        ({"fault": "true_collapse", "onset": 61}, "steps 0 to 60"),
        ({"monitor_layer": "head"}, "leave monitor_layer out"),
    ],
)
def test_what_cannot_be_run_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        StructuralHealth().check(StructuralHealthConfig(**fields))


def test_a_window_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        StructuralHealthConfig(monitor_window=1)


def test_several_ranks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ask for one rank"):
        run_recorded(StructuralHealth(), SMALL, tmp_path, rank=0, ranks=2)


def test_dense_telemetry_records_every_batch_and_changes_no_number(tmp_path: Path) -> None:
    fields = {**SMALL, "steps": 12}
    plain = run_recorded(StructuralHealth(), fields, tmp_path)
    dense = run_recorded(StructuralHealth(), {**fields, "telemetry": "research"}, tmp_path)
    assert plain.result is not None
    assert dense.result is not None
    assert dense.result.scores == plain.result.scores


def test_monitors_add_rows_and_change_no_number(tmp_path: Path) -> None:
    fields = {**SMALL, "steps": 12}
    plain = run_recorded(StructuralHealth(), fields, tmp_path)
    more = {**fields, "monitors": ["entropy", "margin", "layer_delta"]}
    watched = run_recorded(StructuralHealth(), more, tmp_path)
    assert plain.result is not None
    assert watched.result is not None
    assert watched.result.scores == plain.result.scores
    last = watched.rows[-1][1]
    assert last.keys() - plain.rows[-1][1].keys() == {
        "health/entropy",
        "health/margin",
        "health/layer_delta",
    }
    for name in ("health/entropy", "health/margin", "health/layer_delta"):
        assert last[name] is not None
        assert last[name] != 0
