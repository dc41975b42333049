"""The workload that the lab's tests run, and what they hold a study against."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.lab.proving import Case, case_of, check_repetitions, went_well
from tests.lab.studies import steps_study
from workloads.contract import Workload
from workloads.recording import run_recorded
from workloads.registry import load_workload
from workloads.testing import WorkloadContract

Steps = type(load_workload("lab_steps.workload:Steps"))


class TestSteps(WorkloadContract):
    workload: ClassVar[type[Workload[Any]]] = Steps
    config_a: ClassVar[Mapping[str, Any]] = {"steps": 2}
    config_b: ClassVar[Mapping[str, Any]] = {"steps": 4, "drift": 1.0}


def test_it_fails_where_it_is_told_to(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="told to fail at step 2"):
        run_recorded(Steps(), {"fail_at": 2}, tmp_path)


def test_it_checkpoints_at_its_interval(tmp_path: Path) -> None:
    recorded = run_recorded(Steps(), {"steps": 7, "checkpoint_every": 3}, tmp_path)
    assert [checkpoint.step for checkpoint in recorded.checkpoints] == [3, 6]


@pytest.mark.slow
def test_the_proofs_hold_of_an_undisturbed_study_and_find_a_repetition(
    tmp_path: Path, mlflow_schema: Path
) -> None:
    case = case_of(tmp_path, mlflow_schema, steps_study("undisturbed", seeds=2), None)
    case.run("local")
    assert len(case.lines()) == 4 * 4
    went_well(case)

    as_if_again(case)
    with pytest.raises(AssertionError, match="then repeated"):
        check_repetitions(case)


def as_if_again(case: Case) -> None:
    """Logs a step of a second attempt at a trial that was done by its first."""
    line = json.loads(case.log.read_text().splitlines()[0])
    with case.log.open("a") as log:
        log.write(json.dumps({**line, "attempt": 1}) + "\n")
