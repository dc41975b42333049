"""Trials whose ranks are simulated: real emitters that push to a real collector known values."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from telemetry import DrainReport, Emitter, MlflowSink, StudyRun, TrialEnd, TrialRun, spool_path
from telemetry.ray_collector import CollectorClient, start_collector

KEYS_OF_A_STEP = ("loss", "loss/spread", "ranks/lag_ms", "ranks/slowest")


@dataclass(frozen=True)
class Load:
    """What is simulated: each rank says one scalar a step, `pause_s` after the one before."""

    ranks: int
    steps: int
    pause_s: float
    processes: int = 4


def loss(rank: int, step: int) -> float:
    """What rank `rank` measures at a step: exact in binary, whatever the order of a sum."""
    return rank + step / 1024


def expected_rows(load: Load) -> dict[tuple[str, int], float]:
    """What a row must hold, but for which rank was slowest and by how much."""
    middle = (load.ranks - 1) / 2
    rows = {("loss", step): middle + step / 1024 for step in range(load.steps)}
    return rows | {("loss/spread", step): load.ranks - 1.0 for step in range(load.steps)}


def run_ranks(folder: Path, trial: str, load: Load, first: int, push: Any) -> int:
    """One process of ranks `first`, `first` + processes, …; gives how many pushes failed."""
    mine = range(first, load.ranks, load.processes)
    emitters = [
        Emitter(
            spool_path(folder / "attempt-0000", rank),
            trial=trial,
            attempt=0,
            rank=rank,
            ranks=load.ranks,
            push=copy.copy(push),  # each its own, as in a process of its own
        )
        for rank in mine
    ]
    for step in range(load.steps):
        for emitter in emitters:
            emitter.metrics({"loss": loss(emitter.rank, step)}, step=step)
        time.sleep(load.pause_s)
    failed = 0
    for emitter in emitters:
        emitter.close()
        failed += emitter.counters.push_errors
    return failed


@dataclass(frozen=True)
class Ran:
    """What came of it."""

    emitting_s: float
    report: DrainReport
    behind_s: float
    """Seconds from the last event until the store had everything."""
    failed_pushes: int
    during: Mapping[str, int]
    """The collector's counters when the ranks had ended."""


def run_through_actor(load: Load, sink: MlflowSink, study: StudyRun, trial: TrialRun) -> Ran:
    """All ranks of a trial through a collector actor into a store. Needs a Ray that is up."""
    import ray

    client: CollectorClient = start_collector(sink, study, settle_s=0.5)
    client.register_trial(trial)
    ray.get(client.actor.ping.remote())
    remote = ray.remote(num_cpus=0)(run_ranks)
    start = time.perf_counter()
    pending = [
        remote.remote(trial.path, trial.identity, load, first, client.new_push())
        for first in range(load.processes)
    ]
    failed = sum(ray.get(pending))
    emitting_s = time.perf_counter() - start
    counters = client.counters()
    assert counters is not None, "the collector does not answer"
    client.finish_trial(trial.identity, TrialEnd("done", 1_700_000_000_000))
    start = time.perf_counter()
    report = client.drain(120)
    behind_s = time.perf_counter() - start
    client.stop()
    during = {"events": counters.events, "pushes": counters.pushes, "rows": counters.rows}
    return Ran(emitting_s, report, behind_s, failed, during)
