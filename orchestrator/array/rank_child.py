"""A rank in a process of its own, whose reports pass through the process that started it."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from orchestrator.engine.job import Job
from orchestrator.engine.rank_actor import RankActor, RankEnd
from orchestrator.records import Failure
from workloads.contract import Reporter, TrialStopped

STOP_PATIENCE_S = 10.0
"""How long a rank that is stopped at a report has to let go of its files."""


class RankChild:
    """The process of one rank of one job."""

    def __init__(self, job: Job, rank: int, variables: Mapping[str, str]) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._told, telling = spawn.Pipe()
        # no daemon, which could have no children, as those of a data loader
        self._process = spawn.Process(target=_run, args=(telling, job, rank, dict(variables)))
        self._process.start()
        telling.close()
        self._end: RankEnd | None = None

    def ended(self) -> RankEnd | None:
        """How the rank ended; None while it runs. `node_lost` for one that died without a word."""
        return self._end

    def relay(self, report: Reporter | None, patience_s: float) -> None:
        """Waits so long for the rank to report or to end; a report is passed on and answered.

        Raises what `report` raises; the rank has been told to stop then.
        """
        if self._end is not None:
            return
        ready = wait([self._told, self._process.sentinel], timeout=patience_s)
        if self._told in ready or self._told.poll():
            self._take(report)
        elif ready:
            self._process.join()
            code = self._process.exitcode
            self._end = RankEnd(failure=Failure("node_lost", f"its process ended with {code}"))

    def end(self) -> None:
        """Ends the process, whatever it does."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._told.close()

    def _take(self, report: Reporter | None) -> None:
        try:
            told = self._told.recv()
        except (EOFError, OSError):  # its end tells
            self._process.join(STOP_PATIENCE_S)
            if not self._process.is_alive():
                code = self._process.exitcode
                self._end = RankEnd(failure=Failure("node_lost", f"its process ended with {code}"))
            return
        if isinstance(told, RankEnd):
            self._end = told
            return
        try:
            if report is not None:
                report(*told)
        except TrialStopped:
            self._answer(False)
            self._process.join(STOP_PATIENCE_S)
            raise
        self._answer(True)

    def _answer(self, go_on: bool) -> None:
        with suppress(OSError):  # it has died meanwhile: its end tells
            self._told.send(go_on)


def _run(telling: Connection, job: Job, rank: int, variables: Mapping[str, str]) -> None:
    """In the rank's process. SLURM's signals reach it too, and are the task's to answer."""
    from cluster.slurm.environment import on_notice
    from orchestrator.engine import notice

    on_notice(notice.give)
    actor = RankActor()

    def pass_on() -> None:
        while (told := actor.next_report()) is not None:
            telling.send(told)
            actor.go_on(telling.recv())

    passing = threading.Thread(target=pass_on, name="orrery-reports", daemon=True)
    passing.start()
    end = actor.run(job, rank, variables)
    passing.join(STOP_PATIENCE_S)
    telling.send(end)
