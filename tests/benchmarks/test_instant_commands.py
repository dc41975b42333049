"""`orrery --help` and `orrery list` answer at once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.benchmarks.measuring import summary, tell, timed, within
from tests.orchestrator.quick_study import command, environment

LIMIT_S = 0.5
HEAVY = ("torch", "ray", "mlflow", "transformers")


@pytest.mark.parametrize("word", ["--help", "list"])
def test_a_look_takes_under_half_a_second(word: str, tmp_path: Path) -> None:
    runs = timed(command(word), tmp_path, 7)
    tell(f"instant-{word.strip('-')}", {**summary(runs), "limit_s": LIMIT_S})
    assert within(runs, LIMIT_S)


@pytest.mark.parametrize("word", ["--help", "list"])
def test_a_look_imports_nothing_heavy(word: str, tmp_path: Path) -> None:
    words = command(word)
    words[2] = (
        "import atexit, json, os, sys\n"
        f"found = lambda: [n for n in {HEAVY!r} if n in sys.modules]\n"
        "atexit.register(lambda: os.write(2, json.dumps(found()).encode()))\n" + words[2]
    )
    done = subprocess.run(
        words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert json.loads(done.stderr.splitlines()[-1]) == []
