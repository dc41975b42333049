"""End to end on the embedded model and its questions: what a first run relies on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from workloads.contract import Result, TrialContext
from workloads.latent_lora.workload import LatentLora

SETTING = {
    "samples": 640,
    "epochs": 1,
    "batch_size": 16,
    "answer_loss_prompts": 4,
    "d_z": 24,
    "learning_rate": 0.02,
    "test_questions": 120,
    "dev_questions": 0,
}


@pytest.fixture
def run(make_context: Callable[..., TrialContext]) -> Callable[..., Result]:
    def trial(name: str, **changed: Any) -> Result:
        workload = LatentLora()
        config = workload.resolve(workload.Config.model_validate({**SETTING, **changed}))
        workload.check(config)
        return workload.run(config, make_context(name))

    return trial


def test_the_baseline_lies_between_the_floor_and_the_text_prompt(
    run: Callable[..., Result],
) -> None:
    found = {form: run(form, input=form) for form in ("text", "constant", "mismatched")}
    f1 = {name: result.metrics["f1"] or 0.0 for name, result in found.items()}
    baseline = run("baseline").metrics["f1"] or 0.0
    assert f1["text"] >= 60
    assert max(f1["constant"], f1["mismatched"]) < baseline < f1["text"]


def test_whether_k_token_ce_collapses_is_reported(run: Callable[..., Result]) -> None:
    result = run("k_token_ce", k_token_ce_weight=0.5, samples=160)
    assert any("collapse" in note for note in result.notes)
