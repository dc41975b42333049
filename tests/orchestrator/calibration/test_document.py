"""docs/calibration.md shows the stored figures, of every shipped study under the rule it has."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from orchestrator.rule_hash import rule_hash
from orchestrator.study import Study, shipped_studies
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def made() -> ModuleType:
    path = ROOT / "docs" / "make_calibrations.py"
    spec = importlib.util.spec_from_file_location("make_calibrations", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_stored_figures(made: ModuleType) -> None:
    page = made.PAGE.read_text()

    assert made.with_table(page, made.stored()) == page, "make_calibrations.py --page"


def test_every_shipped_study_is_there_under_its_rule(made: ModuleType) -> None:
    stored = made.stored()

    assert set(stored) == set(shipped_studies())
    for name, found in stored.items():
        rule = rule_hash(Study.load(name).file)
        assert found["rule"] == rule, f"run python docs/make_calibrations.py {name}"
        assert found["studies"] >= 2000
        assert found["passes"], name
