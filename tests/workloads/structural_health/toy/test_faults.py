"""What each fault does to the model, to what is measured, and to nothing else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.workloads.structural_health.toy.small import SMALL
from workloads.contract import Scores
from workloads.recording import run_recorded
from workloads.structural_health.config import Fault, StructuralHealthConfig
from workloads.structural_health.toy.faults import faded, learning_rate, spread, strength
from workloads.structural_health.toy.training import ToyTraining
from workloads.structural_health.workload import StructuralHealth


def scores_of(folder: Path, fault: Fault, **fields: Any) -> Scores:
    recorded = run_recorded(StructuralHealth(), {**SMALL, "fault": fault, **fields}, folder)
    assert recorded.result is not None
    (scores,) = recorded.result.scores
    return scores


def test_a_fault_grows_from_its_onset_to_the_end_of_its_ramp() -> None:
    config = StructuralHealthConfig(fault="true_collapse", onset=5, ramp=4)
    amounts = [strength(config, step) for step in range(4, 11)]
    assert amounts == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert strength(StructuralHealthConfig(), 60) == 0.0


def test_only_an_explosion_changes_the_learning_rate() -> None:
    exploding = StructuralHealthConfig(fault="numeric_explosion", onset=3)
    assert [learning_rate(exploding, step) for step in (2, 3, 60)] == [1e-4, 1.0, 1.0]
    assert learning_rate(StructuralHealthConfig(fault="true_collapse"), 60) == 1e-4


def test_fading_leaves_what_it_was_given_and_ends_at_one_feature() -> None:
    hidden = torch.randn(2, 3, 8)
    before = hidden.clone()
    assert torch.equal(faded(hidden, 0.5)[..., 1:], before[..., 1:] / 2)
    whole = faded(hidden, 1.0)
    assert torch.equal(whole[..., 0], before[..., 0])
    assert not whole[..., 1:].any()
    assert torch.equal(hidden, before)


def test_spread_is_one_less_the_mean_of_all_pairs_cosines() -> None:
    hidden = torch.randn(3, 4, 8, dtype=torch.float64)
    units = hidden.flatten(0, 1) / hidden.flatten(0, 1).norm(dim=1, keepdim=True)
    assert float(spread(hidden)) == pytest.approx(1 - float((units @ units.T).mean()))
    assert float(spread(hidden[:1, :1].expand(3, 4, 8))) == pytest.approx(0.0, abs=1e-12)


def test_a_collapse_drawn_into_the_copy_leaves_every_loss_as_it_was(tmp_path: Path) -> None:
    healthy = scores_of(tmp_path, "healthy", steps=32)
    drawn = scores_of(tmp_path, "representation_collapse", steps=32)
    assert drawn.columns["loss"] == healthy.columns["loss"]
    assert drawn.columns["sv_ratio"][-1] == pytest.approx(1.0)
    assert drawn.columns["rank"][-1] == 1.0


def test_a_true_collapse_reaches_the_loss(tmp_path: Path) -> None:
    healthy = scores_of(tmp_path, "healthy", steps=32)
    true = scores_of(tmp_path, "true_collapse", steps=32, onset=3)
    assert true.columns["loss"][:3] == healthy.columns["loss"][:3]
    assert true.columns["loss"][3] != healthy.columns["loss"][3]
    assert true.columns["sv_ratio"][-1] == pytest.approx(1.0)


def test_a_penalty_pulls_hidden_states_together_from_its_onset_on(tmp_path: Path) -> None:
    healthy = scores_of(tmp_path, "healthy", steps=40)
    pulled = scores_of(tmp_path, "slow_collapse", steps=40, onset=6, pull=20.0)
    # The step of the onset pulls; the next one is the first to show it.
    assert pulled.columns["loss"][:7] == healthy.columns["loss"][:7]
    assert pulled.columns["loss"][7] != healthy.columns["loss"][7]
    last, alone = pulled.columns["sv_ratio"][-1], healthy.columns["sv_ratio"][-1]
    assert last is not None
    assert alone is not None
    assert last > 2 * alone


def test_nothing_has_a_ratio_before_the_window_is_full(tmp_path: Path) -> None:
    scores = scores_of(tmp_path, "healthy", steps=8, monitor_window=5)
    measured = [value is not None for value in scores.columns["sv_ratio"]]
    assert measured == [False] * 4 + [True] * 4
    assert scores.units == [str(step) for step in range(8)]
    assert None not in scores.columns["activation_energy"]


def test_an_explosion_to_nan_ends_as_a_result_that_says_so(tmp_path: Path) -> None:
    fields = {
        **SMALL,
        "fault": "numeric_explosion",
        "onset": 4,
        "exploding_learning_rate": 1e38,
        "steps": 16,
        "monitor_window": 4,
        "checkpoint_steps": 9,
    }
    recorded = run_recorded(StructuralHealth(), fields, tmp_path)
    assert recorded.result is not None
    assert recorded.result.metrics["final_loss"] is None
    assert recorded.result.metrics["nonfinite_step"] == 5
    assert recorded.result.metrics["onset_step"] == 4
    columns = recorded.result.scores[0].columns
    for name in ("loss", "sv_ratio", "activation_energy"):
        last = columns[name][-1]
        assert last is not None
        assert math.isnan(last), name
    rows = dict(recorded.rows)
    assert rows[0]["health/nonfinite"] == 0.0
    assert rows[15]["health/nonfinite"] == 1.0
    assert rows[15]["health/collapsed"] is None
    resumed = run_recorded(StructuralHealth(), fields, tmp_path, start=recorded.checkpoints[0])
    assert resumed.result is not None
    assert repr(resumed.result.scores) == repr(recorded.result.scores)  # NaN is not equal to itself


def test_a_ratio_above_the_threshold_is_dated(tmp_path: Path) -> None:
    recorded = run_recorded(
        StructuralHealth(), {**SMALL, "fault": "true_collapse", "steps": 40}, tmp_path
    )
    assert recorded.result is not None
    step = recorded.result.metrics["collapse_step"]
    assert step is not None
    ratios = recorded.result.scores[0].columns["sv_ratio"]
    early = [value for value in ratios[: int(step)] if value is not None]
    assert max(early) <= 0.8
    at = ratios[int(step)]
    assert at is not None
    assert at > 0.8


def test_runs_of_one_seed_differ_in_their_fault_alone() -> None:
    healthy, true = (
        ToyTraining(StructuralHealthConfig(**SMALL, fault=fault, onset=50), seed=3)
        for fault in ("healthy", "true_collapse")
    )
    for step in range(4):
        assert torch.equal(healthy.step(step).task, true.step(step).task)
    weights = healthy.model.state_dict()
    for name, weight in true.model.state_dict().items():
        assert torch.equal(weight, weights[name]), name


def test_layers_do_not_begin_with_the_same_weights() -> None:
    first, second = ToyTraining(StructuralHealthConfig(**SMALL), seed=0).model.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
