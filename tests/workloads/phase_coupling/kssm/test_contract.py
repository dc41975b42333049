"""The successor keeps to the contract of workloads; two ranks come to what one process does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from workloads.contract import Workload
from workloads.phase_coupling.kssm_workload import Kssm
from workloads.testing import WorkloadContract

SMALL = {
    "hidden_size": 16,
    "layers": 1,
    "heads": 2,
    "oscillators": 6,
    "harmonics": 4,
    "tokens": 16,
    "train_texts": 24,
    "batch_size": 4,
    "steps": 12,
    "warmup_steps": 2,
    "texts": 6,
    "monitors": [],
}


@pytest.mark.slow
class TestKssm(WorkloadContract):
    workload: ClassVar[type[Workload[Any]]] = Kssm
    config_a: ClassVar[Mapping[str, Any]] = SMALL
    config_b: ClassVar[Mapping[str, Any]] = {
        **SMALL,
        "variant": "monostable",
        "layers": 2,
        "checkpoint_steps": 7,
        "monitors": ["svd_ratio", "entropy"],
    }
    config_ranks: ClassVar[Mapping[str, Any]] = {**SMALL, "steps": 3, "checkpoint_steps": 2}
    # Ranks agree to 1e-7, the loss's term in |Delta| included, as long as no |Delta| passes near 0,
    # where 1 / |Delta| makes any difference of a rounding error: few steps, and a seed with none.
    seed: ClassVar[int] = 1
