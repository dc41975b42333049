"""A whole trial of a learned policy on the digits: it is trained, killed anywhere, and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workloads.morphogenesis.policies.making import CURVE
from workloads.morphogenesis.workload import Morphogenesis
from workloads.recording import Recorded, run_recorded

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
    for start in (whole.checkpoints[0], whole.checkpoints[1], whole.checkpoints[3]):
        again = run_recorded(Morphogenesis(), CONFIG, tmp_path, seed=3, start=start)
        assert numbers(again) == expected


@pytest.mark.parametrize("policy", ["heuristic", "random", "static", "none"])
def test_every_policy_decides_a_whole_trial(policy: str, tmp_path: Path) -> None:
    slots = {"early": {"blueprint": "norm"}, "late": {"blueprint": "norm"}}
    fields = {**CONFIG, "policy": policy, "slots": slots, "epochs": 2, "learned": None}
    told = numbers(run_recorded(Morphogenesis(), fields, tmp_path))
    assert told["return"] is not None
    assert "return_gain" not in told
