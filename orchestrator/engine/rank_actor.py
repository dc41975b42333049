"""One rank as a Ray actor: runs jobs, one after the other, in a process of its own."""

from __future__ import annotations

import importlib
import os
import queue
import socket
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.attempts import Superseded
from orchestrator.engine.failures import failure_of
from orchestrator.engine.job import Job, Ran, RankCheckpoints, run_as
from orchestrator.engine.output import captured
from orchestrator.engine.watching import passing_on
from orchestrator.leaving import ToldToLeave, Word
from orchestrator.records import Failure
from workloads.contract import TrialStopped
from workloads.training.rendezvous import (
    LOOPBACK,
    Rendezvous,
    environment,
    leave_group,
    let_go_of_groups,
)

Told = tuple[int, dict[str, float | None]]

_LINK_WORDS = ("gloo", "nccl", "connection closed by peer", "connection reset by peer")


@dataclass(frozen=True)
class RankEnd:
    """How a rank ended: with what it came to, with a failure, or told to stop or to leave.

    `cut_off`: the failure is that other ranks could not be reached, so one of them may know more.
    """

    ran: Ran | None = None
    failure: Failure | None = None
    trace: str = ""
    cut_off: bool = False
    superseded: str | None = None
    told: Word | None = None


class RankActor:
    """A rank's process. `run` works while the other methods are called beside it."""

    def __init__(self) -> None:
        self._rendezvous: Rendezvous | None = None
        self._reports: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def place(self) -> tuple[str, str]:
        """The node it runs on, and that node's address."""
        import ray

        importlib.import_module("torch.distributed")  # takes seconds: here all ranks do it at once
        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()

    def meet(self, address: str) -> int:
        """Makes ready for a job as rank 0: the port at `address` where its ranks meet."""
        self._reports, self._answers = queue.SimpleQueue(), queue.SimpleQueue()
        self._rendezvous = Rendezvous.host(address)
        return self._rendezvous.port

    def run(self, job: Job, rank: int, variables: Mapping[str, str]) -> RankEnd:
        """Runs a job as its rank `rank`. Raises nothing: errors of workloads may not travel."""
        checkpoints = RankCheckpoints(job.held, job.start, rank)
        reports = self._reports
        try:
            with (
                captured(job.held.folder, rank),
                environment(_with_interface(variables)),
                passing_on(job.held),
            ):
                ran = run_as(job, rank, checkpoints, _unheard if rank else self._report)
                leave_group()
            let_go_of_groups()
            return RankEnd(ran=ran)
        except Superseded as stop:
            return RankEnd(superseded=str(stop))
        except ToldToLeave as left:
            return RankEnd(told=left.word)
        except TrialStopped:
            return RankEnd()
        except BaseException as error:
            failure, cut_off = failure_of(error), _is_cut_off(error)
            if cut_off:
                failure = Failure("unknown", failure.cause)
            return RankEnd(failure=failure, trace=traceback.format_exc(), cut_off=cut_off)
        finally:
            reports.put(None)

    def next_report(self) -> Told | None:
        """Waits for rank 0's next report; None once it has ended."""
        return self._reports.get()

    def go_on(self, wanted: bool) -> None:
        """Answers the report that rank 0 waits at."""
        self._answers.put(wanted)

    def _report(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Called by the workload, in its own thread."""
        values = {name: None if v is None else float(v) for name, v in metrics.items()}
        self._reports.put((step, values))
        if not self._answers.get():
            raise TrialStopped


def _unheard(step: int, metrics: Mapping[str, float | None]) -> None:
    """What ranks other than 0 report: rank 0 says the same."""


def _with_interface(variables: Mapping[str, str]) -> dict[str, str]:
    """Names the interface by which this host reaches the first rank's, where that is another one:
    gloo would take what the host's name stands for, which is often the loopback address. What the
    user has set stays."""
    address = variables.get("MASTER_ADDR", LOOPBACK)
    known = "GLOO_SOCKET_IFNAME" in variables or "GLOO_SOCKET_IFNAME" in os.environ
    if address == LOOPBACK or known or sys.platform != "linux":
        return dict(variables)
    import psutil

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as way:
        way.connect((address, int(variables["MASTER_PORT"])))  # sends nothing
        own = way.getsockname()[0]
    names = [
        name
        for name, found in psutil.net_if_addrs().items()
        if any(one.address == own for one in found)
    ]
    found = [name for name in names if name != "lo"] or names
    extra = {"GLOO_SOCKET_IFNAME": found[0], "NCCL_SOCKET_IFNAME": found[0]} if found else {}
    return {**variables, **extra}


def _is_cut_off(error: BaseException) -> bool:
    """Whether it tells no more than that another rank did not answer."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and isinstance(error, distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(w in str(error).lower() for w in _LINK_WORDS)
