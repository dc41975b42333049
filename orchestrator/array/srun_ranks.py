"""The ranks of a trial as the processes of one srun step, on one node or on several.

They speak through files in the task's folder ``ranks-<k>/<run>/``: the first process, which leads,
hands each job to the others, and each of them says how its rank ended. A rank runs in a child of
its process, so that ranks that wait for one that failed can be ended, and a trial finds nothing of
the one before.

    host-<rank>              where the process is; the leader waits for all of them
    job-<n>                  the job, where its ranks meet, and each rank's variables
    end-<n>-<rank>           how the rank ended
    stop-<n>                 the others are to end that job's ranks
    over                     no job will come any more
"""

from __future__ import annotations

import os
import pickle
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from cluster.slurm.environment import on_notice
from cluster.slurm.environment import rank as own_rank
from orchestrator.array.rank_child import RankChild
from orchestrator.attempts import Superseded
from orchestrator.engine import notice
from orchestrator.engine.job import Job, Ran, RankFailed, RankLost
from orchestrator.engine.rank_actor import RankEnd
from orchestrator.home import write_whole
from workloads.contract import Reporter, TrialStopped
from workloads.training.rendezvous import LOOPBACK, Rendezvous, rank_environments

LOOK_EVERY_S = 0.1
LONGEST_LOOK_S = 2.0
GATHER_LIMIT_S = 300.0
"""How long srun may take to start every process."""
CUT_OFF_PATIENCE_S = 10.0
"""How long a rank that could not reach another waits for that one's own end: the cause."""


class _Looks:
    """When to look into the folder: often at first, then seldom, since each rank of hundreds of
    tasks does so, for as long as they train, and one file server answers all of them."""

    def __init__(self) -> None:
        self._every_s, self._next_s = LOOK_EVERY_S, 0.0

    def due(self) -> bool:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return False
        self._every_s = min(LONGEST_LOOK_S, self._every_s * 1.1)
        self._next_s = now_s + self._every_s
        return True


@dataclass(frozen=True)
class _Order:
    """A job, with the variables of each rank."""

    job: Job
    variables: list[dict[str, str]]


def ranks_folder(task_file: Path) -> Path:
    """Where the processes of this run of a task speak: a task that was put back into the queue
    finds nothing of its earlier runs."""
    run = f"{os.environ.get('SLURM_JOB_ID', 'here')}-{os.environ.get('SLURM_RESTART_COUNT', '0')}"
    return task_file.with_name(f"ranks-{task_file.stem.removeprefix('task-')}") / run


class SrunRanks:
    """A `Launch` by the first process of the step. Leaving it lets the other processes end."""

    def __init__(self, task_file: Path, ranks: int) -> None:
        self._folder, self._ranks = ranks_folder(task_file), ranks
        self._hosts: list[str] = []
        self._jobs = 0

    def __enter__(self) -> SrunRanks:
        _say_host(self._folder, 0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        write_whole(self._folder / "over", b"")

    def __call__(self, job: Job, report: Reporter) -> Ran:
        """As `Launch`."""
        hosts = self._hosts = self._hosts or _gathered(self._folder, self._ranks)
        address = LOOPBACK if len(set(hosts)) == 1 else _address()
        meeting = Rendezvous.host(address)  # held while the ranks run
        variables = rank_environments(hosts, meeting.address, meeting.port)
        number, self._jobs = self._jobs, self._jobs + 1
        order = pickle.dumps(_Order(replace(job, push=None), variables))
        write_whole(self._folder / f"job-{number}", order)
        child = RankChild(job, 0, variables[0])
        try:
            return _Watch(self._folder, number, self._ranks, child, report).to_the_end()
        finally:
            write_whole(self._folder / f"stop-{number}", b"")
            child.end()


def follow_leader(task_file: Path) -> None:
    """Runs this process's rank of every job that the leader hands out, until it says it is over."""
    on_notice(notice.give)  # the leader answers it for all
    folder, rank = ranks_folder(task_file), own_rank()
    _say_host(folder, rank)
    number, looks = 0, _Looks()
    while True:
        if looks.due():
            if _there(folder / f"job-{number}"):
                _run_ordered(folder, number, rank)
                number, looks = number + 1, _Looks()
            elif _there(folder / "over"):
                return
        time.sleep(LOOK_EVERY_S)


def _run_ordered(folder: Path, number: int, rank: int) -> None:
    order: _Order = pickle.loads((folder / f"job-{number}").read_bytes())
    child, looks = RankChild(order.job, rank, order.variables[rank]), _Looks()
    try:
        while (end := child.ended()) is None:
            if looks.due() and _there(folder / f"stop-{number}"):
                return
            child.relay(None, LOOK_EVERY_S)
        write_whole(folder / f"end-{number}-{rank}", pickle.dumps(end))
    finally:
        child.end()


class _Watch:
    """Watches the ranks of one job from the leading process."""

    def __init__(
        self, folder: Path, number: int, ranks: int, child: RankChild, report: Reporter
    ) -> None:
        self._folder, self._number, self._ranks = folder, number, ranks
        self._child, self._report = child, report
        self._ends: dict[int, RankEnd] = {}
        self._looks = _Looks()
        self._cut_off: RankFailed | None = None
        self._cut_off_until_s = 0.0

    def to_the_end(self) -> Ran:
        """What rank 0 came to, once every rank has ended well."""
        while len(self._ends) < self._ranks:
            if 0 not in self._ends:
                self._child.relay(self._report, LOOK_EVERY_S)
            else:
                time.sleep(LOOK_EVERY_S)
            for rank, end in self._new_ends():
                self._ends[rank] = end
                self._judge(rank, end)
            if self._cut_off is not None and time.monotonic() >= self._cut_off_until_s:
                raise self._cut_off
        if self._cut_off is not None:
            raise self._cut_off
        ran = self._ends[0].ran
        assert ran is not None
        return ran

    def _new_ends(self) -> list[tuple[int, RankEnd]]:
        found = []
        own = self._child.ended() if 0 not in self._ends else None
        if own is not None:
            found.append((0, own))
            self._looks = _Looks()  # the others will end soon
        if not self._looks.due():
            return found
        prefix = f"end-{self._number}-"
        for name in os.listdir(self._folder):
            if name.startswith(prefix) and int(name.removeprefix(prefix)) not in self._ends:
                end = pickle.loads((self._folder / name).read_bytes())
                found.append((int(name.removeprefix(prefix)), end))
        return found

    def _judge(self, rank: int, end: RankEnd) -> None:
        if end.superseded is not None:
            raise Superseded(end.superseded)
        if end.failure is not None:
            if end.failure.kind == "node_lost":
                raise RankLost(f"rank {rank} of {self._ranks} died")
            cause = f"rank {rank} of {self._ranks}: {end.failure.cause}"
            failed = RankFailed(msgspec.structs.replace(end.failure, cause=cause), end.trace)
            if not end.cut_off:
                raise failed
            if self._cut_off is None:
                self._cut_off = failed
                self._cut_off_until_s = time.monotonic() + CUT_OFF_PATIENCE_S
        elif end.ran is None:
            raise TrialStopped


def _say_host(folder: Path, rank: int) -> None:
    host = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    write_whole(folder / f"host-{rank}", host.encode())


def _gathered(folder: Path, ranks: int) -> list[str]:
    """The host of each rank's process. Raises `RankLost` if one does not come."""
    paths = [folder / f"host-{rank}" for rank in range(ranks)]
    _wait_for(lambda: all(_there(path) for path in paths), ranks)
    return [path.read_text() for path in paths]


def _wait_for(holds: Callable[[], bool], ranks: int) -> None:
    until_s = time.monotonic() + GATHER_LIMIT_S
    while not holds():
        if time.monotonic() > until_s:
            raise RankLost(f"srun has not started all of {ranks} ranks in {GATHER_LIMIT_S:g} s")
        time.sleep(LOOK_EVERY_S)


def _there(path: Path) -> bool:
    """Whether a file is there, asking a file server anew, which a look for one file may not."""
    with suppress(OSError):
        return path.name in os.listdir(path.parent)
    return False


def _address() -> str:
    """Where this node is reached from the step's other nodes: srun was started on it."""
    said: Mapping[str, Any] = os.environ
    return str(said.get("SLURM_LAUNCH_NODE_IPADDR") or socket.gethostbyname(socket.gethostname()))
