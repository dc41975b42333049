"""Workloads are found by entry point or by reference, and errors say what there is."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tests.quick_workload import Quick
from workloads import registry
from workloads.errors import InputError
from workloads.registry import load_workload, registered, study_folders


def test_a_registered_workload_is_loaded_by_its_name() -> None:
    assert "latent_lora" in registered()
    assert load_workload("latent_lora").name == "latent_lora"


def test_every_registered_workload_goes_by_the_name_it_is_registered_under() -> None:
    for name in registered():
        assert load_workload(name).name == name


def test_a_workload_is_loaded_by_reference() -> None:
    assert isinstance(load_workload("tests.quick_workload:Quick"), Quick)


def test_a_third_partys_entry_point_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", "tests.quick_workload:Quick", registry.GROUP)
    monkeypatch.setattr(registry, "registered", lambda: {"theirs": point})
    assert isinstance(load_workload("theirs"), Quick)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'latent_lara'\. Did you mean 'latent_lora'\?"):
        load_workload("latent_lara")
    with pytest.raises(InputError, match=r"entry point in the group 'orrery\.workloads'"):
        load_workload("nothing-like-it")


@pytest.mark.parametrize(
    "reference", ["no.such.module:X", "tests.quick_workload:Nothing", ":", "tests.quick_workload:"]
)
def test_a_reference_that_leads_nowhere_is_refused(reference: str) -> None:
    with pytest.raises(InputError, match=r"Expected 'package\.module:Class'"):
        load_workload(reference)


@pytest.mark.parametrize(
    "reference", ["pathlib:Path", "os:sep", "tests.quick_workload:QuickConfig"]
)
def test_what_is_no_workload_is_refused(reference: str) -> None:
    with pytest.raises(InputError, match=r"not a subclass of workloads\.contract\.Workload"):
        load_workload(reference)


def test_study_folders_are_found_once_beside_their_workloads_without_importing_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "their_package"
    (package / "studies").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "workload.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = {
        "theirs": EntryPoint("theirs", "their_package.workload:X", registry.GROUP),
        "beside": EntryPoint("beside", "their_package.another:Y", registry.GROUP),
        "gone": EntryPoint("gone", "no_such_package.workload:X", registry.GROUP),
    }
    monkeypatch.setattr(registry, "registered", lambda: points)
    assert study_folders() == [package / "studies"]
