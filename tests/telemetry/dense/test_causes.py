"""What dense traces tell of causes."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Callable, Iterator
from cProfile import Profile
from pathlib import Path

from telemetry import Emitter, Event, archive_events, spool_path
from telemetry.contracts import BatchMetrics, DenseTrace, GateEvaluationTrace
from telemetry.dense import DenseRecorder, Mode
from telemetry.dense.causes import first_changes, root_causes
from telemetry.events import INTERVENTION, VERSION
from telemetry.parquet import events_in_order


def noisy(step: int) -> float:
    return 1.0 + 0.2 * math.sin(step * step)


def series(count: int, **changed: Callable[[int], float | None]) -> Iterator[BatchMetrics]:
    for step in range(1, count + 1):
        values = {"loss": noisy(step), "host_grad_norm": noisy(step + 7)}
        values |= {name: of(step) for name, of in changed.items() if name in values}  # type: ignore[misc]
        norms = {name: of(step) for name, of in changed.items() if name not in values}
        yield BatchMetrics(epoch=1, batch_idx=step - 1, step=step, seed_grad_norms=norms, **values)  # type: ignore[arg-type]


def test_the_measure_that_left_its_usual_range_before_the_others_is_named() -> None:
    batches = series(
        40,
        loss=lambda step: noisy(step) * (6 if step >= 40 else 1),
        mlp=lambda step: noisy(step) * (9 if step >= 37 else 1),
        head=lambda step: noisy(step) * (9 if step >= 39 else 1),
    )
    changes = first_changes(batches, 40)
    assert changes is not None
    assert [(change.what, change.step) for change in changes] == [("gradient norm of mlp", 37)]
    assert 0.8 < (changes[0].usual or 0.0) < 1.2
    assert changes[0].value > 7


def test_what_changed_at_one_step_is_named_together() -> None:
    bad: Callable[[int], float] = lambda step: math.nan if step == 30 else noisy(step)  # noqa: E731
    changes = first_changes(series(30, loss=bad, mlp=bad, head=noisy), 30)
    assert changes is not None
    assert [change.what for change in changes] == ["loss", "gradient norm of mlp"]


def test_an_outlier_long_before_is_no_cause_and_what_came_after_is_none_either() -> None:
    batches = series(
        60,
        loss=lambda step: 9.0 if step in (38, 50) else noisy(step),
        mlp=lambda step: 9.0 if step > 50 else noisy(step),
    )
    changes = first_changes(batches, 50)
    assert changes is not None
    assert [(change.what, change.step) for change in changes] == [("loss", 50)]


def test_what_is_no_number_is_named_without_knowing_what_is_usual() -> None:
    changes = first_changes(series(3, loss=lambda step: math.inf if step == 3 else 1.0), 3)
    assert changes is not None
    assert [(change.what, change.step, change.usual) for change in changes] == [("loss", 3, None)]
    assert changes[0].text() == "loss at step 3 (inf)"
    assert changes[0].to_json() == {"what": "loss", "step": 3, "value": "inf", "usual": None}


def test_nothing_is_said_when_little_was_recorded_or_nothing_changed() -> None:
    assert first_changes(series(5), 5) is None
    assert first_changes(series(40), 40) == []
    assert first_changes([], 40) is None


def record(folder: Path, mode: Mode, attempt: int = 0, rank: int = 0, die: bool = False) -> None:
    """A loss that spikes at step 35; the gradient norm left its range five steps before."""
    path = spool_path(folder / f"attempt-{attempt:04d}", rank)
    emitter = Emitter(path, trial="4c54", attempt=attempt, rank=rank)
    recorder = DenseRecorder(emitter, mode)
    for step in range(1, 41):
        loss = noisy(step) * (8 if step == 35 else 1)
        norm = noisy(step) * (5 if step >= 30 else 1)
        epoch = (step + 19) // 20
        recorder.batch(step=step, epoch=epoch, batch_idx=step, loss=loss, grad_norm=norm)
    if not die:
        recorder.close()
    emitter.close()


def events(folder: Path) -> list[Event]:
    return list(events_in_order(folder, (3,)))


def test_causes_are_read_from_spools_and_from_the_archive(tmp_path: Path) -> None:
    record(tmp_path, "standard")
    record(tmp_path, "research", attempt=1, rank=1)
    causes = root_causes(events(tmp_path))
    assert [(c.attempt, c.rank, c.step) for c in causes] == [(0, 0, 35), (1, 1, 35)]
    assert all(cause.reason.startswith("loss_spike:") for cause in causes)
    assert "forced" not in causes[1].reason
    for cause in causes:
        assert cause.first is not None
        assert [(c.what, c.step) for c in cause.first] == [("gradient norm", 30)]
        assert "first to change: gradient norm at step 30" in cause.text()
        assert json.loads(json.dumps(cause.to_json()))["first"][0]["step"] == 30
    archive_events(tmp_path, remove_spools=True)
    assert root_causes(events(tmp_path)) == causes


def test_a_window_whose_process_was_killed_is_named_all_the_same(tmp_path: Path) -> None:
    record(tmp_path, "adaptive", die=True)
    (cause,) = root_causes(events(tmp_path))
    assert (cause.step, cause.batches, cause.first) == (35, 0, None)
    assert "ended before the trace was written" in cause.text()


def test_a_gate_that_held_says_why(tmp_path: Path) -> None:
    emitter = Emitter(spool_path(tmp_path / "attempt-0000", 0), trial="4c54", attempt=0, rank=0)
    held = GateEvaluationTrace(
        gate="G5", slot_id="mid", passed=False, checks_failed=["contribution"], message="0.3 < 1"
    )
    trace = DenseTrace(
        trigger_reason="gate_failure:mid", trigger_step=7, window_start_epoch=3,
        window_end_epoch=5, gate_evaluation_details=held,
    )  # fmt: skip
    emitter.snapshot(trace, step=7, epoch=3)
    emitter.close()
    (cause,) = root_causes(events(tmp_path))
    assert cause.gate == "gate G5 of mid: 0.3 < 1"
    assert "step 7: gate_failure:mid (gate G5 of mid: 0.3 < 1)" in cause.text()


def test_what_the_trial_itself_undid_is_named(tmp_path: Path) -> None:
    emitter = Emitter(spool_path(tmp_path / "attempt-0000", 0), trial="4c54", attempt=0, rank=0)
    for step, epoch in ((12, 3), (8, 2)):
        reason = f"governor: nonfinite in epoch {epoch}"
        done = {"done": f"epoch {epoch} was undone"}
        emitter.trace(INTERVENTION, done, step=step, reason=reason)
    emitter.close()
    causes = root_causes(events(tmp_path))
    assert [cause.step for cause in causes] == [8, 12]
    assert causes[0].text() == (
        "attempt 0, rank 0, step 8: governor: nonfinite in epoch 2; epoch 2 was undone"
    )
    assert json.loads(json.dumps(causes[0].to_json()))["done"] == "epoch 2 was undone"


def traces(count: int) -> Iterator[Event]:
    """A trace of 60 batches each; the loss spikes in the last of them."""
    for number in range(count):
        first = 60 * number
        batches = [
            BatchMetrics(epoch=number, batch_idx=i, step=first + i, loss=9.0 if i == 59 else 1.0)
            for i in range(60)
        ]
        trace = DenseTrace(
            trigger_reason="loss_spike:9.0x",
            trigger_step=first + 59,
            window_start_epoch=number,
            window_end_epoch=number,
            batch_metrics=batches,
        )
        yield Event(VERSION, "4c54", 0, 0, number, 0, trace, first + 59)


def test_many_traces_cost_as_often_what_one_costs() -> None:
    def calls(count: int) -> int:
        events = list(traces(count))
        profile = Profile()
        causes = profile.runcall(root_causes, events)
        assert [cause.first[0].what for cause in causes if cause.first] == ["loss"] * count
        return sum(entry.callcount for entry in profile.getstats())

    assert calls(80) < 5 * calls(20)


def test_of_many_traces_no_more_is_kept_than_a_trigger_looks_back_on() -> None:
    def mib(count: int) -> float:
        tracemalloc.start()
        try:
            assert len(root_causes(traces(count))) == count
            return tracemalloc.get_traced_memory()[1] / 2**20
        finally:
            tracemalloc.stop()

    assert mib(120) < 2 * mib(20)


def test_training_that_went_well_has_no_cause(tmp_path: Path) -> None:
    path = spool_path(tmp_path / "attempt-0000", 0)
    with (
        Emitter(path, trial="4c54", attempt=0) as emitter,
        DenseRecorder(emitter, "research") as recorder,
    ):
        for step in range(20):
            recorder.batch(step=step, epoch=1, batch_idx=step, loss=noisy(step))
    assert len(events(tmp_path)) == 1
    assert root_causes(events(tmp_path)) == []
