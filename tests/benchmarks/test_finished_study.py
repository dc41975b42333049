"""Running a finished study again costs no Ray, no MLflow, and seconds."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator import Study
from orchestrator.home import Home
from tests.benchmarks.measuring import summary, tell, timed, within
from tests.orchestrator.quick_study import (
    arm,
    command,
    environment,
    finish,
    mlflow_rows,
    quick_study,
    rule,
    write_study,
)

LIMIT_S = 3.0
HEAVY = ("torch", "ray", "mlflow", "transformers", "pandas", "pyarrow", "matplotlib")


def finished(tmp_path: Path, home: Home, arms: int, seeds: int) -> tuple[Sequence[str], float]:
    """A study that is done, published and reported: how to run it again, and what that took."""
    others = [arm(f"by-{i}", effect=float(i)) for i in range(1, arms)]
    mapping = quick_study(
        arm("plain", "baseline"),
        *others,
        base={"steps": 1},
        seeds=list(range(seeds)),
        verdict=rule(),
    )
    path = write_study(tmp_path, mapping)
    finish(Study.load(path, home=home.root))
    words = command("run", path, "--home", home.root, "--json")
    start = time.perf_counter()
    done = subprocess.run(
        words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert len(mlflow_rows(home).runs_per_trial()) == arms * seeds
    return words, time.perf_counter() - start


def told_and_loaded(words: Sequence[str], cwd: Path) -> tuple[dict[str, Any], list[str]]:
    """What a run says of itself, and the heavy libraries it loaded."""
    code = (
        "import atexit, json, os, sys\n"
        f"found = lambda: [n for n in {HEAVY!r} if n in sys.modules]\n"
        "atexit.register(lambda: os.write(2, b'\\n' + json.dumps(found()).encode()))\n" + words[2]
    )
    done = subprocess.run(
        [*words[:2], code, *words[3:]],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), json.loads(done.stderr.splitlines()[-1])


def measure(name: str, tmp_path: Path, home: Home, arms: int, seeds: int) -> None:
    words, publishing_s = finished(tmp_path, home, arms, seeds)
    told, loaded = told_and_loaded(words, tmp_path)
    assert told["ran"] == 0
    assert told["counts"] == {"done": arms * seeds}
    assert loaded == []
    runs = timed(words, tmp_path, 5)
    figures = {"known": arms * seeds, **summary(runs), "limit_s": LIMIT_S}
    tell(name, {**figures, "publishing_and_reporting_once_s": publishing_s})
    assert within(runs, LIMIT_S)


def test_a_finished_study_runs_again_in_seconds(tmp_path: Path, mlflow_home: Home) -> None:
    measure("finished-study-16", tmp_path, mlflow_home, arms=4, seeds=4)


def test_a_finished_study_of_1024_trials_runs_again_in_seconds(
    tmp_path: Path, mlflow_home: Home
) -> None:
    measure("finished-study-1024", tmp_path, mlflow_home, arms=8, seeds=128)
