"""A whole trial of a learned policy on the digits: it is trained, killed anywhere, and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workloads.morphogenesis.policies.making import CURVE
from workloads.morphogenesis.workload import Morphogenesis
from workloads.recording import Recorded, run_recorded
from workloads.spawning import in_ranks

CONFIG: dict[str, Any] = {
    "policy": "learned", "channels": 4, "epochs": 4, "samples": 64, "eval_samples": 40,
    "batch_size": 32, "blend_epochs": 1, "gates": "observe",
    "slots": {"early": {}, "late": {"blueprint": "norm"}},
    "learned": {"episodes": 4, "episodes_per_update": 2},
}  # fmt: skip


def numbers(told: Recorded) -> dict[str, float | None]:
    """The final metrics, but for times."""
    assert told.result is not None
    reproducible = Morphogenesis.metrics
    return {
        name: value
        for name, value in told.result.metrics.items()
        if name not in reproducible or reproducible[name].reproducible
    }


@pytest.mark.slow
def test_a_killed_learned_trial_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    whole = run_recorded(Morphogenesis(), CONFIG, tmp_path, seed=3)
    expected = numbers(whole)
    assert expected["return_gain"] is not None
    assert [one.step for one in whole.checkpoints][:2] == [1, 2]
    assert len(whole.checkpoints) == 2 + CONFIG["epochs"]
    assert len(list(tmp_path.rglob(f"artifacts/{CURVE}"))) == 1
    for start in (whole.checkpoints[0], whole.checkpoints[3]):
        again = run_recorded(Morphogenesis(), CONFIG, tmp_path, seed=3, start=start)
        assert numbers(again) == expected


def as_rank(folder: Path, rank: int, ranks: int) -> dict[str, float | None]:
    """The numbers of a learned trial as one of its ranks."""
    found = run_recorded(Morphogenesis(), CONFIG, folder, seed=3, rank=rank, ranks=ranks)
    return numbers(found)


@pytest.mark.slow
def test_two_ranks_train_one_policy_and_decide_alike(tmp_path: Path) -> None:
    first, second = in_ranks(as_rank, tmp_path, ranks=2)
    assert first == second
    assert first["return_gain"] is not None
    curves = list(tmp_path.rglob(f"artifacts/{CURVE}"))
    assert len(curves) == 1, "rank 0 alone writes"


@pytest.mark.parametrize("policy", ["heuristic", "random", "static", "none"])
def test_every_policy_decides_a_whole_trial(policy: str, tmp_path: Path) -> None:
    slots = {"early": {"blueprint": "norm"}, "late": {"blueprint": "norm"}}
    fields = {**CONFIG, "policy": policy, "slots": slots, "epochs": 2, "learned": None}
    told = numbers(run_recorded(Morphogenesis(), fields, tmp_path))
    assert told["return"] is not None
    assert "return_gain" not in told
