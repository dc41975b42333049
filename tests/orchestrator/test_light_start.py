"""What looks and plans is instant: the heavy libraries stay out until a trial needs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import Study
from orchestrator.home import Home
from tests.orchestrator.quick_study import (
    environment,
    finish,
    quick_study,
    rule,
    write_study,
)

HEAVY = ("torch", "ray", "mlflow", "transformers")


def loaded_by(code: str, cwd: Path, heavy: tuple[str, ...] = HEAVY) -> list[str]:
    """Heavy libraries that are loaded once `code` has run."""
    script = (
        "import sys, atexit, json, os\n"
        f"heavy = {heavy!r}\n"
        "atexit.register(lambda: os.write(2, b'\\n' + json.dumps("
        "[n for n in heavy if n in sys.modules]).encode()))\n" + code
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(),
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stderr.splitlines()[-1])
    return found


def command(*words: str) -> str:
    return f"sys.argv = ['orrery', *{list(words)!r}]\nfrom orchestrator.cli import main\nmain()"


@pytest.mark.parametrize(
    "code",
    [
        "import orchestrator, cluster, workloads.contract",
        "from orchestrator import Study, Plan, Selection, OrreryError, UsageError",
        command("--help"),
        command("run", "--help"),
        command("list"),
        command("schema"),
    ],
    ids=["import", "names", "help", "run help", "list", "schema"],
)
def test_looking_loads_nothing_heavy(code: str, tmp_path: Path) -> None:
    assert loaded_by(code, tmp_path) == []


def test_help_loads_no_schema_of_study_files(tmp_path: Path) -> None:
    assert loaded_by(command("--help"), tmp_path, ("pydantic", "numpy")) == []


def test_planning_loads_nothing_heavy(tmp_path: Path, home: Home) -> None:
    path = write_study(tmp_path, quick_study(verdict=rule()))
    words = ("plan", str(path), "--home", str(home.root))
    assert loaded_by(command(*words), tmp_path) == []
    finish(Study.load(path, home=home.root))
    assert loaded_by(command(*words), tmp_path) == []


def test_every_public_name_can_be_loaded() -> None:
    import orchestrator

    for name in orchestrator.__all__:
        assert getattr(orchestrator, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = orchestrator.nonsense
