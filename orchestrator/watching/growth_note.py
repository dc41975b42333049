"""The growth dashboard for the note of a study's MLflow run, as the live view draws it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.watching.arms import NOT_A_VERDICT

if TYPE_CHECKING:
    from orchestrator.study import Study
    from orchestrator.watching.frame import Growth
    from orchestrator.watching.watcher import Watcher

SLOTS = "slot/"
"""How metrics begin that a workload declares if its trials tell of slots."""


class GrowthNote:
    """Looks at the running trial that is furthest grown. Costs nothing for a study whose workload
    tells of no slots: its spools are not read."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._watcher: Watcher | None = None

    def text(self) -> str:
        """Markdown; empty where nothing grows (yet). Raises `OSError` for unreadable events."""
        if not any(name.startswith(SLOTS) for name in self._study.workload.metrics):
            return ""
        if self._watcher is None:
            from orchestrator.watching.watcher import Watcher

            self._watcher = Watcher(self._study)
        growth = self._watcher.look().growth
        return "" if growth is None else growth_markdown(growth)


def growth_markdown(growth: Growth) -> str:
    """The dashboard of one trial, in a block that keeps its columns."""
    from orchestrator.watching.terminal import growth_text

    return f"**Growth** ({NOT_A_VERDICT})\n\n```\n{growth_text(growth).plain}\n```"
