"""What a trial keeps for its study's summary, and reading it again. Torch-free.

Scores are kept beside the trial's artifacts too: a summary sees metrics and artifacts only, and its
tests need each sample.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from workloads.contract import Scores
from workloads.views import TrialView

SCORES: Final = "scores.json"
TRAJECTORIES: Final = "trajectories.npz"
Floats = npt.NDArray[np.float64]
_NO_R: Final = np.empty((0, 0))


@dataclass(frozen=True)
class Run:
    """A finished trial with what it kept.

    Attributes:
        scores: by split; a split that was not measured is missing.
        texts_r, samples_r: R [texts or samples, tokens], NaN beyond the end of each; empty where
            there are no oscillators.
        phases: [tokens, N] of the first test text, in radians; empty where there are none.
    """

    trial: TrialView
    scores: dict[str, Scores]
    texts_r: Floats
    samples_r: Floats
    phases: Floats

    @property
    def arm(self) -> str:
        """Of the trial."""
        return self.trial.arm

    def config(self, name: str) -> Any:
        """A field of the resolved configuration."""
        return self.trial.config.get(name)

    def column(self, split: str, name: str) -> list[float | None]:
        """A column of the scores; empty where it was not measured."""
        scores = self.scores.get(split)
        return [] if scores is None else list(scores.columns.get(name, ()))

    def clusters(self, split: str) -> list[str]:
        """The cluster of each unit; empty where the split was not measured."""
        scores = self.scores.get(split)
        return [] if scores is None else list(scores.clusters)


def keep_scores(scores: Sequence[Scores], folder: Path) -> Path:
    """Writes all columns of all splits into `folder`; gives the file."""
    kept = [
        {
            "split": one.split,
            "units": list(one.units),
            "clusters": list(one.clusters),
            "columns": {name: list(column) for name, column in one.columns.items()},
        }
        for one in scores
    ]
    path = folder / SCORES
    path.write_text(json.dumps(kept), encoding="utf-8")
    return path


def read_scores(folder: Path) -> dict[str, Scores]:
    """The scores that a trial kept, by split; none where it kept none."""
    path = folder / SCORES
    if not path.is_file():
        return {}
    return {one["split"]: Scores(**one) for one in json.loads(path.read_text(encoding="utf-8"))}


def read_runs(trials: Sequence[TrialView]) -> list[Run]:
    """Finished trials whose artifacts are there, in their order."""
    return [
        Run(trial, read_scores(trial.artifacts), **_trajectories(trial.artifacts))
        for trial in trials
        if trial.state == "done" and trial.artifacts is not None and trial.artifacts.is_dir()
    ]


def _trajectories(folder: Path) -> dict[str, Floats]:
    path, found = folder / TRAJECTORIES, {}
    if path.is_file():
        with np.load(path) as arrays:
            found = {name: np.asarray(arrays[name], dtype=np.float64) for name in arrays.files}
    return {name: found.get(name, _NO_R) for name in ("texts_r", "samples_r", "phases")}
