"""Morphogenesis passes what every workload has to pass, on one process and on two ranks."""

from __future__ import annotations

from typing import ClassVar

import pytest

from workloads.morphogenesis.workload import Morphogenesis
from workloads.testing import WorkloadContract

SHORT = {
    "samples": 96,
    "eval_samples": 60,
    "eval_batch_size": 25,
    "batch_size": 32,
    "channels": 4,
    "training_share": 0.01,
    "blend_epochs": 2,
}
GROWING = {
    **SHORT,
    "epochs": 5,
    "policy": "schedule",
    "gates": "observe",
    "slots": {
        "early": {"blueprint": "norm"},
        "mid": {"blueprint": "conv_light", "blend": "gated"},
        "late": {"blueprint": "depthwise", "germinate_at": 1},
    },
}
"""Every stage from germination to fossilisation is in it."""


@pytest.mark.slow
class TestMorphogenesis(WorkloadContract):
    workload = Morphogenesis
    config_a: ClassVar = {**SHORT, "epochs": 3, "policy": "random", "slots": {"mid": {}}}
    config_b: ClassVar = {**GROWING, "monitors": ["svd_ratio", "margin"], "monitor_window": 4}
    config_ranks: ClassVar = {**GROWING, "telemetry": "research"}
