"""`orrery new workload`, and the workload of docs/own-workload.md: they work as they are."""

from __future__ import annotations

import errno
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Study, UsageError
from orchestrator.home import Home, write_whole
from orchestrator.scaffolding import new_workload
from tests.conftest import ROOT
from tests.orchestrator.quick_study import environment, finish
from workloads.contract import Workload
from workloads.testing import WorkloadContract

PAGE = ROOT / "docs" / "own-workload.md"
NOT_FOR_IT = {
    "the workload reports nothing on its way",
    "the workload names no configuration for several ranks",
    "no accelerator was used",
}
"""What the contract leaves out for the page's workload; all else of it must run."""


@pytest.fixture
def imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Home
) -> Iterator[Callable[[Path, str], Any]]:
    """Imports a module from a folder, which is the current one, and forgets it at the end."""
    names: set[str] = set()

    def imported(folder: Path, module: str) -> Any:
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(str(Path.cwd()))
        names.add(module.partition(".")[0])
        return importlib.import_module(module)

    monkeypatch.chdir(tmp_path)
    yield imported
    for name in list(sys.modules):
        if name.partition(".")[0] in names:
            del sys.modules[name]


def test_a_new_workload_s_study_finds_what_it_says_of_its_control(
    imported_from: Callable[[Path, str], Any],
) -> None:
    made = new_workload("hand_written")
    imported_from(made.folder, "hand_written")
    study = Study.load(made.study, settings={"epochs": 2, "seeds": [0, 1]})
    finish(study)
    verdict = study.verdict()
    control = verdict.find("shuffled-labels")
    wide = verdict.find("wide")
    assert control is not None and control.mean is not None and control.mean < 25  # noqa: PT018
    assert wide is not None and wide.mean is not None and wide.mean > 50  # noqa: PT018
    assert wide.extra["questions"] > 500


def test_a_new_workload_is_registered_under_a_class_that_is_there(
    imported_from: Callable[[Path, str], Any],
) -> None:
    made = new_workload("hand_written2")
    project = tomllib.loads((made.folder / "pyproject.toml").read_text())
    (value,) = project["project"]["entry-points"]["orrery.workloads"].values()
    module, _, name = value.partition(":")
    found = getattr(imported_from(made.folder, module), name)
    assert issubclass(found, Workload)
    assert found.name == "hand_written2"


def test_nothing_of_a_folder_is_overwritten_unasked(tmp_path: Path) -> None:
    folder = tmp_path / "mine_too"
    new_workload("mine_too", folder)
    (folder / "mine_too" / "workload.py").write_text("precious")
    with pytest.raises(UsageError, match="exist already, and nothing was written"):
        new_workload("mine_too", folder)
    assert (folder / "mine_too" / "workload.py").read_text() == "precious"


@pytest.mark.parametrize("there", [(), ("mine_three",)], ids=["nothing", "the folder"])
def test_of_a_folder_that_cannot_be_written_whole_nothing_is_left(
    there: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in there:
        (tmp_path / name).mkdir()
    writes = []

    def full(path: Path, content: bytes) -> None:
        writes.append(path)
        if len(writes) == 4:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_whole(path, content)

    monkeypatch.setattr("orchestrator.scaffolding.writing.write_whole", full)
    with pytest.raises(OSError, match="No space left"):
        new_workload("mine_three", tmp_path / "mine_three")
    assert [path.name for path in tmp_path.rglob("*")] == list(there)


def test_a_place_that_cannot_be_written_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="Cannot write '/proc/"):
        new_workload("mine_four", Path("/proc/mine_four"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("my-workload", "Did you mean 'my_workload'"),
        ("Größe", "Did you mean 'grosse'"),
        ("9lives", "beginning with a letter"),
        ("class", "cannot be called 'class': that is a keyword of Python"),
        ("\udcc3n\udcaf", "cannot be called '\udcc3n\udcaf'. Its name"),
        ("json", "There is a Python package 'json' already"),
        ("workloads", "There is a Python package 'workloads' already"),
    ],
)
def test_a_name_that_python_could_not_tell_apart_is_refused(
    name: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=told):
        new_workload(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_new_workload_passes_its_own_test(tmp_path: Path) -> None:
    made = new_workload("hand_written3", tmp_path / "new")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=made.folder,
        env=environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout


def test_the_page_s_workload_is_short_and_keeps_the_contract(
    tmp_path: Path,
    imported_from: Callable[[Path, str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = PAGE.read_text(encoding="utf-8")
    code, test = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.splitlines()) < 40
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "digits.py").write_text(code)
    (tmp_path / "contract_of_digits.py").write_text(test)
    imported_from(tmp_path, "my_lab.digits")
    suite: type[WorkloadContract] = imported_from(tmp_path, "contract_of_digits").TestDigits

    def here(function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    # starting processes takes seconds; that shipped workloads keep the contract in processes of
    # their own is tested with them
    monkeypatch.setattr("workloads.testing.in_fresh_process", here)
    suite.setup_class()
    try:
        skipped, names = set(), [name for name in dir(suite) if name.startswith("test_")]
        for name in names:
            try:
                getattr(suite(), name)()
            except pytest.skip.Exception as skip:
                skipped.add(str(skip))
        assert len(names) >= 14
        assert skipped <= NOT_FOR_IT
    finally:
        suite.teardown_class()


def test_the_page_s_study_reads_digits(
    tmp_path: Path, imported_from: Callable[[Path, str], Any]
) -> None:
    import yaml

    text = PAGE.read_text(encoding="utf-8")
    (tmp_path / "my_lab").mkdir()
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    (tmp_path / "my_lab" / "digits.py").write_text(code)
    imported_from(tmp_path, "my_lab.digits")
    study = Study.load(yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]))
    finish(study)
    verdict = study.verdict()
    assert verdict.state == "verdict"
    means = {arm.arm: arm.mean or 0 for arm in (*verdict.arms, *verdict.controls)}
    assert means["usual"] > 70
    assert means["untrained"] < 15
