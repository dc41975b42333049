"""The growth dashboard in the note of a study's MLflow run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from orchestrator.home import Home
from orchestrator.publishing import study_run
from orchestrator.watching.growth_note import GrowthNote
from telemetry.contracts import CounterfactualMatrix, HostBaseline, HostSnapshot, SlotSnapshot
from tests.orchestrator.watching import held, study_of
from tests.quick_workload import Quick
from workloads.contract import Metric


class GrowingQuick(Quick):
    """The same, said to tell of slots."""

    metrics: ClassVar[Mapping[str, Metric]] = {**Quick.metrics, "slot/mid/stage": Metric("stage")}


def test_the_note_of_a_running_study_has_the_dashboard_of_what_grows(home: Home) -> None:
    study = study_of(home, workload="tests.orchestrator.test_growth_note:GrowingQuick")
    note = GrowthNote(study)
    assert note.text() == ""
    with held(study, "better") as grown:
        grown.emitter.snapshot(HostBaseline(final_host_only_accuracy=62.3))
        grown.emitter.snapshot(HostSnapshot(epoch=4, val_accuracy=67.2), step=4)
        grown.emitter.snapshot(SlotSnapshot(slot_id="mid", stage="BLENDING"), step=4)
        text = note.text()
    assert text.startswith("**Growth** (not a verdict)")
    assert "67.2 % (+4.9 against the baseline) ✓ not a verdict" in text
    assert "the final accuracy of this trial's own host-only run" in text
    plan, now = study.plan(), datetime.now(UTC)
    assert text in study_run(study, plan, None, "running", (), now, text).note


def test_contributions_of_an_earlier_epoch_say_so(home: Home) -> None:
    study = study_of(home, workload="tests.orchestrator.test_growth_note:GrowingQuick")
    matrix = CounterfactualMatrix(epoch=3, slots=["mid"], shapley_values={"mid": 0.5})
    with held(study, "better") as grown:
        grown.emitter.snapshot(SlotSnapshot(slot_id="mid", stage="CULLED"), step=3, epoch=3)
        grown.emitter.snapshot(matrix, step=3, epoch=3)
        now = GrowthNote(study).text()
        grown.emitter.snapshot(HostSnapshot(epoch=9, val_accuracy=67.2), step=9, epoch=9)
        later = GrowthNote(study).text()
    assert "seeds (shapley, points)" in now
    assert "seeds (shapley, points; of epoch 3)" in later


def test_spools_of_a_study_that_grows_nothing_are_not_read(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(home)
    monkeypatch.setattr("orchestrator.watching.watcher.Watcher.__init__", _refuse)
    with held(study, "better") as grown:
        grown.emitter.snapshot(SlotSnapshot(slot_id="mid", stage="BLENDING"), step=4)
        assert GrowthNote(study).text() == ""


def _refuse(*_: object) -> None:
    raise AssertionError("looked")
