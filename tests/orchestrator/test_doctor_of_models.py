"""`orrery doctor --model`: whether a model is what it seems, in words and as JSON."""

from __future__ import annotations

import json
from typing import Any

from tests.orchestrator.test_commands import said

__all__ = ["said"]  # the fixture


def test_a_model_is_looked_at_and_its_sites_are_named(said: Any) -> None:
    code, out, err = said("doctor", "--model", "embedded:rwkv", "--json")
    assert "loading the model" in err
    found = {one["what"]: one for one in json.loads(out)}
    assert code == 0
    assert list(found)[-2:] == ["sites", "reach"]
    assert found["sites"]["found"] == "residual, mixer, before_norm, logits"
    assert found["reach"]["found"].endswith("change the logits, at each of 4 blocks")
    assert "4 × RwkvBlock" in found["blocks"]["found"]


def test_what_is_no_model_fails(said: Any) -> None:
    code, out, _ = said("doctor", "--model", "embedded:nope")
    assert code == 1
    assert out.startswith("FAIL model")
    assert "Valid: llama, mamba, qwen2, rwkv" in out
    code, _, err = said("doctor", "--model", "embedded:rwkv", "--on", "slurm")
    assert code == 2
    assert "leave out --on slurm" in err
