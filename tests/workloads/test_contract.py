"""Shipped workloads and the tests' own keep the contract, and the suite finds breaches."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from tests.quick_workload import FreshQuick, Quick, QuickConfig
from workloads.contract import Result, TrialContext, TrialStopped
from workloads.latent_lora.workload import LatentLora
from workloads.testing import WorkloadContract


class TestQuick(WorkloadContract):
    workload = Quick
    config_a: ClassVar[Mapping[str, Any]] = {"steps": 3, "effect": 2.0, "extra": {"gain": 1.0}}
    config_b: ClassVar[Mapping[str, Any]] = {"steps": 5}


class TestFreshQuick(WorkloadContract):
    workload = FreshQuick
    config_a: ClassVar[Mapping[str, Any]] = {"steps": 3, "effect": 2.0}
    config_b: ClassVar[Mapping[str, Any]] = {"steps": 2}


class TestLatentLora(WorkloadContract):
    workload = LatentLora
    TINY: ClassVar[Mapping[str, Any]] = {
        "model": "embedded:llama",
        "d_z": 18,
        "samples": 64,
        "batch_size": 16,
        "answer_loss_prompts": 4,
        "epochs": 2,
        "learning_rate": 5e-3,
        "test_questions": 24,
        "dev_questions": 8,
        "quick_eval_steps": 0,
        "monitor_window": 4,
    }
    config_a: ClassVar[Mapping[str, Any]] = {**TINY, "d_z": 8, "epochs": 1, "monitor_window": 3}
    config_b: ClassVar[Mapping[str, Any]] = {
        **TINY,
        "checkpoint_steps": 3,
        "lora": {"rank": 2, "alpha": 4, "layers": 2},
    }
    config_ranks: ClassVar[Mapping[str, Any]] = {
        **config_b,
        "answer_loss_prompts": 5,
        "dropout": 0.0,
        "lora": {"rank": 2, "alpha": 4, "layers": 2, "dropout": 0.0},
    }

    @pytest.mark.slow
    def test_two_ranks_come_to_what_one_process_comes_to(self) -> None:
        super().test_two_ranks_come_to_what_one_process_comes_to()


# -- breaches that the suite must find ------------------------------------------------------------

_left_behind: list[float] = []


class LeavesSomethingBehind(Quick):
    """The second trial of a process feels the first."""

    def run(self, config: QuickConfig, context: TrialContext) -> Result:
        result = super().run(config, context)
        _left_behind.append(1e-12)
        metrics = {**result.metrics, "f1": (result.metrics["f1"] or 0.0) + sum(_left_behind)}
        return Result(metrics, result.scores)


class ForgetsOnResuming(Quick):
    """A checkpoint that lacks the state of a generator."""

    def run(self, config: QuickConfig, context: TrialContext) -> Result:
        result = super().run(config, context)
        chance = random.Random(context.seed)
        drawn = [chance.random() for _ in range(len(context.emitter.rows))]  # type: ignore[attr-defined]
        return Result({**result.metrics, "x": sum(drawn)}, result.scores)


class Undeclared(Quick):
    def run(self, config: QuickConfig, context: TrialContext) -> Result:
        result = super().run(config, context)
        return Result({**result.metrics, "surprise": 1.0, "x": float("nan")}, result.scores)


class SwallowsTheStop(Quick):
    def run(self, config: QuickConfig, context: TrialContext) -> Result:
        try:
            return super().run(config, context)
        except TrialStopped:
            return Result({"f1": 0.0})


BREACHES = {
    "test_a_process_that_ran_another_trial_gives_the_same": LeavesSomethingBehind,
    "test_going_on_from_any_checkpoint_gives_the_same": ForgetsOnResuming,
    "test_metrics_are_declared": Undeclared,
    "test_final_metrics_are_finite_or_not_measured": Undeclared,
    "test_a_stopped_trial_ends_at_its_report": SwallowsTheStop,
}


@pytest.mark.parametrize(("test", "breach"), BREACHES.items(), ids=BREACHES)
def test_the_suite_finds_a_breach(
    test: str, breach: type[Quick], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Contract(WorkloadContract):
        workload = breach
        config_a: ClassVar[Mapping[str, Any]] = {"steps": 2}
        config_b: ClassVar[Mapping[str, Any]] = {"steps": 3}

    # classes of this file cannot be imported by another process
    monkeypatch.setattr("workloads.testing.in_fresh_process", _as_if_fresh)
    Contract.setup_class()
    try:
        with pytest.raises(AssertionError):
            getattr(Contract(), test)()
        Contract().test_the_configurations_are_accepted()
    finally:
        Contract.teardown_class()


def _as_if_fresh(function: Any, *arguments: Any) -> Any:
    """Like a fresh process, for what a trial leaves in this file's globals."""
    before, _left_behind[:] = list(_left_behind), []
    try:
        return function(*arguments)
    finally:
        _left_behind[:] = before


def test_fresh_processes_are_fresh() -> None:
    from workloads.testing import in_fresh_process

    pids = {in_fresh_process(os.getpid) for _ in range(2)}
    assert len(pids) == 2
    assert os.getpid() not in pids
