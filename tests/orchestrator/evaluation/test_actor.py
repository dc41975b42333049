"""The content of a worker, in this process: what a subject gets wrong becomes an error."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from orchestrator.checkpoint_digest import checkpoint_digest
from orchestrator.evaluation.actor import Chunk, PointWorker, SubjectSpec, _checked
from tests.orchestrator.evaluation.games import GAME, fault
from workloads.evaluation import Measured


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "worth.json").write_text("[1.0, 2.0, 4.0]")
    return tmp_path


def measured(checkpoint: Path, points: list[list[str]], faults: str | None = None) -> Chunk:
    spec = SubjectSpec("s", "t", 0, GAME, {"players": 3, "faults": faults}, checkpoint)
    worker = PointWorker()
    assert worker.open(spec, *worker.pack(spec)).why == ""
    return worker.measure([{"on": on} for on in points])


def test_points_are_measured_in_order(checkpoint: Path) -> None:
    chunk = measured(checkpoint, [[], ["p0", "p2"], ["p0", "p1"]])
    assert [result.values["accuracy"] for result in chunk.results] == [0.0, 5.0, 8.0]
    assert chunk.results[1].values["loss"] is None
    scores = chunk.results[0].scores
    assert scores is not None
    assert (scores.shape, scores.dtype) == ((40,), np.float32)


def test_a_coalition_that_fails_is_named_and_the_others_go_on(
    checkpoint: Path, tmp_path: Path
) -> None:
    faults = fault(tmp_path / "faults", "error", "p1")
    chunk = measured(checkpoint, [["p0"], ["p1"], ["p2"]], faults)
    assert [result.error is None for result in chunk.results] == [True, False, True]
    assert chunk.results[1].error == "RuntimeError: cannot do without the rest: p1"


def test_scores_of_the_wrong_length_fail_their_point(checkpoint: Path, tmp_path: Path) -> None:
    chunk = measured(checkpoint, [["p0"], ["p1"]], fault(tmp_path / "faults", "short", "p1"))
    assert chunk.results[1].error == "scores of length 3 for 40 examples"
    assert chunk.results[0].error is None


def test_what_is_no_number_fails_its_point(checkpoint: Path, tmp_path: Path) -> None:
    chunk = measured(checkpoint, [["p1"]], fault(tmp_path / "faults", "nan", "p1"))
    assert chunk.results[0].error == "'accuracy' is nan"


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        (Measured({"accuracy": math.inf}), "'accuracy' is inf"),
        (Measured({"accuracy": 1.0, "loss": math.nan}), "'loss' is nan"),
        (
            Measured({"accuracy": 1.0}, np.array([1, np.nan], dtype=np.float32)),
            "'accuracy' of 1 of 2 examples is not finite",
        ),
        (Measured({"accuracy": 1.0, "loss": math.inf}), None),
    ],
)
def test_no_figure_is_made_of_what_is_not_finite(measured: Measured, why: str | None) -> None:
    assert _checked(measured, 2, "accuracy").error == why


def test_a_checkpoint_that_is_another_now_is_refused(checkpoint: Path) -> None:
    digest = checkpoint_digest(checkpoint)
    spec = SubjectSpec("s", "t", 0, GAME, {"players": 3}, checkpoint, digest, "Train it again: X")
    assert PointWorker().pack(spec)[0] == ""
    (checkpoint / "worth.json").write_text("[1.0, 2.0, 4.5]")
    why, packed = PointWorker().pack(spec)
    assert "has changed since its trial finished" in why
    assert why.endswith("Train it again: X")
    assert packed == {}


def test_what_is_raised_beyond_a_point_ends_the_worker(checkpoint: Path, tmp_path: Path) -> None:
    faults = fault(tmp_path / "faults", "raise", "p1")
    spec = SubjectSpec("s", "t", 0, GAME, {"players": 3, "faults": faults}, checkpoint)
    worker = PointWorker()
    worker.open(spec, *worker.pack(spec))
    chunk = worker.measure([{"on": ["p0"]}, {"on": ["p1"]}, {"on": ["p2"]}])
    assert (len(chunk.results), chunk.raised) == (1, "KeyError: 'raised beyond a point'")
    assert not worker.measure([{"on": ["p0"]}]).begun


def test_an_unknown_factor_is_refused(checkpoint: Path) -> None:
    chunk = measured(checkpoint, [["p9"]])
    assert chunk.raised == "ValueError: no factor p9; factors: p0, p1, p2"


@pytest.mark.parametrize(("name", "why"), [("pack", "cannot be packed"), ("open", "does not open")])
def test_a_subject_that_does_not_open_says_why(
    checkpoint: Path, tmp_path: Path, name: str, why: str
) -> None:
    faults = fault(tmp_path / "faults", name)
    spec = SubjectSpec("s", "t", 0, GAME, {"players": 3, "faults": faults}, checkpoint)
    worker = PointWorker()
    assert why in worker.open(spec, *worker.pack(spec)).why
    assert not worker.measure([{"on": []}]).begun
