"""The shipped sweep, cut down, on a real SLURM: the bits of this machine."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from orchestrator.home import Home
from tests.lab.lab import Lab
from tests.lab.proving import LAB_PATIENCE_S, numbers_in
from tests.lab.studies import pythonpath
from tests.orchestrator.quick_study import orrery
from workloads.registry import load_workload

pytestmark = pytest.mark.lab

SMALL = (
    *("lora-sweep", "--preset", "smoke"),
    *("-s", "samples=64", "-s", "test_questions=16", "-s", "dev_questions=8", "-s", "seeds=[0]"),
    *("--only", "baseline", "--only", "r4_a8_layers8"),
)


def test_the_sweep_gives_the_numbers_of_this_machine(
    lab: Lab, shared_home: Callable[[str], Home]
) -> None:
    def swept(on: str, home: Home) -> int:
        words = ["run", *SMALL, "--on", on, "--home", str(home.root), "--json"]
        done = orrery(
            *words,
            cwd=home.root.parent,
            patience_s=LAB_PATIENCE_S,
            **lab.env,
            PYTHONPATH=pythonpath(),
        )
        assert done.returncode in (0, 1), done.stderr  # arms that were not asked for are missing
        return int(json.loads(done.stdout)["ran"])

    sweep = load_workload("latent_lora")
    homes = {on: shared_home(on) for on in ("local", "slurm", "slurm-array")}
    assert swept("local", homes["local"]) == 2
    expected = numbers_in(homes["local"], sweep)
    for on in ("slurm", "slurm-array"):
        swept(on, homes[on])
        assert numbers_in(homes[on], sweep) == expected
        assert swept("local", homes[on]) == 0
