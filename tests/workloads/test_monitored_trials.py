"""Monitors in the trials of workloads: they change no number, and say the same after a kill."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.workloads.morphogenesis.training.episodes import SMALL
from workloads.ablation.workload import Ablation
from workloads.contract import Checkpoint, Monitor
from workloads.dtdr.workload import Dtdr
from workloads.latent_lora.workload import LatentLora
from workloads.monitors import WINDOWED
from workloads.morphogenesis.workload import Morphogenesis
from workloads.recording import Recorded, run_recorded
from workloads.spawning import in_ranks

ALL = list(get_args(Monitor))
LORA = {"rank": 2, "steps": 6, "batch_size": 4, "learning_rate": 0.02, "checkpoint_steps": 3}
READER: Mapping[str, Any] = {
    "d_z": 18,
    "samples": 96,
    "batch_size": 8,
    "answer_loss_prompts": 4,
    "epochs": 1,
    "learning_rate": 5e-3,
    "lora": {"rank": 2, "alpha": 4, "layers": 2},
    "kd_weight": 0.1,
    "test_questions": 8,
    "dev_questions": 4,
    "quick_eval_steps": 4,
    "checkpoint_steps": 7,
}
TRIALS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "latent_lora": (LatentLora, READER),
    "morphogenesis": (Morphogenesis, {**SMALL, "epochs": 2, "checkpoint_steps": 5}),
    "lora": (Ablation, {"units": "lora", "which": ["L1"], "texts": 4, "lora": LORA}),
    "ablation": (Ablation, {"units": "layers", "which": ["L0"], "texts": 6}),
    "dtdr": (Dtdr, {"prompts": 6, "held_out_tokens": 8, "samples": 0}),
}
RECORDED = {
    "latent_lora": [10, 12],
    "lora": [1, 2, 3, 4, 5, 6],
    "ablation": [1, 2, 3, 4, 5, 6],
    "dtdr": [1, 2, 3, 4, 5, 6],
}


def trial(name: str, folder: Path, start: Checkpoint | None = None, **fields: Any) -> Recorded:
    workload, config = TRIALS[name]
    return run_recorded(workload(), {**config, **fields}, folder, start=start)


def numbers(of: Recorded) -> Any:
    """All that a trial gave and said but for times and what monitors say, to the last bit."""
    assert of.result is not None
    metrics = {k: v for k, v in of.result.metrics.items() if not k.endswith(("seconds", "_s"))}
    rows = [
        (s, {k: v for k, v in row.items() if not k.startswith("health/")}) for s, row in of.rows
    ]
    return repr((metrics, of.result.scores, of.result.flags, [r for r in rows if r[1]]))


def health(of: Recorded) -> list[tuple[int, dict[str, float | None]]]:
    return [(step, row) for step, row in of.rows if any(k.startswith("health/") for k in row)]


@pytest.mark.parametrize("name", TRIALS)
def test_a_monitored_trial_gives_the_numbers_of_one_that_is_not(name: str, tmp_path: Path) -> None:
    asked = [one for one in ALL if name != "morphogenesis" or one != "layer_delta"]
    bare = trial(name, tmp_path, monitors=[])
    watched = trial(name, tmp_path, monitors=asked, monitor_window=4)
    assert not health(bare)
    assert numbers(watched) == numbers(bare)
    rows = health(watched)
    steps = [step for step, _ in rows]
    assert steps == RECORDED.get(name, steps)
    assert steps == sorted(set(steps))
    last = rows[-1][1]
    assert set(last) == {f"health/{each}" for each in (*asked, "collapsed", "nonfinite")}
    assert all(value is not None and math.isfinite(value) for value in last.values())
    if name in ("lora", "ablation", "dtdr"):
        assert all(rows[0][1][f"health/{each}"] is None for each in WINDOWED)


def test_the_reader_is_watched_by_default_and_its_rows_come_with_the_losses(
    tmp_path: Path,
) -> None:
    found = trial("latent_lora", tmp_path)
    keys = {"svd_ratio", "effective_rank", "implied_cosine", "collapsed", "nonfinite"}
    assert [step for step, _ in health(found)] == [10, 12]
    assert all(row.keys() == {f"health/{key}" for key in keys} for _, row in health(found))
    losses = [step for step, row in found.rows if "train/loss" in row]
    assert losses == [10, 12]


def test_where_no_loss_reads_the_answer_the_language_model_reads_nothing(tmp_path: Path) -> None:
    unread = {"lora": None, "kd_weight": 0.0, "first_token_ce_weight": 0.0}
    assert not health(trial("latent_lora", tmp_path, **unread))


@pytest.mark.parametrize("name", ["latent_lora", "morphogenesis", "lora"])
def test_a_trial_that_goes_on_from_a_checkpoint_says_what_it_would_have_said(
    name: str, tmp_path: Path
) -> None:
    fields = {"monitors": ["svd_ratio", "activation_energy"], "monitor_window": 6}
    whole = trial(name, tmp_path, **fields)
    (start, *_) = whole.checkpoints
    resumed = trial(name, tmp_path, start, **fields)
    later = [(step, row) for step, row in health(whole) if step > start.step]
    assert later
    assert repr(health(resumed)) == repr(later)


def both(to: Path, rank: int, ranks: int) -> tuple[str, str, list[Any]]:
    """The numbers of a rank without and with monitors, and what it says of health."""
    found = []
    for monitors in ([], ["svd_ratio", "entropy"]):
        fields = {**READER, "monitors": monitors, "monitor_window": 4}
        found.append(run_recorded(LatentLora(), fields, to, rank=rank, ranks=ranks))
    return numbers(found[0]), numbers(found[1]), health(found[1])


@pytest.mark.slow
def test_two_ranks_give_the_same_numbers_with_monitors_and_one_of_them_watches(
    tmp_path: Path,
) -> None:
    for rank, (bare, watched, rows) in enumerate(in_ranks(both, tmp_path, ranks=2)):
        assert watched == bare
        assert [step for step, _ in rows] == ([] if rank else [10, 12])
