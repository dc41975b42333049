"""Whole trials on a tiny model: resuming, reuse of a process, diagnostics, divergence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from workloads.contract import Result, TrialContext, TrialStopped
from workloads.errors import DivergedError
from workloads.latent_lora import inputs
from workloads.latent_lora.config import LatentLoraConfig
from workloads.latent_lora.diagnostics import read_diagnostics
from workloads.latent_lora.reader import Reader
from workloads.latent_lora.training import Trainer
from workloads.latent_lora.workload import LatentLora

MakeContext = Callable[..., TrialContext]
LORA = {"rank": 4, "alpha": 8, "layers": 2}


def changed(config: LatentLoraConfig, **values: Any) -> LatentLoraConfig:
    merged = LatentLoraConfig.model_validate({**config.model_dump(), **values})
    return LatentLora().resolve(merged)


def run(config: LatentLoraConfig, context: TrialContext) -> Result:
    LatentLora().check(config)
    return LatentLora().run(config, context)


def numbers(result: Result) -> dict[str, Any]:
    """All that must be bit-identical: everything but the clock."""
    metrics = {k: v for k, v in result.metrics.items() if not k.endswith("_seconds")}
    return {"metrics": metrics, "scores": result.scores, "flags": result.flags}


def test_a_trial_killed_between_epochs_continues_bit_for_bit(
    config: LatentLoraConfig, make_context: MakeContext
) -> None:
    arm = changed(config, lora=LORA)
    whole = run(arm, make_context("whole"))
    with pytest.raises(KeyboardInterrupt):
        run(arm, make_context("killed", stop_after=0))
    continued = run(arm, make_context("killed", attempt=1))
    assert numbers(continued) == numbers(whole)


def test_a_trial_killed_within_an_epoch_continues_bit_for_bit(
    config: LatentLoraConfig, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = changed(config, lora=LORA, checkpoint_steps=1)
    whole = run(arm, make_context("whole"))
    step = Trainer._step

    def killed_at_step_5(self: Trainer, indices: list[int], number: int) -> Any:
        if number == 5:
            raise KeyboardInterrupt
        return step(self, indices, number)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_step", killed_at_step_5)
        with pytest.raises(KeyboardInterrupt):
            run(arm, make_context("killed"))
    context = make_context("killed", attempt=1)
    latest = context.checkpoints.latest()
    assert latest is not None
    assert latest.step == 5
    assert numbers(run(arm, context)) == numbers(whole)


@pytest.mark.parametrize(("questions", "step"), [(0, 1), (1, 2), (3, 5)])
def test_a_trial_that_is_told_to_leave_saves_there_and_continues_bit_for_bit(
    config: LatentLoraConfig, make_context: MakeContext, questions: int, step: int
) -> None:
    """Told between its regular checkpoints, in the first epoch or the second."""
    arm = changed(config, lora=LORA)
    whole = run(arm, make_context("whole"))
    with pytest.raises(TrialStopped):
        run(arm, make_context("told", leave_after=questions))
    again = make_context("told", attempt=1)
    latest = again.checkpoints.latest()
    assert latest is not None
    assert latest.step == step
    assert numbers(run(arm, again)) == numbers(whole)


def test_a_finished_trial_is_evaluated_again_without_training(
    config: LatentLoraConfig, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(config, make_context())
    monkeypatch.setattr(Trainer, "_step", None)
    wider = run(changed(config, test_questions=32), make_context(attempt=1))
    assert len(wider.scores[1].units) == 32
    assert wider.metrics["final_loss"] == first.metrics["final_loss"]
    assert list(wider.scores[1].columns["f1"])[:24] == list(first.scores[1].columns["f1"])


def test_a_trial_alone_and_after_another_in_one_process_is_the_same(
    config: LatentLoraConfig, make_context: MakeContext
) -> None:
    arm = changed(config, lora=LORA, k_token_ce_weight=0.5)
    inputs._kept.clear()
    alone = run(arm, make_context("alone"))
    inputs._kept.clear()
    run(changed(config, lora={**LORA, "layers": "all"}, precision="bf16"), make_context("other"))
    run(changed(config, lora={**LORA, "rank": 8}), make_context("another", seed=3))
    assert numbers(run(arm, make_context("after"))) == numbers(alone)


def test_a_trial_leaves_the_process_as_it_found_it(
    config: LatentLoraConfig, make_context: MakeContext
) -> None:
    before = torch.get_rng_state(), torch.get_num_threads()
    run(config, make_context())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    assert not torch.are_deterministic_algorithms_enabled()


def test_arms_with_and_without_lora_start_from_the_same_adapter_and_batches(
    config: LatentLoraConfig, make_context: MakeContext
) -> None:
    without, with_lora = make_context("without"), make_context("with")
    run(changed(config, epochs=1), without)
    run(changed(config, epochs=1, lora=LORA), with_lora)
    first = [
        next(r for r in read_diagnostics(c.artifacts) if r["type"] == "train_step")
        for c in (without, with_lora)
    ]
    # LoRA starts as no change: reconstruction moves apart only through later gradients.
    assert first[0]["recon_cosine"] == pytest.approx(first[1]["recon_cosine"], abs=1e-3)


@pytest.mark.parametrize(
    ("weights", "forwards", "teachers"),
    [
        ({"first_token_ce_weight": 0}, 0, 0),
        ({"first_token_ce_weight": 0.01}, 6, 0),
        ({"first_token_ce_weight": 0, "kd_weight": 0.5}, 12, 6),
        ({"first_token_ce_weight": 0.01, "k_token_ce_weight": 0.5}, 6, 0),
    ],
)
def test_weights_of_zero_contribute_no_compute(
    config: LatentLoraConfig,
    make_context: MakeContext,
    monkeypatch: pytest.MonkeyPatch,
    weights: dict[str, float],
    forwards: int,
    teachers: int,
) -> None:
    calls = {"answer_logits": 0, "teacher_logits": 0}
    for name in calls:
        original = getattr(Reader, name)

        def counted(*given: Any, _of: Any = original, _name: str = name) -> Any:
            calls[_name] += 1
            return _of(*given)

        monkeypatch.setattr(Reader, name, counted)
    run(changed(config, **weights), make_context())
    assert calls == {"answer_logits": forwards, "teacher_logits": teachers}


def test_phase_1a_has_no_k_token_loss_no_distillation_and_no_lora(config: LatentLoraConfig) -> None:
    assert config.k_token_ce_weight == 0
    assert config.kd_weight == 0
    assert config.lora is None


def test_text_replay_snap_and_an_identity_adapter_score_alike(
    config: LatentLoraConfig, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {
        form: run(changed(config, input=form), make_context(form))
        for form in ("text", "replay", "snap")
    }
    monkeypatch.setattr(Reader, "rebuild", lambda self, originals: originals)
    untrained = make_context("identity")
    monkeypatch.setattr(Trainer, "run", lambda self, *calls: _trained())
    found["identity"] = run(config, untrained)
    assert found["identity"].metrics["recon_cosine"] == pytest.approx(1.0)
    scores = [result.scores[1].columns["f1"] for result in found.values()]
    assert all(score == scores[0] for score in scores)


def _trained() -> Any:
    from workloads.latent_lora.training import Trained

    return Trained(0, {}, diverged=False)


def test_missing_rms_match_is_flagged_as_a_magnitude_mismatch(
    config: LatentLoraConfig, make_context: MakeContext
) -> None:
    matched = run(config, make_context("matched"))
    assert matched.metrics["norm_ratio"] == pytest.approx(1.0, abs=1e-3)
    assert "magnitude_mismatch" not in matched.flags
    unmatched = run(changed(config, rms_match=False), make_context("unmatched"))
    assert "magnitude_mismatch" in unmatched.flags


def test_the_baseline_has_no_lora_parameters_and_an_arm_has_its_own(
    config: LatentLoraConfig, make_context: MakeContext
) -> None:
    assert run(config, make_context("baseline")).metrics["lora_parameters"] == 0
    arm = run(changed(config, lora=LORA), make_context("arm"))
    # 2 layers of 4 square modules of width 32, each with matrices [4, 32] and [32, 4].
    assert arm.metrics["lora_parameters"] == 2 * 4 * 2 * 4 * 32


def test_training_that_loses_its_numbers_is_flagged_and_scored(
    config: LatentLoraConfig, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = Trainer._values
    monkeypatch.setattr(
        Trainer,
        "_values",
        lambda self, losses: values(self, losses) | {"loss": float("nan")},
    )
    result = run(config, make_context())
    assert "diverged" in result.flags
    assert result.metrics["f1"] is not None


def test_a_trial_without_a_finite_prediction_has_diverged(
    config: LatentLoraConfig, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    nan = lambda self, originals: originals * float("nan")  # noqa: E731
    monkeypatch.setattr(Reader, "rebuild", nan)
    monkeypatch.setattr(Trainer, "run", lambda self, *calls: _trained())
    with pytest.raises(DivergedError):
        run(config, make_context())


def test_every_diagnostics_line_is_json_with_the_trials_identity_and_attempt(
    config: LatentLoraConfig, make_context: MakeContext
) -> None:
    context = make_context(attempt=2)
    run(changed(config, quick_eval_steps=2), context)
    lines = (context.artifacts / "diagnostics.jsonl").read_text().splitlines()
    records = [json.loads(line, parse_constant=_refuse) for line in lines]
    assert {"train_step", "train_epoch", "quick_eval", "full_eval"} <= {r["type"] for r in records}
    assert all(r["trial"] == context.identity and r["attempt"] == 2 for r in records)
    full = [r for r in records if r["type"] == "full_eval"]
    assert [r["split"] for r in full] == ["dev", "test"]
    assert all(r["f1"] == r["text_f1"] and 0 <= r["f1"] <= 1 for r in full)
    assert len(list(context.artifacts.glob("training_*_*.log"))) == 1


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_each_epoch_is_emitted_and_reported_once(
    config: LatentLoraConfig, make_context: MakeContext
) -> None:
    context = make_context()
    run(config, context)
    assert context.report.steps == [3, 6]  # type: ignore[attr-defined]
    rows = context.emitter.rows  # type: ignore[attr-defined]
    assert [step for step, row in rows if "eval/f1" in row] == [3, 6]


def test_every_emitted_and_returned_metric_is_declared(
    config: LatentLoraConfig, make_context: MakeContext
) -> None:
    context = make_context()
    result = run(changed(config, k_token_ce_weight=0.5, kd_weight=0.1), context)
    rows = context.emitter.rows  # type: ignore[attr-defined]
    names = set(result.metrics) | {name for _, row in rows for name in row}
    assert names <= set(LatentLora.metrics)


def test_continuation_runs_and_scores_content_words(
    config: LatentLoraConfig, make_context: MakeContext
) -> None:
    arm = changed(config, task="continuation", data="embedded:stories", samples=16, epochs=1)
    result = run(arm, make_context())
    assert set(result.scores[1].columns) >= {"f1", "content_f1"}
    constant = run(changed(arm, input="constant"), make_context("constant"))
    assert "collapsed" not in constant.flags


def test_the_module_that_plans_loads_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, workloads.latent_lora.workload as w; x = w.LatentLora(); "
        "c = x.resolve(x.Config(d_z=8, lora={'layers': '8/32'})); x.check(c); "
        "x.fingerprint('model', c.model, c); x.fingerprint('data', c.data, c); "
        "print(sorted({'torch', 'transformers', 'peft', 'ray'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"
