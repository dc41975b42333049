"""Every cluster passes the contract, in a process of its own: entering one connects the process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.testing import ClusterContract
from tests.cluster import contract_cases
from tests.conftest import ROOT

CASES = sorted(
    name
    for name, case in vars(contract_cases).items()
    if isinstance(case, type) and issubclass(case, ClusterContract) and case is not ClusterContract
)
FILE = Path(contract_cases.__file__)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_cluster_passes_the_contract(case: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", f"{FILE}::{case}", "-q", "-p", "no:cacheprovider"),
            f"--basetemp={tmp_path / 'inside'}",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=540,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    told = done.stdout.splitlines()[-1]
    assert re.search(r"\d+ passed", told), told
    assert "skipped" not in told, done.stdout[-2000:]
