"""Many ranks push to one collector, and every row is in the store once."""

from __future__ import annotations

from collections import Counter
from typing import Any

from cluster import Resources
from telemetry import MlflowSink, StudyRun, TrialRun, archive_events, read_events, spools_of
from telemetry.wake import usual_interval_s
from tests.telemetry.simulated import KEYS_OF_A_STEP, Load, expected_rows, run_through_actor


def test_256_ranks_through_one_collector_give_each_row_once(
    ray_session: Resources, sink: MlflowSink, store: Any, study: StudyRun, trial: TrialRun
) -> None:
    load = Load(ranks=256, steps=12, pause_s=0.1)
    ran = run_through_actor(load, sink, study, trial)
    assert ran.report.left == {}
    assert ran.failed_pushes == 0
    assert ran.during["pushes"] >= load.ranks
    rows = store.rows()
    assert Counter(key for key, *_ in rows) == dict.fromkeys(KEYS_OF_A_STEP, load.steps)
    measured = {(key, step): value for key, step, value, _ in rows}
    assert len(measured) == len(rows)
    assert measured.items() >= expected_rows(load).items()
    assert ran.report.counters.events == load.ranks * (load.steps + 2)
    assert spools_of(trial.path) == []
    path = archive_events(trial.path)
    assert path is not None
    assert sum(1 for _ in read_events(path)) == load.ranks * (load.steps + 2)


def test_more_ranks_push_less_often() -> None:
    intervals = {ranks: usual_interval_s(ranks) for ranks in (1, 64, 256, 4096)}
    assert intervals == {1: 1.0, 64: 1.0, 256: 4.0, 4096: 64.0}
    assert all(ranks / seconds <= 64 for ranks, seconds in intervals.items())
