"""What a report says besides the verdict: where the study came from and how to run it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StudyInfo:
    """A study as a report presents it; None is "not known".

    Attributes:
        instance: `name-hash` of design, workload, seeds and rule.
        reproduce: the commands that run and report it again, one per line.
        provenance: such as git commit, dirty or not, and versions, by name.
        home: folder that holds the trials.
        mlflow_run_id: the study's parent run.
        wall_time_s, disk_bytes: spent on the trials.
        asked: metrics that the study asks of: a table of trials shows them first.
    """

    name: str
    instance: str
    question: str
    hypothesis: str = ""
    reproduce: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    home: str | None = None
    mlflow_run_id: str | None = None
    wall_time_s: float | None = None
    disk_bytes: int | None = None
    created: str | None = None
    asked: tuple[str, ...] = ()
