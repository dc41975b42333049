"""A home and a SLURM for studies that run as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from orchestrator import RunReport, Selection, Study
from orchestrator.array.driver import ArrayDriver
from orchestrator.driving import driver_seat
from orchestrator.home import Home
from orchestrator.plan_file import write_plan
from tests.cluster.stand_in.controller import SlurmStandIn
from tests.orchestrator.quick_study import quick_study


@dataclass(frozen=True)
class Arrays:
    """Studies in one home, and the SLURM that runs them."""

    home: Home
    slurm: SlurmStandIn

    def load(self, *arms: Any, **parts: Any) -> Study:
        """A quick study; one node of the stand-in runs two tasks at once."""
        return Study.load(quick_study(*arms, **parts), home=self.home.root)

    def run(self, study: Study, **options: Any) -> tuple[RunReport, str]:
        """Runs it as an array, with what was told meanwhile."""
        told = StringIO()
        console = Console(file=told, width=1000)
        return study.run(on="slurm-array", console=console, **options), told.getvalue()

    def submit(self, study: Study) -> str:
        """Submits one wave and leaves, as a driver does that then dies; what it told."""
        from cluster import place_named

        told = StringIO()
        console = Console(file=told, width=1000)
        with driver_seat(study):
            place = place_named("slurm-array")
            driver = ArrayDriver(study, Selection(), place, console, follow=False)
            plan = study.plan()
            write_plan(study, plan)
            driver.carry_out(plan)
        return told.getvalue()

    def nothing_starts(self) -> None:
        self.slurm.nodes = {}

    def sbatch_calls(self) -> int:
        return self.slurm.count("sbatch")


@pytest.fixture
def arrays(
    mlflow_home: Home, slurm_stand_in: SlurmStandIn, monkeypatch: pytest.MonkeyPatch
) -> Arrays:
    monkeypatch.setattr("orchestrator.array.driver.FIRST_LOOK_S", 0.2)
    monkeypatch.setattr("orchestrator.array.followed.SETTLE_S", 0.5)
    return Arrays(mlflow_home, slurm_stand_in)
