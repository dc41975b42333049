"""`orrery new`: commented starts of a study and of a workload, which run as they are."""

from orchestrator.scaffolding.study import StudyRequest, new_study
from orchestrator.scaffolding.workload import new_workload

__all__ = ["StudyRequest", "new_study", "new_workload"]
