"""Tasks shared by the workloads: questions and texts, their splits, prompts and scores."""

from workloads.datasets.examples import Example, Task, TaskData
from workloads.datasets.prompts import fit_prompt, qa_prompt
from workloads.datasets.scoring import exact_match, f1, normalized
from workloads.datasets.sources import Source, fingerprint, resolve_data
from workloads.datasets.tasks import TASKS, TooShortError, check_task, load_task
from workloads.datasets.texts import Window

__all__ = [
    "TASKS",
    "Example",
    "Source",
    "Task",
    "TaskData",
    "TooShortError",
    "Window",
    "check_task",
    "exact_match",
    "f1",
    "fingerprint",
    "fit_prompt",
    "load_task",
    "normalized",
    "qa_prompt",
    "resolve_data",
]
