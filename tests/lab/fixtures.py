"""Fixtures of the proofs: studies in the lab, and the same on this machine alone."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from orchestrator.home import Home
from tests.lab.lab import Lab
from tests.lab.proving import Case, case_of
from tests.orchestrator.quick_study import processes_naming


@pytest.fixture
def cases(lab: Lab, mlflow_schema: Path) -> Iterator[Callable[..., Case]]:
    """Makes a case in the lab: of a study's mapping, with a home that all nodes see.

    What still works on one of them when the test has ended, which it does if that fails, is killed.
    """
    every: list[Case] = []

    def made(mapping: Mapping[str, Any], **options: Any) -> Case:
        every.append(case_of(lab.shared, mlflow_schema, mapping, lab, **options))
        return every[-1]

    yield made
    for case in every:
        for pid in processes_naming(str(case.folder)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def local(tmp_path: Path, mlflow_schema: Path) -> Callable[..., Case]:
    """Runs a study of a mapping to its end on this machine, in a home of its own."""

    def ran(mapping: Mapping[str, Any]) -> Case:
        case = case_of(tmp_path, mlflow_schema, mapping)
        case.run("local")
        return case

    return ran


@pytest.fixture
def shared_home(lab: Lab, mlflow_schema: Path) -> Callable[[str], Home]:
    """Makes an empty home that all nodes see, of that name."""

    def made(name: str) -> Home:
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=lab.shared))
        home = Home.find(folder / "home").writable()
        shutil.copy(mlflow_schema, home.root / "mlflow.db")
        return home

    return made
