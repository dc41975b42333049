"""A trial by itself: what it gives, says and keeps, and its network as a subject."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telemetry.contracts import (
    CounterfactualMatrix,
    HostBaseline,
    HostSnapshot,
    PolicySnapshot,
    SlotSnapshot,
)
from tests.workloads.morphogenesis.training.episodes import SMALL
from workloads import recording
from workloads.errors import InputError
from workloads.morphogenesis.checkpoints import EPISODE, TENSORS
from workloads.morphogenesis.workload import Morphogenesis
from workloads.recording import Recorded, RecordingEmitter, resolved, run_recorded
from workloads.switching import all_coalitions, as_names

GROWN: Mapping[str, Any] = {
    **SMALL,
    "epochs": 6,
    "policy": "schedule",
    "slots": {
        "early": {"blueprint": "norm"},
        "mid": {"blueprint": "conv_light"},
        "late": {"blueprint": "depthwise", "germinate_at": 1},
    },
}


class Keeping(RecordingEmitter):
    """Keeps the snapshots too."""

    snapshots: list[Any] = []  # noqa: RUF012

    def snapshot(self, contract: Any, *, step: int | None = None, epoch: Any = None) -> None:
        Keeping.snapshots.append(contract)
        super().snapshot(contract, step=step, epoch=epoch)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    patch = pytest.MonkeyPatch()
    patch.setattr(recording, "RecordingEmitter", Keeping)
    Keeping.snapshots = []
    try:
        return run_recorded(Morphogenesis(), GROWN, tmp_path_factory.mktemp("trial"))
    finally:
        patch.undo()


def test_it_gives_what_it_declares(trial: Recorded) -> None:
    assert trial.result is not None
    metrics = trial.result.metrics
    assert set(metrics) <= set(Morphogenesis.metrics)
    emitted = {name for _, row in trial.rows for name in row}
    assert emitted <= set(Morphogenesis.metrics)
    assert metrics["fossilized"] == 3
    assert metrics["seeds_grown"] == 3
    host, seeds, total = (metrics[name] for name in ("host_params", "seed_params", "total_params"))
    assert host is not None
    assert seeds is not None
    assert total == host + seeds
    assert metrics["params_ratio"] == total / host


def test_its_scores_are_by_example(trial: Recorded) -> None:
    assert trial.result is not None
    scores = {each.split: each for each in trial.result.scores}
    for split, name in (("val", "val_accuracy"), ("test", "accuracy")):
        column = [value for value in scores[split].columns["accuracy"] if value is not None]
        assert set(column) <= {0.0, 100.0}
        assert len(column) == 60
        assert trial.result.metrics[name] == pytest.approx(np.mean(column))


def test_it_tells_of_every_epoch(trial: Recorded) -> None:
    kinds = [type(each) for each in Keeping.snapshots]
    assert kinds.count(HostBaseline) == 1
    assert kinds.count(HostSnapshot) == 6
    assert kinds.count(SlotSnapshot) == 18
    assert kinds.count(PolicySnapshot) == 6
    matrices = [each for each in Keeping.snapshots if isinstance(each, CounterfactualMatrix)]
    assert [len(each.configs) for each in matrices] == [4, 8, 8, 8, 8]
    policies = [each for each in Keeping.snapshots if isinstance(each, PolicySnapshot)]
    assert all(each.heuristic_action is not None for each in policies)
    assert trial.result is not None
    earned = sum(each.reward_total or 0.0 for each in policies)
    assert trial.result.metrics["return"] == pytest.approx(earned)


def test_it_saves_a_checkpoint_after_each_epoch(trial: Recorded) -> None:
    assert [each.step for each in trial.checkpoints] == [3, 6, 9, 12, 15, 18]
    assert trial.reported == [3, 6, 9, 12, 15, 18]


def test_its_network_is_a_subject(trial: Recorded) -> None:
    workload = Morphogenesis()
    config = resolved(workload, GROWN)
    packed = workload.pack_subject(config, trial.checkpoints[-1].path)
    for each in packed["tensors"].values():
        each.flags.writeable = False
    subject = workload.open_subject(config, packed)
    assert trial.result is not None
    points = [
        {"on": sorted(as_names(states, ("early", "mid", "late")))} for states in all_coalitions(3)
    ]
    measured = list(subject.measure(points))
    whole = measured[-1]
    assert whole.values["accuracy"] == trial.result.metrics["accuracy"]
    assert whole.values["loss"] == trial.result.metrics["loss"]
    test = trial.result.scores[-1]
    assert whole.scores is not None
    assert whole.scores.tolist() == test.columns["accuracy"]
    assert list(subject.units) == list(test.units)
    assert len({each.values["loss"] for each in measured}) == 8
    (alone,) = subject.measure([{"on": ["mid"]}])
    assert alone.values == measured[points.index({"on": ["mid"]})].values, "it has not changed"


def test_a_subject_without_its_network_says_so(trial: Recorded, tmp_path: Path) -> None:
    workload = Morphogenesis()
    config = resolved(workload, GROWN)
    with pytest.raises(InputError, match="no checkpoint"):
        workload.pack_subject(config, None)
    (tmp_path / EPISODE).write_text("{}")
    (tmp_path / TENSORS).write_bytes(b"torn")
    with pytest.raises(InputError, match="run the trial again"):
        workload.pack_subject(config, tmp_path)


def test_a_trial_that_was_stopped_goes_on_bit_for_bit(trial: Recorded, tmp_path: Path) -> None:
    middle = trial.checkpoints[2]
    resumed = run_recorded(Morphogenesis(), GROWN, tmp_path, start=middle)
    assert timeless(resumed) == timeless(trial)
    assert resumed.rows == [row for row in trial.rows if row[0] > middle.step]


def timeless(trial: Recorded) -> dict[str, float | None]:
    assert trial.result is not None
    return {n: value for n, value in trial.result.metrics.items() if n != "train_seconds"}


@pytest.mark.parametrize(("asked", "step"), [(0, 1), (2, 4), (11, 17)])
def test_a_trial_that_is_told_to_leave_within_an_epoch_goes_on_bit_for_bit(
    trial: Recorded, tmp_path: Path, asked: int, step: int
) -> None:
    left = run_recorded(Morphogenesis(), GROWN, tmp_path, leave_after=asked)
    assert left.result is None
    assert left.checkpoints[-1].step == step
    resumed = run_recorded(Morphogenesis(), GROWN, tmp_path, start=left.checkpoints[-1])
    assert timeless(resumed) == timeless(trial)
    assert resumed.rows == [row for row in trial.rows if row[0] > step]
    assert left.rows == [row for row in trial.rows if row[0] <= step]


def test_it_saves_within_long_epochs_and_comes_to_the_same(trial: Recorded, tmp_path: Path) -> None:
    often = run_recorded(Morphogenesis(), {**GROWN, "checkpoint_steps": 2}, tmp_path)
    steps = [2, 3, 4, 6, 8, 9, 10, 12, 14, 15, 16, 18]
    assert [each.step for each in often.checkpoints] == steps
    assert timeless(often) == timeless(trial)
    assert often.rows == trial.rows
