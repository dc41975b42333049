"""What every workload must do, and two ranks that train adapters as one process does."""

from __future__ import annotations

from typing import ClassVar

import pytest

from workloads.ablation.workload import Ablation
from workloads.testing import WorkloadContract

LORA = {"rank": 2, "steps": 4, "batch_size": 4, "learning_rate": 0.02, "checkpoint_steps": 2}


@pytest.mark.slow
class TestAblation(WorkloadContract):
    workload = Ablation
    config_a: ClassVar = {
        "units": "lora",
        "which": ["L1"],
        "texts": 8,
        "lora": {**LORA, "steps": 2},
    }
    config_b: ClassVar = {
        "units": "lora",
        "texts": 8,
        "lora": LORA,
        "monitors": ["svd_ratio", "entropy"],
        "monitor_window": 3,
    }
    config_ranks: ClassVar = config_b
