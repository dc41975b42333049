"""Which parts of a model have a switch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator import Study, UsageError
from workloads.ablation.config import AblationConfig
from workloads.ablation.workload import Ablation
from workloads.errors import InputError


def switches(**fields: Any) -> tuple[str, ...]:
    workload = Ablation()
    resolved = workload.resolve(AblationConfig(**fields))
    assert tuple(resolved.which or ()) == tuple(workload.switches(resolved))
    return tuple(workload.switches(resolved))


def test_every_layer_has_a_switch_by_default() -> None:
    assert switches() == tuple(f"L{layer}" for layer in range(8))
    assert switches(units="lora") == switches()


def test_parts_are_in_the_order_of_the_network_however_they_are_named() -> None:
    assert switches(which=["L5", "L0", "L3"]) == ("L0", "L3", "L5")
    assert switches(units="heads", which=["L4H1", "L2", "L4H0"]) == (
        "L2H0", "L2H1", "L2H2", "L2H3", "L4H0", "L4H1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"which": ["L8"]}, r"the model has no L8 to switch \(layers: L0 to L7\)"),
        ({"which": ["L9"]}, "or its preset: -s which=null"),
        ({"which": ["L1H0"]}, "the model has no L1H0 to switch"),
        ({"units": "heads", "which": ["L1H4"]}, "the model has no L1H4"),
        ({"which": ["third"]}, "'third' names no part; valid: L3"),
        ({"units": "heads", "which": ["L2", "L2H1"]}, "L2H1 is named twice.*must not overlap"),
        ({"units": "heads"}, r"32 heads would have a switch, and 12 can.*which=\[L0H0"),
    ],
)
def test_parts_that_cannot_be_switched_are_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        switches(**fields)


@pytest.mark.parametrize(
    ("names", "told"), [(["L1", "L1"], "L1 is named twice"), ([], "leave it out")]
)
def test_lists_that_name_nothing_or_something_twice_are_refused(
    names: list[str], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        AblationConfig(which=tuple(names))


def test_lora_is_refused_where_no_adapter_has_a_switch_or_a_target_is_missing() -> None:
    workload = Ablation()
    with pytest.raises(InputError, match="lora with units=layers: give units=lora"):
        workload.check(workload.resolve(AblationConfig.model_validate({"lora": {}})))
    with pytest.raises(InputError, match="no module 'qproj'"):
        workload.check(
            workload.resolve(
                AblationConfig.model_validate({"units": "lora", "lora": {"targets": ["qproj"]}})
            )
        )


def test_what_is_not_read_does_not_rename_a_trial() -> None:
    workload = Ablation()
    plain = workload.resolve(AblationConfig())
    assert workload.resolve(AblationConfig(telemetry="research", max_prompt_tokens=64)) == plain
    assert workload.resolve(plain) == plain
    assert workload.deterministic(plain)
    assert not workload.deterministic(workload.resolve(AblationConfig(units="lora")))


def test_what_a_point_is_measured_on_tells_texts_and_batches() -> None:
    workload = Ablation()
    few, many = (workload.measured_on(AblationConfig(texts=texts)) for texts in (10, 20))
    assert few != many
    assert few["batch_size"] == 50


def test_the_smallest_run_names_parts_that_a_small_model_has(tmp_path: Path) -> None:
    study = Study.load("ablation", preset="smoke", home=tmp_path)
    assert max(int(name.removeprefix("L")) for name in study.file.base["which"]) < 4


def test_a_wrong_base_is_told_of_an_arm_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="arm 'whole': which"):
        assert Study.load("ablation", settings={"which": ["L9"]}, home=tmp_path).instance
