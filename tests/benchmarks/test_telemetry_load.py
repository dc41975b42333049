"""One collector for many ranks, and its memory while the tracking server is away."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path

import psutil
import pytest

from cluster import Resources
from telemetry import MlflowSink, StudyRun, TrialRun, start_collector
from tests.benchmarks.measuring import tell
from tests.benchmarks.producers import emit_until
from tests.orchestrator.quick_study import wait_until
from tests.telemetry.simulated import Load, run_through_actor

AWAY_S = float(os.environ.get("ORRERY_BENCH_AWAY_SECONDS", "300"))
EVENTS_PER_S = 5000.0
PRODUCERS = 4
LIMIT_MIB = 300
RANKS = Load(ranks=256, steps=150, pause_s=0.1)


def test_256_ranks_through_one_collector(
    tmp_path: Path, mlflow_schema: Path, ray_session: Resources
) -> None:
    sink = MlflowSink(f"sqlite:///{shutil.copy(mlflow_schema, tmp_path / 'mlflow.db')}")
    study = StudyRun("bench", "bench-0000", folder=str(tmp_path / "study"))
    (tmp_path / "trial").mkdir()
    trial = TrialRun("00000000000000aa", str(tmp_path / "trial"), arm="a", replicate=0)
    ran = run_through_actor(RANKS, sink, study, trial)
    assert ran.report.left == {}
    events = RANKS.ranks * (RANKS.steps + 2)
    assert ran.report.counters.events == events
    assert ran.report.counters.rows == 4 * RANKS.steps
    tell(
        "ranks-256",
        {
            "ranks": RANKS.ranks,
            "events": events,
            "events_per_s": events / ran.emitting_s,
            "pushes_per_s": ran.during["pushes"] / ran.emitting_s,
            "failed_pushes": ran.failed_pushes,
            "read_when_the_ranks_ended": ran.during["events"] / events,
            "behind_s": ran.behind_s,
        },
    )
    assert ran.failed_pushes == 0
    assert ran.behind_s < ran.emitting_s


@pytest.mark.timeout(1200)
def test_a_collectors_memory_is_bounded_while_the_tracking_server_is_away(
    tmp_path: Path, ray_session: Resources
) -> None:
    import ray

    with socket.socket() as free:  # a port at which nobody answers
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    study = StudyRun("bench", "bench-0000", folder=str(tmp_path / "study"))
    client = start_collector(MlflowSink(uri), study)
    process = psutil.Process(ray.get(client.actor.ping.remote()))
    stop = tmp_path / "stop"
    remote = ray.remote(num_cpus=0)(emit_until)
    pending = []
    for number in range(PRODUCERS):
        folder = tmp_path / "trials" / f"{number:016x}"
        folder.mkdir(parents=True)
        client.register_trial(TrialRun(folder.name, str(folder), arm="a", replicate=number))
        push = client.new_push()
        per_s = EVENTS_PER_S / PRODUCERS
        pending.append(remote.remote(stop, folder, folder.name, per_s, push))
    mib: list[float] = []
    start = time.monotonic()
    while time.monotonic() - start < AWAY_S:
        mib.append(process.memory_info().rss / 2**20)
        time.sleep(0.5)
    stop.touch()
    rows = sum(ray.get(pending))
    events = rows // 4 + 2 * PRODUCERS

    def read() -> int:
        counters = client.counters()
        mib.append(process.memory_info().rss / 2**20)
        return 0 if counters is None else counters.events

    wait_until(lambda: read() >= events, "the collector has read everything", every_s=0.5)
    counters = client.counters()
    client.stop()
    assert counters is not None
    assert counters.absences > 0
    assert counters.rows == 0
    tell(
        "collector-memory",
        {
            "away_s": AWAY_S,
            "events": events,
            "events_per_s": events / AWAY_S,
            "rows": rows,
            "first_mib": mib[0],
            "median_mib": sorted(mib)[len(mib) // 2],
            "last_mib": mib[-1],
            "peak_mib": max(mib),
            "limit_mib": LIMIT_MIB,
        },
    )
    assert max(mib) <= LIMIT_MIB
