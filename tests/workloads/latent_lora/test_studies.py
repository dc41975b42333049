"""The study files: the source's 11 configurations, and arms that the workload accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import workloads.latent_lora
from workloads.latent_lora.workload import LatentLora

FOLDER = Path(workloads.latent_lora.__file__).parent / "studies"
FILES = sorted(FOLDER.glob("*.yaml"))

SOURCE = {
    "baseline": None,
    "r4_a8_layers8": (4, 8, "8/32"),
    "r4_a16_layers8": (4, 16, "8/32"),
    "r8_a8_layers12": (8, 8, "12/32"),
    "r8_a16_layers12": (8, 16, "12/32"),
    "r8_a32_layers12": (8, 32, "12/32"),
    "r16_a16_layers16": (16, 16, "16/32"),
    "r16_a32_layers16": (16, 32, "16/32"),
    "r8_a16_full": (8, 16, "all"),
    "r16_a32_full": (16, 32, "all"),
    "r32_a32_layers16": (32, 32, "16/32"),
}


def study(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_the_sweep_has_exactly_the_sources_configurations() -> None:
    arms = study(FOLDER / "lora-sweep.yaml")["design"]["arms"]
    found = {}
    for arm in arms:
        if arm.get("role", "arm") != "control":
            lora = arm["overrides"].get("lora")
            found[arm["name"]] = lora and (lora["rank"], lora["alpha"], lora["layers"])
    assert found == SOURCE
    assert [a["name"] for a in arms if a.get("role") == "comparator"] == ["baseline"]


def test_the_collapse_study_has_five_configurations_and_none_without_a_gradient_path() -> None:
    arms = study(FOLDER / "lora-sweep-collapse.yaml")["design"]["arms"]
    assert sum(arm.get("role", "arm") != "control" for arm in arms) == 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_arm_is_accepted_and_no_two_are_the_same(path: Path) -> None:
    data, workload = study(path), LatentLora()
    resolved = []
    for arm in data["design"]["arms"]:
        config = workload.Config.model_validate({**data["base"], **arm["overrides"]})
        config = workload.resolve(config)
        workload.check(config)
        resolved.append(config)
    assert all(a != b for i, a in enumerate(resolved) for b in resolved[:i])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_comparator_and_the_gate_name_arms_that_exist(path: Path) -> None:
    data = study(path)
    names = {arm["name"] for arm in data["design"]["arms"]}
    rule = data["verdict"]
    for gate in (rule["gate"], rule["real_gate"]):
        assert {gate["control"], gate["reference"], *gate["floor"]} <= names
    assert rule["comparator"] in names


def test_depth_shares_of_the_sweep_resolve_on_the_embedded_model() -> None:
    workload, data = LatentLora(), study(FOLDER / "lora-sweep.yaml")
    counts = {}
    for arm in data["design"]["arms"]:
        config = workload.Config.model_validate({**data["base"], **arm["overrides"]})
        lora = workload.resolve(config).lora
        if lora:
            counts[arm["overrides"]["lora"]["layers"]] = lora.layers
    assert counts == {"8/32": 2, "12/32": 3, "16/32": 4, "all": 8}
