"""Launches the ranks of an attempt as Ray actors, watches them, and ends them together."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from orchestrator.attempts import Superseded
from orchestrator.engine.failures import failure_of, failure_of_lost_worker
from orchestrator.engine.job import Job, Ran, RankFailed, RankLost
from orchestrator.engine.rank_actor import RankActor, RankEnd
from orchestrator.leaving import ToldToLeave
from workloads.contract import Reporter, TrialStopped
from workloads.registry import load_workload
from workloads.training.rendezvous import LOOPBACK, rank_environments

STOP_PATIENCE_S = 10.0
"""How long a trial that is stopped has for rank 0 to let go of its files."""
CUT_OFF_PATIENCE_S = 10.0
"""How long a rank that could not reach another waits for that one's own end: the cause."""
LOSS_PATIENCE_S = 2.0
"""After one rank's death: which of several died first is not known, so all of them are named."""


class Ranks:
    """A `Launch` for several ranks. Needs a Ray that is up; keep one for many jobs.

    The ranks' actors are kept for the next job where the workload is reusable and the last job
    ended well. In a placement group (a Tune trial's) rank i takes bundle i; elsewhere each takes
    `cpus` and `gpus` of the cluster.
    """

    def __init__(self, cpus: float = 1.0, gpus: float = 0.0) -> None:
        self._cpus, self._gpus = cpus, gpus
        self._actors: list[Any] = []

    def __call__(self, job: Job, report: Reporter) -> Ran:
        """As `Launch`."""
        try:
            running = self._start(job)
            ran = _Watch(self._actors, running, report).to_the_end()
        except _lost() as error:
            self.stop()
            raise RankLost(_how("a rank died as it started", error)) from None
        except BaseException:
            self.stop()
            raise
        if not _reusable(job):
            self.stop()
        return ran

    def stop(self) -> None:
        """Ends the ranks' processes, whatever they do. The next job gets fresh ones."""
        import ray

        actors, self._actors = self._actors, []
        for actor in actors:
            ray.kill(actor, no_restart=True)

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _start(self, job: Job) -> dict[Any, int]:
        """Starts every rank on the job: what it will end with, and which rank it is."""
        import ray

        count = job.ticket.ranks
        if len(self._actors) != count or not _reusable(job):
            self.stop()
            self._actors = [self._actor(rank) for rank in range(count)]
        places = ray.get([actor.place.remote() for actor in self._actors])
        hosts = [node for node, _ in places]
        address = LOOPBACK if len(set(hosts)) == 1 else places[0][1]
        port = ray.get(self._actors[0].meet.remote(address))
        variables = rank_environments(hosts, address, port)
        shared = ray.put(job)
        return {
            actor.run.remote(shared, rank, variables[rank]): rank
            for rank, actor in enumerate(self._actors)
        }

    def _actor(self, rank: int) -> Any:
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        wants: dict[str, Any] = {"num_cpus": self._cpus, "num_gpus": self._gpus}
        group = ray.util.get_current_placement_group()
        if group is not None:
            bundle = group.bundle_specs[rank]
            wants = {
                "num_cpus": bundle.get("CPU", 0),
                "num_gpus": bundle.get("GPU", 0),
                "memory": bundle.get("memory"),
                "scheduling_strategy": PlacementGroupSchedulingStrategy(group, rank),
            }
        return ray.remote(RankActor).options(max_concurrency=4, **wants).remote()


def _reusable(job: Job) -> bool:
    return load_workload(job.ticket.workload).reusable


def _lost() -> tuple[type[Exception], ...]:
    """What Ray raises for a process that died."""
    import ray

    return ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError


def _how(what: str, error: Exception) -> str:
    """Ray's many lines in few words, of which memory is the one that decides what is done."""
    kind = failure_of_lost_worker(str(error), False).kind
    return f"{what}, out of memory" if kind == "out_of_memory" else what


class _Watch:
    """Watches the ranks of one job: relays rank 0's reports, and finds which rank failed first."""

    def __init__(self, actors: list[Any], running: dict[Any, int], report: Reporter) -> None:
        self._actors, self._running, self._report = actors, running, report
        self._first = next(iter(running))
        self._asked: Any = actors[0].next_report.remote()
        self._ends: dict[int, RankEnd] = {}
        self._cut_off: RankFailed | None = None
        self._cut_off_until_s = 0.0

    def to_the_end(self) -> Ran:
        """What rank 0 came to, once every rank has ended well."""
        import ray

        while self._running:
            waiting = [*self._running, *([] if self._asked is None else [self._asked])]
            left_s = max(0.0, self._cut_off_until_s - time.monotonic())
            limit_s = None if self._cut_off is None else left_s
            ready, _ = ray.wait(waiting, num_returns=1, timeout=limit_s)
            if not ready and self._cut_off is not None:
                raise self._cut_off
            for reference in ready:
                if reference in self._running:
                    self._ended(reference, self._running.pop(reference))
                else:
                    self._relay()
        if self._cut_off is not None:
            raise self._cut_off
        ran = self._ends[0].ran
        assert ran is not None
        return ran

    def _relay(self) -> None:
        """Passes on what rank 0 reports, and the answer back."""
        import ray

        try:
            told = ray.get(self._asked)
        except _lost():  # its end tells
            told = None
        self._asked = None
        if told is None:
            return
        try:
            self._report(*told)
        except TrialStopped:
            self._actors[0].go_on.remote(False)
            ray.wait([self._first], timeout=STOP_PATIENCE_S)
            raise
        self._actors[0].go_on.remote(True)
        self._asked = self._actors[0].next_report.remote()

    def _dead(self, found: int) -> str:
        """Names the rank that was found dead and those that died with it."""
        import ray

        dead = [found]
        until_s = time.monotonic() + LOSS_PATIENCE_S
        for reference, rank in self._running.items():
            try:
                ray.get(reference, timeout=max(0.0, until_s - time.monotonic()))
            except _lost():
                dead.append(rank)
            except ray.exceptions.RayError:  # it goes on, or ended in another way
                continue
        *others, last = map(str, sorted(dead))
        return f"ranks {', '.join(others)} and {last}" if others else f"rank {last}"

    def _ended(self, reference: Any, rank: int) -> None:
        import ray

        ranks = len(self._actors)
        try:
            end: RankEnd = ray.get(reference)
        except _lost() as error:
            raise RankLost(_how(f"{self._dead(rank)} of {ranks} died", error)) from None
        except ray.exceptions.RayError as error:
            raise RankFailed(failure_of(error), str(error)) from None
        self._ends[rank] = end
        if end.superseded is not None:
            raise Superseded(end.superseded)
        if end.told is not None:
            raise ToldToLeave(end.told)
        if end.failure is not None:
            cause = f"rank {rank} of {ranks}: {end.failure.cause}"
            failed = RankFailed(msgspec.structs.replace(end.failure, cause=cause), end.trace)
            if not end.cut_off:
                raise failed
            if self._cut_off is None:
                self._cut_off = failed
                self._cut_off_until_s = time.monotonic() + CUT_OFF_PATIENCE_S
        elif end.ran is None:
            raise TrialStopped
