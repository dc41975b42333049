"""The callback logs beside the loss, and the trainer trains as it would without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import Trainer, TrainerCallback, TrainingArguments

from telemetry.probes import HealthCallback
from tests.telemetry.probes.tiny_models import causal_model, tokens

STEPS = 6


class Reporter(TrainerCallback):  # type: ignore[misc]
    """Keeps the logs that it is given, as TensorBoard's callback would."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.logs.append(dict(kwargs["logs"]))


def trainer(folder: Path, *callbacks: TrainerCallback, dropout: float = 0.1, **options: Any) -> Any:
    rows = [{"input_ids": row, "labels": row} for row in tokens(2 * STEPS, 6)]
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=2,
        per_device_eval_batch_size=2,
        logging_steps=2,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        **{"save_strategy": "no", **options},
    )
    return Trainer(
        model=causal_model(attention_dropout=dropout),
        args=arguments,
        train_dataset=rows,
        eval_dataset=rows,
        callbacks=list(callbacks),
    )


def losses(history: list[dict[str, Any]]) -> list[float]:
    return [logs["loss"] for logs in history if "loss" in logs]


def test_health_is_logged_beside_the_loss_and_training_does_not_notice(tmp_path: Path) -> None:
    reporter, health = Reporter(), HealthCallback(("svd_ratio", "entropy"), window=3)
    watched = trainer(tmp_path, reporter, health)
    health.join(watched)
    assert watched.callback_handler.callbacks.count(health) == 1
    watched.train()
    plain = trainer(tmp_path)
    plain.train()
    history = watched.state.log_history
    assert losses(history) == losses(plain.state.log_history)
    logged = [logs for logs in history if "loss" in logs]
    assert [logs["step"] for logs in logged] == [2, 4, 6]
    assert "health/svd_ratio" not in logged[0]  # the window was still filling
    assert 0 < logged[0]["health/entropy"] < 5
    assert 1 / 3 <= logged[1]["health/svd_ratio"] <= 1
    assert logged[1]["health/nonfinite"] == 0
    assert [status.step for status in health.statuses] == [1, 2, 3, 4, 5, 6]
    assert health.status is not None
    assert health.status.svd_ratio == logged[2]["health/svd_ratio"]
    assert not any(module._forward_hooks for module in watched.model.modules())
    # Once the callback has joined, it comes before those that report.
    reported = [logs["health/entropy"] for logs in reporter.logs if "loss" in logs]
    assert reported == [logs["health/entropy"] for logs in logged]


def test_an_evaluation_between_steps_is_no_step(tmp_path: Path) -> None:
    health = HealthCallback(("activation_energy",))
    # Without dropout, since the trainer's evaluations draw random numbers.
    evaluating = trainer(tmp_path, health, dropout=0, eval_strategy="steps", eval_steps=1)
    evaluating.train()
    plain = HealthCallback(("activation_energy",))
    trainer(tmp_path, plain, dropout=0).train()
    assert [status.raw_obs for status in health.statuses] == [
        status.raw_obs for status in plain.statuses
    ]
    evaluated = [logs for logs in evaluating.state.log_history if "eval_loss" in logs]
    assert len(evaluated) == STEPS
    assert not any("health/activation_energy" in logs for logs in evaluated)


def test_a_layer_that_the_model_does_not_have_stops_it_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no module 'model\.layers\.9'"):
        trainer(tmp_path, HealthCallback(layer="model.layers.9")).train()


def test_a_training_that_is_resumed_goes_on_with_its_window(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved: dict[str, Any] = {"save_strategy": "steps", "save_steps": 4}
    straight = HealthCallback(window=3)
    trainer(tmp_path, straight, **saved).train()
    resumed = HealthCallback(window=3)
    trainer(tmp_path, resumed, **saved).train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert "empty window" not in caplog.text
    assert [status.step for status in resumed.statuses] == [5, 6]
    assert [status.svd_ratio for status in resumed.statuses] == [
        status.svd_ratio for status in list(straight.statuses)[4:]
    ]
    assert None not in [status.svd_ratio for status in resumed.statuses]


def test_a_checkpoint_from_before_the_callback_starts_an_empty_window_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved: dict[str, Any] = {"save_strategy": "steps", "save_steps": 4}
    trainer(tmp_path, **saved).train()
    health = HealthCallback(window=2)
    trainer(tmp_path, health, **saved).train(resume_from_checkpoint=True)
    assert "monitors start with an empty window: there is no" in caplog.text
