"""docs/verdict-from-csv.md shows what its commands print."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.orchestrator.quick_study import environment

TEXT = (ROOT / "docs" / "verdict-from-csv.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first block of a language."""
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.slow
def test_the_loop_prints_the_verdict_that_is_shown(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(block("python"))
    (tmp_path / "rule.yaml").write_text(block("yaml"))
    start = f'orrery() {{ {sys.executable} -m orchestrator.cli "$@"; }}\n'
    start += f'python() {{ {sys.executable} "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-ec", start + block("sh")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(COLUMNS="80"),
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip("\n")
    assert told == block("text").strip("\n")
