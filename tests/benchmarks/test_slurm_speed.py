"""Submitting 2,000 array tasks, beside submitit's own `map_array`; asking after 10,000 jobs.

On the stand-in, whose commands cost both the same. Nothing of what is submitted runs.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.slurm.commands import Slurm
from cluster.slurm.queue import look
from cluster.slurm.records import JobRecords
from cluster.slurm.settings import SlurmSettings
from cluster.slurm.submission import Submission, submit
from cluster.sources import Sources
from orchestrator.home import Home
from tests.benchmarks.measuring import summary, tell, timed, within
from tests.cluster.stand_in.controller import SlurmStandIn
from tests.orchestrator.quick_study import arm, command, quick_study, write_study

TASKS = 2_000
ASKED = 10_000
LIMIT_S = 5.0
PAIRS = 5
MOST_CALLS = 3


def no_op(number: int) -> int:
    return number


@pytest.fixture
def full_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmStandIn]:
    """A SLURM whose nodes have no room: what is submitted waits."""
    stand_in = SlurmStandIn()
    stand_in.nodes = {"s1": 0}
    stand_in.start()
    monkeypatch.setenv("PATH", stand_in.environment["PATH"])
    monkeypatch.delenv("SLURM_CONF", raising=False)
    try:
        yield stand_in
    finally:
        stand_in.stop()


def empty(stand_in: SlurmStandIn) -> None:
    """The queue, between two measurements."""
    with stand_in.lock:
        stand_in.jobs.clear()
        stand_in.calls.clear()


def ours_s(folder: Path, sources: Sources) -> float:
    """Seconds to submit no-op tasks: pickled, recorded, held and released."""
    start = time.perf_counter()
    submission = Submission(
        "array", "no-op", no_op, range(TASKS), SlurmSettings(), folder, sources=sources
    )
    records = submit(Slurm.find(), submission, JobRecords(folder))
    spent_s = time.perf_counter() - start
    assert sum(record.tasks for record in records) == TASKS
    return spent_s


def submitits_s(folder: Path) -> float:
    import submitit

    start = time.perf_counter()
    executor = submitit.SlurmExecutor(folder)
    executor.update_parameters(time=60, array_parallelism=TASKS)
    jobs = executor.map_array(no_op, range(TASKS))
    spent_s = time.perf_counter() - start
    assert len(jobs) == TASKS
    return spent_s


def test_submitting_tasks_takes_no_longer_than_submitits_own(
    full_cluster: SlurmStandIn, tmp_path: Path
) -> None:
    """Compared in one array, which is all that submitit submits; ours, in three chunks too."""
    sources = Sources.snapshot(tmp_path / "home")
    ours, peers, chunked = [], [], []
    for pair in range(-1, PAIRS):  # the first has loaded what both need, and does not count
        spent = {}
        for what in ("ours", "peer", "chunked"):
            full_cluster.max_array_size = 1001 if what == "chunked" else TASKS + 1
            folder = tmp_path / f"{what}-{pair}"
            folder.mkdir()
            spent[what] = submitits_s(folder) if what == "peer" else ours_s(folder, sources)
            assert full_cluster.count("sbatch") <= MOST_CALLS
            assert len(full_cluster.jobs) == TASKS
            empty(full_cluster)
            shutil.rmtree(folder)
        if pair >= 0:
            ours.append(spent["ours"])
            peers.append(spent["peer"])
            chunked.append(spent["chunked"])
    ratios = [peer / mine for mine, peer in zip(ours, peers, strict=True)]
    tell(
        "submitting-2000-tasks",
        {
            "tasks": TASKS,
            "ours_s": ours,
            "ours_in_two_arrays_s": chunked,
            "submitit_map_array_s": peers,
            "times_as_fast": ratios,
            "median_times_as_fast": statistics.median(ratios),
            "limit_s": LIMIT_S,
        },
    )
    assert min(chunked) < LIMIT_S
    assert min(ours) < LIMIT_S


def test_a_whole_command_submits_two_thousand_trials_in_time(
    full_cluster: SlurmStandIn, tmp_path: Path, mlflow_home: Home
) -> None:
    """From the start of Python to its end: planned, written, pickled, submitted, left alone."""
    mapping = quick_study(
        arm("only", "comparator"), base={"steps": 1}, seeds=list(range(TASKS)), name="submitted"
    )
    file = write_study(tmp_path, mapping)
    spent, calls = [], 0
    for number in range(3):
        home = Home.find(tmp_path / f"home-{number}").writable()
        shutil.copy(mlflow_home.root / "mlflow.db", home.root / "mlflow.db")
        words = command("run", file, "--home", home.root, "--on", "slurm-array", "--detach")
        spent += timed(words, tmp_path, 1)
        assert len(full_cluster.jobs) == TASKS
        calls = full_cluster.count("sbatch")
        assert calls <= MOST_CALLS
        empty(full_cluster)
    tell(
        "submitting-2000-trials",
        {"trials": TASKS, "sbatch_calls": calls, **summary(spent), "limit_s": LIMIT_S},
    )
    assert within(spent, LIMIT_S)


def test_asking_after_ten_thousand_jobs_is_one_query(
    full_cluster: SlurmStandIn, tmp_path: Path
) -> None:
    full_cluster.max_array_size = ASKED + 1
    submission = Submission("array", "asked", no_op, range(ASKED), SlurmSettings(), tmp_path)
    records = submit(Slurm.find(), submission, JobRecords(tmp_path))
    ids = [id for record in records for id in record.job_ids]
    spent = []
    for _ in range(PAIRS):
        full_cluster.calls.clear()
        start = time.perf_counter()
        seen = look(Slurm.find(), ids)
        spent.append(time.perf_counter() - start)
        assert {view.state for view in seen.values()} == {"queued"}
        assert len(seen) == ASKED
        assert [call[0] for call in full_cluster.calls] == ["squeue"]
    tell("looking-at-10000-jobs", {"jobs": ASKED, "seconds": spent, "limit_s": 2.0})
    assert min(spent) < 2.0
