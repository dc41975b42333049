"""How densely a trial is recorded changes what is known of it, and no number of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from telemetry.contracts import DenseTrace
from workloads.contract import Result, TrialContext
from workloads.latent_lora.config import LatentLoraConfig
from workloads.latent_lora.training import Progress, Trainer
from workloads.latent_lora.workload import LatentLora

MakeContext = Callable[..., TrialContext]
Losses = list[dict[str, float]]


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Losses:
    """The values of every step, as they were computed; the loss of step 5 counts tenfold."""
    seen: Losses = []
    values = Trainer._values

    def kept(self: Trainer, of: Any) -> dict[str, float]:
        seen.append(values(self, of))
        return seen[-1] | ({"loss": 10 * seen[-1]["loss"]} if len(seen) % 6 == 5 else {})

    monkeypatch.setattr(Trainer, "_values", kept)
    return seen


def run(config: LatentLoraConfig, context: TrialContext, **values: Any) -> Result:
    merged = LatentLoraConfig.model_validate({**config.model_dump(), **values})
    return LatentLora().run(LatentLora().resolve(merged), context)


def dense(context: TrialContext) -> list[DenseTrace]:
    traces: list[DenseTrace] = context.emitter.dense  # type: ignore[attr-defined]
    return traces


def test_every_step_has_the_same_loss_in_all_three_modes(
    config: LatentLoraConfig, make_context: MakeContext, losses: Losses
) -> None:
    lora = {"rank": 4, "alpha": 8, "layers": 2}
    found: dict[str, tuple[Losses, Any]] = {}
    for mode in ("standard", "adaptive", "research"):
        context = make_context(mode)
        result = run(config, context, telemetry=mode, lora=lora)
        metrics = {k: v for k, v in result.metrics.items() if not k.endswith("_seconds")}
        found[mode] = (list(losses), (metrics, result.scores))
        losses.clear()
        assert dense(context), f"{mode} saw no spike"
    assert found["adaptive"] == found["standard"]
    assert found["research"] == found["standard"]
    assert len(found["standard"][0]) == 6


def test_a_spike_leaves_a_trace_with_the_adapter_s_parts(
    config: LatentLoraConfig, make_context: MakeContext, losses: Losses
) -> None:
    context = make_context()
    run(config, context, telemetry="adaptive", lora={"rank": 4, "alpha": 8, "layers": 2})
    (trace,) = dense(context)
    assert trace.trigger_reason.startswith("loss_spike:")
    assert trace.trigger_step == 5
    assert [batch.step for batch in trace.batch_metrics] == [1, 2, 3, 4, 5, 6]
    assert [batch.epoch for batch in trace.batch_metrics] == [1, 1, 1, 2, 2, 2]
    assert {"adapter.mlp", "adapter.(own)", "lora"} <= set(trace.gradient_flow)
    assert set(trace.batch_metrics[-1].seed_grad_norms) == set(trace.gradient_flow)
    assert "adapter.mlp.1" in trace.activation_means


def test_training_that_diverges_leaves_what_led_to_it(
    config: LatentLoraConfig, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = Trainer._values
    monkeypatch.setattr(
        Trainer,
        "_values",
        lambda self, of: (
            values(self, of)
            | ({"loss": math.nan} if self.optimizer.param_groups[0]["lr"] < 2e-3 else {})
        ),
    )
    for mode in ("standard", "research"):
        context = make_context(mode)
        assert "diverged" in run(config, context, telemetry=mode).flags
        trace = dense(context)[-1]
        assert "loss_nonfinite" in trace.trigger_reason
        assert trace.batch_metrics[-1].step == trace.trigger_step
        assert math.isnan(trace.batch_metrics[-1].loss or 0.0)


def test_a_checkpoint_holds_the_averages_that_a_resumed_trial_goes_on_with(
    config: LatentLoraConfig, make_context: MakeContext
) -> None:
    def last_state(context: TrialContext) -> Any:
        latest = context.checkpoints.latest()
        assert latest is not None
        return json.loads((latest.path / "progress.json").read_text())["telemetry"]

    whole = make_context("whole")
    run(config, whole)
    with pytest.raises(KeyboardInterrupt):
        run(config, make_context("killed", stop_after=0))
    again = make_context("killed", attempt=1)
    halfway = last_state(again)
    run(config, again)
    assert last_state(again) == last_state(whole) != halfway
    assert halfway["watch"]["averages"]["batch/loss"] > 0


def test_a_checkpoint_without_a_word_on_telemetry_is_resumed(
    config: LatentLoraConfig, make_context: MakeContext
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(config, make_context("killed", stop_after=0))
    again = make_context("killed", attempt=1)
    latest = again.checkpoints.latest()
    assert latest is not None
    path = Path(latest.path, "progress.json")
    progress = json.loads(path.read_text())
    del progress["telemetry"]
    path.write_text(json.dumps(progress))
    whole = run(config, make_context("whole"))
    assert run(config, again).metrics["f1"] == whole.metrics["f1"]
    assert Progress(epoch=1).telemetry == {}
