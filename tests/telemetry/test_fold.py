from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable

import pytest

from telemetry import (
    Emitter,
    Event,
    Metrics,
    SpoolReader,
    TrialFold,
    TrialRun,
    encode,
    fold,
    spool_path,
)
from telemetry.rowlog import Row, RowLog

Emit = Callable[..., Emitter]


def table(rows: list[Row]) -> dict[tuple[str, int], float | None]:
    assert len({(row.key, row.step) for row in rows}) == len(rows)
    return {(row.key, row.step): row.value for row in rows}


def test_folding_again_adds_nothing(trial: TrialRun, emit: Emit) -> None:
    emitter = emit(trial)
    emitter.metrics({"a": 1.0, "b": None}, step=1)
    incremental = TrialFold(trial.path)
    assert table(incremental.fold()) == {("a", 1): 1.0}
    emitter.metrics({"a": math.nan, "b": 0.0}, step=2)
    rows = table(incremental.fold())
    assert math.isnan(rows["a", 2] or 0.0)
    assert rows["b", 2] == 0.0
    assert incremental.fold() == []
    assert fold(trial.path) == []
    logged, _ = RowLog(trial.path).read(0)
    assert len(logged) == 3
    assert math.isnan(logged[1].value or 0.0)


def test_a_row_has_the_time_of_its_event(trial: TrialRun, emit: Emit) -> None:
    emit(trial).metrics({"a": 1.0}, step=1)
    (event,) = [
        e
        for e in SpoolReader(spool_path(trial.path / "attempt-0000", 0)).read()
        if e.kind == "metrics"
    ]
    assert fold(trial.path)[0].time_ms == event.time_ms


def test_where_attempts_overlap_the_first_row_stays(trial: TrialRun, emit: Emit) -> None:
    first, second = emit(trial, 0), emit(trial, 1)
    for step in (1, 2, 3):
        first.metrics({"a": step}, step=step)
    for step in (2, 3, 4):
        second.metrics({"a": step * 10}, step=step)
    rows = table(fold(trial.path))
    assert rows == {("a", 1): 1.0, ("a", 2): 2.0, ("a", 3): 3.0, ("a", 4): 40.0}


def test_an_earlier_attempt_is_read_to_its_end_before_a_later_one(
    trial: TrialRun, emit: Emit
) -> None:
    first, second = emit(trial, 0), emit(trial, 1)
    for step in range(100):
        first.metrics({"a": 1.0}, step=step)
        second.metrics({"a": 2.0}, step=step)
    chunked = TrialFold(trial.path)
    rows = chunked.fold(limit_bytes=1000)
    while chunked.behind:
        rows += chunked.fold(limit_bytes=1000)
    assert table(rows) == {("a", step): 1.0 for step in range(100)}


def test_ranks_are_reduced_as_declared_and_their_spread_is_kept(
    trial: TrialRun, emit: Emit
) -> None:
    reducers = {"sum": "sum", "min": "min", "max": "max", "last": "last"}
    ranks = [emit(trial, rank=rank, ranks=2, reducers=reducers) for rank in (0, 1)]
    keys = ("mean", "sum", "min", "max")
    ranks[0].metrics(dict.fromkeys(keys, 1.0), step=1)
    folding = TrialFold(trial.path)
    assert folding.fold() == []  # rank 1 has not reported
    ranks[1].metrics({**dict.fromkeys(keys, 3.0), "only_1": 7.0}, step=1)
    rows = folding.fold()
    found = table(rows)
    assert [found[key, 1] for key in keys] == [2.0, 4.0, 1.0, 3.0]
    assert found["mean/spread", 1] == 2.0
    assert ("only_1", 1) not in found
    assert {row.ranks for row in rows} == {2}
    for emitter in ranks:
        emitter.close()
    assert table(folding.fold()) == {("only_1", 1): 7.0}


def test_a_diverged_rank_shows_in_the_row(trial: TrialRun, emit: Emit) -> None:
    for rank, value in enumerate((1.0, math.nan)):
        emit(trial, rank=rank, ranks=2, reducers={"b": "min"}).metrics(
            {"a": value, "b": value, "c": None if rank else 5.0}, step=1
        )
    rows = table(fold(trial.path))
    assert math.isnan(rows["a", 1] or 0.0)
    assert math.isnan(rows["b", 1] or 0.0)
    assert math.isnan(rows["a/spread", 1] or 0.0)
    assert rows["c", 1] == 5.0


def test_a_rank_that_never_reports_holds_a_step_for_a_while_only(
    trial: TrialRun, emit: Emit
) -> None:
    emit(trial, rank=0, ranks=2).metrics({"a": 1.0}, step=1)
    assert TrialFold(trial.path).fold() == []
    assert table(TrialFold(trial.path, rank_timeout_s=-1).fold()) == {("a", 1): 1.0}


def test_a_partial_step_of_a_dead_attempt_is_taken_from_the_next_one(
    trial: TrialRun, emit: Emit
) -> None:
    emit(trial, 0, rank=0, ranks=2).metrics({"a": 1.0}, step=1)
    for rank in (0, 1):
        emit(trial, 1, rank=rank, ranks=2).metrics({"a": 4.0}, step=1)
    rows = TrialFold(trial.path, rank_timeout_s=-1).fold(ended=True)
    assert table(rows) == {
        ("a", 1): 4.0,
        ("a/spread", 1): 0.0,
        ("ranks/lag_ms", 1): table(rows)["ranks/lag_ms", 1],
        ("ranks/slowest", 1): table(rows)["ranks/slowest", 1],
    }


def test_a_torn_row_log_is_repaired(trial: TrialRun, emit: Emit) -> None:
    emitter = emit(trial)
    emitter.metrics({"a": 1.0}, step=1)
    fold(trial.path)
    log = trial.path / "rows.jsonl"
    with open(log, "ab") as file:
        file.write(b'{"key":"a","step":2,"ti')
    emitter.metrics({"a": 2.0}, step=2)
    assert table(fold(trial.path)) == {("a", 2): 2.0}
    rows, _ = RowLog(trial.path).read(0)
    assert table(rows) == {("a", 1): 1.0, ("a", 2): 2.0}
    assert log.read_bytes().count(b"\n") == 2


def test_two_folders_of_one_trial_log_each_row_once(trial: TrialRun, emit: Emit) -> None:
    emitter = emit(trial)
    one, other = TrialFold(trial.path), TrialFold(trial.path)
    for step in range(6):
        emitter.metrics({"a": step}, step=step)
        (one if step % 2 else other).fold()
    one.fold()
    other.fold()
    assert len(table(RowLog(trial.path).read(0)[0])) == 6


def test_ranks_that_are_read_in_pieces_are_still_reduced_whole(trial: TrialRun, emit: Emit) -> None:
    for rank in (0, 1):
        emitter = emit(trial, rank=rank, ranks=2, interval_s=60)
        for step in range(300):
            emitter.metrics({"long/name" * (1 + 9 * rank): 1.0, "a": rank}, step=step)
    folding = TrialFold(trial.path, rank_timeout_s=-1)
    rows = folding.fold(limit_bytes=4000)
    while folding.behind:
        rows += folding.fold(limit_bytes=4000)
    assert {row.value for row in rows if row.key == "a"} == {0.5}
    assert sum(row.key == "a" for row in rows) == 300


def test_a_row_log_that_cannot_be_written_is_tried_again(
    trial: TrialRun, emit: Emit, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitter = emit(trial)
    folding = TrialFold(trial.path)
    for step in range(3):
        emitter.metrics({"a": step}, step=step)
        with monkeypatch.context() as full:
            full.setattr("telemetry.rowlog.write_all", half_written)
            with pytest.raises(OSError, match="No space"):
                folding.fold()
        assert [row.step for row in folding.fold()] == [step]
    assert len(table(RowLog(trial.path).read(0)[0])) == 3


def half_written(handle: int, data: bytes) -> None:
    os.write(handle, data[: len(data) // 2])
    raise OSError(errno.ENOSPC, "No space left on device")


def line(rank: int, time_ms: int, step: int, **values: float) -> bytes:
    """A metrics event of a rank whose clock says `time_ms`."""
    return encode(Event(2, "t", 0, rank, step, time_ms, Metrics({**values}), step)) + b"\n"


def write_spool(trial: TrialRun, rank: int, ranks: int, *lines: bytes, closed: bool) -> None:
    path = spool_path(trial.path / "attempt-0000", rank)
    with Emitter(path, trial="t", attempt=0, rank=rank, ranks=ranks):
        pass
    first, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, *lines, last if closed else b""]))


def test_the_slowest_rank_of_each_step_is_named_and_by_how_much(trial: TrialRun) -> None:
    clocks = {0: (1000, 2000), 1: (1250, 2000), 2: (1100, 2007)}
    for rank, times in clocks.items():
        lines = [line(rank, ms, step, a=1.0, b=2.0) for step, ms in enumerate(times)]
        write_spool(trial, rank, 3, *lines, line(rank, 9000, 0, late=1.0), closed=True)
    rows = {(row.key, row.step): row for row in fold(trial.path, ended=True)}
    assert rows["ranks/slowest", 0].value == 1.0
    assert rows["ranks/lag_ms", 0].value == 250.0
    assert rows["ranks/slowest", 1].value == 2.0
    assert rows["ranks/lag_ms", 1].value == 7.0
    assert rows["ranks/lag_ms", 1].time_ms == 2000
    assert rows["ranks/lag_ms", 1].ranks == 3
    assert sum(key.startswith("ranks/") for key, _ in rows) == 4


def test_one_rank_has_no_slowest(trial: TrialRun, emit: Emit) -> None:
    emit(trial).metrics({"a": 1.0}, step=1)
    assert set(table(fold(trial.path))) == {("a", 1)}


def test_the_time_limit_of_a_rank_does_not_depend_on_its_hosts_clock(trial: TrialRun) -> None:
    for rank, time_ms in ((0, 1_000), (1, 4_000_000_000_000)):  # 1970, 2096
        write_spool(trial, rank, 3, line(rank, time_ms, 1, a=float(rank)), closed=False)
    assert TrialFold(trial.path, rank_timeout_s=60).fold() == []
    rows = TrialFold(trial.path, rank_timeout_s=-1).fold()
    assert table(rows)["a", 1] == 0.5
    assert {row.ranks for row in rows} == {2}


def test_a_silent_rank_is_told_once_and_not_waited_for_until_it_speaks(
    trial: TrialRun, emit: Emit, caplog: pytest.LogCaptureFixture
) -> None:
    ranks = [emit(trial, rank=rank, ranks=2) for rank in (0, 1)]
    now = [0.0]
    folding = TrialFold(trial.path, rank_timeout_s=100, clock=lambda: now[0])
    ranks[0].metrics({"a": 1.0}, step=1)
    assert folding.fold() == []
    assert folding.silent == 0
    now[0] = 101.0
    assert table(folding.fold()) == {("a", 1): 1.0}
    assert folding.silent == 1
    ranks[0].metrics({"a": 2.0}, step=2)
    assert table(folding.fold()) == {("a", 2): 2.0}
    ranks[1].metrics({"a": 5.0}, step=3)
    ranks[0].metrics({"a": 3.0}, step=3)
    assert table(folding.fold())["a", 3] == 4.0
    assert folding.silent == 0
    assert [r.message for r in caplog.records if "no word from rank 1" in r.message]
    assert len(caplog.records) == 1


def test_metrics_by_seconds_say_nothing_of_training_steps(trial: TrialRun, emit: Emit) -> None:
    ranks = [emit(trial, rank=rank, ranks=2) for rank in (0, 1)]
    folding = TrialFold(trial.path)
    ranks[0].metrics({"a": 1.0}, step=3)
    ranks[1].metrics({"sys/memory_rss_mib": 100.0}, step=50)
    assert folding.fold() == []
    ranks[1].metrics({"a": 2.0}, step=3)
    rows = folding.fold()
    assert {row.key for row in rows} == {"a", "a/spread", "ranks/slowest", "ranks/lag_ms"}
    ranks[0].metrics({"sys/memory_rss_mib": 100.0}, step=50)
    assert {row.key for row in folding.fold()} == {
        "sys/memory_rss_mib",
        "sys/memory_rss_mib/spread",
    }


def test_a_trial_with_a_dead_rank_is_folded_from_cold_without_keeping_its_steps(
    trial: TrialRun, emit: Emit
) -> None:
    living, dead = (emit(trial, rank=rank, ranks=2, interval_s=60) for rank in (0, 1))
    for step in range(8_000):
        living.metrics({"a": 1.0}, step=step)
        if step < 10:
            dead.metrics({"a": 3.0}, step=step)
    folding = TrialFold(trial.path, rank_timeout_s=1e9, waiting_readings=1_000)
    rows, most, passes = folding.fold(limit_bytes=20_000), folding.waiting, 1
    while folding.behind:
        rows += folding.fold(limit_bytes=20_000)
        most, passes = max(most, folding.waiting), passes + 1
    assert passes > 20
    assert most < 1_000 + 1_000  # and what one pass reads
    assert folding.silent == 1
    rows += folding.fold(ended=True)
    found = table(rows)
    assert [found["a", step] for step in range(8_000)] == [2.0] * 10 + [1.0] * 7_990
    assert folding.waiting == 0


def test_a_rank_whose_events_are_larger_is_waited_for_however_far_the_others_are_ahead(
    trial: TrialRun, emit: Emit
) -> None:
    for rank in (0, 1):
        emitter = emit(trial, rank=rank, ranks=2, interval_s=60)
        for step in range(600):
            if rank == 0:
                emitter.trace("dense", {"text": "x" * 2_000}, step=step)
            emitter.metrics({"a": 1.0 * rank}, step=step)
    folding = TrialFold(trial.path, rank_timeout_s=-1, waiting_readings=200)
    rows, most = folding.fold(limit_bytes=20_000), folding.waiting
    while folding.behind:
        rows += folding.fold(limit_bytes=20_000)
        most = max(most, folding.waiting)
    assert {row.value for row in rows if row.key == "a"} == {0.5}
    assert sum(row.key == "a" for row in rows) == 600
    assert most < 200 + 600


def test_a_row_log_that_is_removed_under_a_fold_is_written_again_whole(
    trial: TrialRun, emit: Emit
) -> None:
    emitter = emit(trial)
    folding = TrialFold(trial.path)
    for step in range(5):
        emitter.metrics({"a": 1.0 * step}, step=step)
    folding.fold()
    log = trial.path / "rows.jsonl"
    before, generation = log.read_bytes(), folding.log.generation()
    log.unlink()
    emitter.metrics({"a": 5.0}, step=5)
    folding.fold()
    assert log.read_bytes().startswith(before)
    assert b"\0" not in log.read_bytes()
    assert table(RowLog(trial.path).read(0)[0]) == {("a", step): 1.0 * step for step in range(6)}
    assert folding.log.generation() != generation
    assert folding.fold() == []


def test_values_without_a_step_have_no_row(trial: TrialRun) -> None:
    from telemetry.contracts import HostSnapshot

    lines = [
        encode(Event(2, "t", 0, 0, epoch, 1, HostSnapshot(epoch=epoch, val_loss=1.0))) + b"\n"
        for epoch in range(3)
    ]
    write_spool(trial, 0, 1, *lines, line(0, 2, 7, a=1.0), closed=True)
    assert table(fold(trial.path, ended=True)) == {("a", 7): 1.0}
