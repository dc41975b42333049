"""The copy of the sources that jobs run from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import ClusterError
from cluster.sources import OURS, Sources
from tests.conftest import ROOT

PLUG_IN = """
from workloads.contract import Workload
SAYS = "before"
class Mine(Workload):
    pass
"""
TAKE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import plugged.workload
from cluster.sources import Sources
print(Sources.snapshot(Path(sys.argv[2])).path)
"""
LOOK = "import plugged.workload, {0}; print(plugged.workload.SAYS, {0}.__file__)"


def test_a_job_imports_the_copy_whatever_is_edited_afterwards(tmp_path: Path) -> None:
    package = tmp_path / "checkout" / "plugged"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "workload.py").write_text(PLUG_IN)
    (package / "levels.yaml").write_text("a: 1")
    home = tmp_path / "home"
    taken = _python(TAKE, str(package.parent), str(home), cwd=ROOT)
    path = Path(taken.strip())
    assert path.parent == home / "sources"
    assert (path / "plugged" / "levels.yaml").read_text() == "a: 1"

    (package / "workload.py").write_text(PLUG_IN.replace("before", "after"))
    environment = Sources(path.name, path).environment()
    # in the checkout, whose folder Python puts first if it is let
    for ours in OURS:
        module = "workloads.contract" if ours == "workloads" else ours
        look = LOOK.format(module)
        said, file = _python(look, cwd=package.parent, environment=environment).split()
        assert said == "before"
        assert Path(file).is_relative_to(path)


def test_the_same_sources_are_kept_once_and_changed_ones_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Sources.snapshot(tmp_path)
    changed = first.path.stat().st_mtime_ns
    assert Sources.snapshot(tmp_path) == first
    assert first.path.stat().st_mtime_ns == changed
    monkeypatch.setattr("cluster.sources.OURS", ("telemetry",))
    second = Sources.snapshot(tmp_path)
    assert second != first
    assert {path.name for path in (tmp_path / "sources").iterdir()} == {first.digest, second.digest}


def test_data_files_of_packages_are_copied_and_caches_are_not(tmp_path: Path) -> None:
    path = Sources.snapshot(tmp_path).path
    wanted = {
        p.relative_to(ROOT)
        for name in OURS
        for p in (ROOT / name).rglob("*")
        if p.is_file() and p.suffix in (".yaml", ".css", ".html", ".json")
    }
    assert wanted
    assert all((path / name).exists() for name in wanted)
    assert not list(path.rglob("__pycache__"))


def test_a_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "sources").write_text("a file")
    with pytest.raises(ClusterError, match="cannot be copied"):
        Sources.snapshot(tmp_path)


def test_a_package_with_too_much_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.sources._MOST_BYTES", 1000)
    with pytest.raises(ClusterError, match=r"'cluster'.*Keep data outside"):
        Sources.snapshot(tmp_path)
    assert not (tmp_path / "sources").exists()


def _python(
    code: str, *arguments: str, cwd: Path, environment: dict[str, str] | None = None
) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
