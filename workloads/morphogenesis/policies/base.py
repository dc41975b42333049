"""What every policy can do beside deciding: keep its memory in a checkpoint, tell its figures."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workloads.morphogenesis.view import Decision, EpisodeView

MEMORY = "policy.json"


class TrialPolicy(ABC):
    """A policy of one episode. Most decide from the view alone and remember nothing."""

    @abstractmethod
    def decide(self, view: EpisodeView) -> Decision:
        """An action that is allowed in this view. Called once before each epoch, in order."""

    def metrics(self) -> Mapping[str, float | None]:
        """Final metrics that the policy itself has to tell; most have none."""
        return {}

    def memory(self) -> dict[str, Any]:
        """What it remembers between decisions, as plain JSON."""
        return {}

    def save(self, folder: Path) -> None:
        """Writes what a later attempt needs to go on deciding alike."""
        (folder / MEMORY).write_text(json.dumps(self.memory()))

    def load(self, folder: Path) -> None:
        """Goes on from what `save` wrote into this folder."""
        self._recall(json.loads((folder / MEMORY).read_text()))

    def _recall(self, memory: Mapping[str, Any]) -> None:
        if memory:
            raise ValueError(f"{type(self).__name__} remembers nothing, but was given {memory}")
