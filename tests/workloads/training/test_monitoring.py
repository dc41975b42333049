"""Monitors on a trial's model: which rows they give, what they go on from, and what is refused."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any, cast

import pytest

from telemetry.probes.suite import MonitorSuite
from workloads.contract import Monitor, TrialContext, WorkloadConfig
from workloads.errors import InputError
from workloads.recording import KeptCheckpoints, RecordingEmitter
from workloads.training.monitoring import TENSORS, Monitoring, monitored

WIDTH = 6


class OnByDefault(WorkloadConfig):
    monitors: tuple[Monitor, ...] = ("svd_ratio",)


def context(folder: Path, rank: int = 0) -> TrialContext:
    return TrialContext(
        identity="0" * 20,
        label="test",
        seed=0,
        attempt=0,
        artifacts=folder,
        emitter=RecordingEmitter(),
        checkpoints=KeptCheckpoints(folder),
        report=lambda step, metrics: None,
        rank=rank,
        ranks=rank + 1,
    )


def network() -> Any:
    """Two layers and no list of blocks: discovery does not know it."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(4, WIDTH), torch.nn.Linear(WIDTH, 3))


def hooks(model: Any) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


def rows(given: TrialContext) -> list[tuple[int, dict[str, float | None]]]:
    emitter = given.emitter
    assert isinstance(emitter, RecordingEmitter)
    return emitter.rows


def feed(model: Any, step: int, *, same: bool = False, nan: bool = False) -> None:
    """A forward pass whose input is told by the step."""
    import torch

    stream = torch.Generator().manual_seed(0 if same else step)
    x = torch.randn(2, 4, generator=stream)
    model(torch.full_like(x, math.nan) if nan else x)


def watch(folder: Path, **fields: Any) -> tuple[WorkloadConfig, TrialContext, Any]:
    settings = {"monitors": ("svd_ratio",), "monitor_window": 3, "monitor_layer": "0", **fields}
    return WorkloadConfig.model_validate(settings), context(folder), network()


# -- rows -----------------------------------------------------------------------------------------


def test_recorded_steps_have_rows_of_their_own_and_the_window_counts_every_step(
    tmp_path: Path,
) -> None:
    config, given, model = watch(tmp_path)
    with monitored(config, given, model) as monitoring:
        for step in range(1, 7):
            feed(model, step)
            monitoring.step(step, emit=step % 2 == 0, epoch=step / 6)
    assert [step for step, _ in rows(given)] == [2, 4, 6]
    assert [row["health/svd_ratio"] is None for _, row in rows(given)] == [True, False, False]
    keys = {"health/svd_ratio", "health/collapsed", "health/nonfinite"}
    assert all(row.keys() == keys for _, row in rows(given))
    assert rows(given)[0][1]["health/collapsed"] is None  # not measured is not 0
    assert hooks(model) == 0


def test_a_step_that_is_not_recorded_has_a_row_where_a_flag_goes_up(tmp_path: Path) -> None:
    config, given, model = watch(tmp_path)
    with monitored(config, given, model) as monitoring:
        for step in range(1, 20):
            feed(model, step, same=6 <= step < 12, nan=step == 15)
            monitoring.step(step, emit=step == 10)
    told = [(step, row["health/collapsed"], row["health/nonfinite"]) for step, row in rows(given)]
    assert told == [(8, 1.0, 0.0), (10, 1.0, 0.0), (15, None, 1.0)]


def test_a_step_without_a_forward_pass_has_no_row(tmp_path: Path) -> None:
    config, given, model = watch(tmp_path)
    with monitored(config, given, model) as monitoring:
        monitoring.step(1, emit=True)
        feed(model, 2)
        monitoring.step(2, emit=True)
        monitoring.step(3, emit=True)
    assert [step for step, _ in rows(given)] == [2]


class Late:
    """A suite as on a GPU: figures come when the next step is observed, or when they are waited
    for."""

    def __init__(self) -> None:
        self.on_the_way: list[int] = []
        self.there: list[int] = []

    def observe(self, step: int) -> None:
        self.flush()
        self.on_the_way.append(step)

    def flush(self) -> None:
        self.there += self.on_the_way
        self.on_the_way = []

    def drain(self) -> list[tuple[int, dict[str, float | None]]]:
        found, self.there = self.there, []
        return [(step, {"health/nonfinite": 0.0, "health/rank": float(step)}) for step in found]

    def to_state(self) -> dict[str, Any]:
        return {}


def test_figures_that_come_late_are_those_of_their_own_step_and_a_checkpoint_waits_for_them(
    tmp_path: Path,
) -> None:
    given = context(tmp_path)
    monitoring = Monitoring(cast(MonitorSuite, Late()), given.emitter)
    for step in range(1, 5):
        monitoring.step(step, emit=step % 2 == 0, epoch=step / 4)
    assert [(step, row["health/rank"]) for step, row in rows(given)] == [(2, 2.0)]
    monitoring.save(tmp_path)
    assert [(step, row["health/rank"]) for step, row in rows(given)] == [(2, 2.0), (4, 4.0)]


# -- what is watched ------------------------------------------------------------------------------


def test_without_monitors_and_on_other_ranks_nothing_is_attached(tmp_path: Path) -> None:
    config, given, model = watch(tmp_path, monitors=())
    with monitored(config, given, model) as monitoring:
        assert hooks(model) == 0
        assert not monitoring.active
    config, _, model = watch(tmp_path)
    with monitored(config, context(tmp_path, rank=1), model) as monitoring:
        assert hooks(model) == 0
        monitoring.step(1, emit=True)
        assert monitoring.to_state() == {}


def test_a_named_layer_takes_the_place_of_what_the_workload_watches(tmp_path: Path) -> None:
    energy = {"monitors": ("activation_energy",), "monitor_layer": None}
    watched = {}
    for layer in (None, "0", "1"):
        config, given, model = watch(tmp_path, **{**energy, "monitor_layer": layer})
        with monitored(config, given, model, layer=model[1], capture="input") as monitoring:
            feed(model, 1)
            monitoring.step(1, emit=True)
        watched[layer] = rows(given)[0][1]["health/activation_energy"]
    assert watched[None] == watched["0"]  # what goes into the second is what the first gives
    assert watched["1"] != watched["0"]


def test_a_layer_that_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    config, given, model = watch(tmp_path, monitor_layer="model.layers.7")
    with (
        pytest.raises(InputError, match=r"no module 'model\.layers\.7'"),
        monitored(config, given, model),
    ):
        pass
    assert hooks(model) == 0


def test_monitors_that_are_on_by_default_leave_a_model_without_known_blocks_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, given, model = watch(tmp_path, monitor_layer=None)
    with pytest.raises(InputError, match="Name the layer"), monitored(config, given, model):
        pass
    with caplog.at_level(logging.WARNING), monitored(OnByDefault(), given, model) as monitoring:
        feed(model, 1)
        monitoring.step(1, emit=True)
    assert rows(given) == []
    assert "the monitors are off" in caplog.text


def test_an_error_in_the_loop_takes_the_hooks_off_too(tmp_path: Path) -> None:
    config, given, model = watch(tmp_path)
    with pytest.raises(KeyError), monitored(config, given, model):
        raise KeyError("the loop's own")
    assert hooks(model) == 0


# -- going on -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [2, 7, 9, 16])
def test_a_trial_that_goes_on_emits_the_rows_of_one_that_was_never_cut(
    tmp_path: Path, cut: int
) -> None:
    """Also where the flags are up at the cut: they are not told again."""

    def part(first: int, last: int, start: Path | None, end: Path | None) -> list[Any]:
        config, given, model = watch(tmp_path)
        with monitored(config, given, model) as monitoring:
            if start is not None:
                monitoring.load(start)
            for step in range(first, last + 1):
                feed(model, step, same=6 <= step < 12, nan=step == 15)
                monitoring.step(step, emit=step % 5 == 0)
            if end is not None:
                monitoring.save(end)
        return [(step, repr(row)) for step, row in rows(given)]

    assert part(1, cut, None, tmp_path) + part(cut + 1, 20, tmp_path, None) == part(
        1, 20, None, None
    )


def test_a_checkpoint_of_another_window_or_without_monitors_begins_an_empty_window(
    tmp_path: Path,
) -> None:
    config, given, model = watch(tmp_path)
    with monitored(config, given, model) as monitoring:
        monitoring.load(tmp_path)  # there is no file
        for step in range(1, 4):
            feed(model, step)
            monitoring.step(step, emit=False)
        monitoring.save(tmp_path)
    assert (tmp_path / TENSORS).is_file()
    config, given, model = watch(tmp_path, monitor_window=4)
    with monitored(config, given, model) as monitoring:
        monitoring.load(tmp_path)
        for step in range(4, 8):
            feed(model, step)
            monitoring.step(step, emit=True)
    assert [row["health/svd_ratio"] is None for _, row in rows(given)] == [True, True, True, False]


def test_without_monitors_a_checkpoint_is_as_it_was(tmp_path: Path) -> None:
    Monitoring().save(tmp_path)
    assert list(tmp_path.iterdir()) == []
