"""A workload's code is part of its results' provenance: it does not change unnoticed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.quick_workload import Quick
from workloads.registry import registered
from workloads.source_digest import source_digest, workload_digest


def _recording() -> ModuleType:
    """`record_digest.py` beside this file, which is a script and no part of a package."""
    path = Path(__file__).with_name("record_digest.py")
    spec = importlib.util.spec_from_file_location("record_digest", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recording = _recording()


@pytest.mark.parametrize("name", sorted(registered()))
def test_sources_change_with_a_version_or_a_written_waiver(name: str) -> None:
    problem = recording.problem(name, recording.read().get(name), recording.current(name))
    assert problem is None, problem


NOW = {"version": 2, "digest": "bbbb", "waivers": []}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (None, "is not recorded"),
        ({"version": 1, "digest": "aaaa", "waivers": []}, "is version 2, recorded is 1"),
        ({"version": 2, "digest": "aaaa", "waivers": []}, "raise `version`"),
        (
            {"version": 2, "digest": "aaaa", "waivers": [{"digest": "bbbb", "why": " "}]},
            "say why",
        ),
    ],
    ids=["new", "version", "changed", "waiver without a reason"],
)
def test_a_change_that_is_not_recorded_is_told_with_the_command(
    record: dict[str, Any] | None, said: str
) -> None:
    problem = recording.problem("mine", record, NOW)
    assert said in problem
    assert "tests/workloads/record_digest.py mine" in problem


@pytest.mark.parametrize(
    "record",
    [
        {"version": 2, "digest": "bbbb", "waivers": []},
        {"version": 2, "digest": "aaaa", "waivers": [{"digest": "bbbb", "why": "a comment"}]},
    ],
    ids=["same", "waived"],
)
def test_what_is_recorded_passes(record: dict[str, Any]) -> None:
    assert recording.problem("mine", record, NOW) is None


# -- the digest -----------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "digested_package"
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "code.py").write_text("x = 1\n")
    (folder / "inner" / "more.py").write_text("y = 2\n")
    (folder / "data.txt").write_text("1")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_any_source_text_counts_and_nothing_else(package: Path) -> None:
    before = source_digest(["digested_package"])
    (package / "data.txt").write_text("2")
    (package / "__pycache__").mkdir()
    assert source_digest(["digested_package"]) == before
    (package / "inner" / "more.py").write_text("y = 3\n")
    assert source_digest(["digested_package"]) != before


def test_a_renamed_file_counts(package: Path) -> None:
    before = source_digest(["digested_package"])
    (package / "code.py").rename(package / "other.py")
    assert source_digest(["digested_package"]) != before


def test_the_order_of_names_does_not_matter(package: Path) -> None:
    names = ["digested_package", "tests.quick_workload"]
    assert source_digest(names) == source_digest(names[::-1] + names)


def test_the_digest_does_not_depend_on_where_the_package_lies(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = source_digest(["digested_package"])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    package.rename(elsewhere / package.name)
    monkeypatch.syspath_prepend(str(elsewhere))
    sys.path_importer_cache.clear()
    assert source_digest(["digested_package"]) == before


def test_a_module_is_digested_by_its_file() -> None:
    assert len(source_digest(["tests.quick_workload"])) == 16


def test_a_workload_that_declares_no_sources_is_digested_by_its_own_module() -> None:
    class Undeclared(Quick):
        sources = ()
        __module__ = "tests.quick_workload"

    assert workload_digest(Undeclared) == source_digest(["tests.quick_workload"])


def test_a_workload_is_digested_by_the_sources_that_it_declares() -> None:
    class Declared(Quick):
        sources = ("tests.quick_workload", "workloads.errors")

    assert workload_digest(Declared) == source_digest(Declared.sources)
    assert workload_digest(Declared) != workload_digest(Quick)


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        source_digest(["no_such_module"])
