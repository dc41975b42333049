"""A study's folder to submit from, and a submission of what these tests run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cluster.slurm.commands import Slurm
from cluster.slurm.records import JobRecords
from cluster.slurm.settings import SlurmSettings
from cluster.slurm.submission import Submission
from tests.cluster.slurm.noted import note
from tests.cluster.stand_in.controller import SlurmStandIn

Make = Callable[..., Submission]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "studies" / "sweep-1a2b"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def records(study: Path) -> JobRecords:
    return JobRecords(study)


@pytest.fixture
def slurm(slurm_stand_in: SlurmStandIn) -> Slurm:
    return Slurm.find()


@pytest.fixture
def submission(study: Path) -> Make:
    def made(arguments: Sequence[Any], kind: str = "array", **more: Any) -> Submission:
        more.setdefault("function", note)
        more.setdefault("settings", SlurmSettings())
        more.setdefault("environment", {"PYTHONPATH": str(Path(__file__).parents[3])})
        return Submission(
            kind=kind,  # type: ignore[arg-type]
            name=study.name,
            arguments=arguments,
            folder=study,
            **more,
        )

    return made
