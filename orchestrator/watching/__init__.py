"""The live view of a study: what its files say while it runs, from any shell, for a terminal, a
log, a machine, and the note of its MLflow run.

Reads files only, what is new of them; opens no MLflow and loads neither torch nor Ray.
"""

from orchestrator.watching.arms import ArmSoFar, arms_so_far
from orchestrator.watching.frame import Change, Frame, Growth, Notice, RunningTrial
from orchestrator.watching.lines import ChangeLines
from orchestrator.watching.watcher import Watcher

__all__ = [
    "ArmSoFar",
    "Change",
    "ChangeLines",
    "Frame",
    "Growth",
    "Notice",
    "RunningTrial",
    "Watcher",
    "arms_so_far",
]
