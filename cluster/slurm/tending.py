"""Keeps a study's fleet of pilots: asks for more, replaces the lost, lets the idle go."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from cluster.contract import ClusterError, ClusterRequest
from cluster.node import LABEL
from cluster.slurm.commands import Slurm, SlurmError
from cluster.slurm.fleet import Falls, Pilot, decide
from cluster.slurm.limits import signal_s
from cluster.slurm.pilot import run_pilot
from cluster.slurm.pilot_node import SAID
from cluster.slurm.pilot_size import PilotSize, pilots_for
from cluster.slurm.queue import JobView, look
from cluster.slurm.records import JobRecord, JobRecords
from cluster.slurm.silence import Silence
from cluster.slurm.submission import Submission, submit
from cluster.sources import Sources

_LINES_TOLD = 3


class Tending:
    """One study's pilots. `step` is called every few seconds, by one thread at a time."""

    def __init__(
        self,
        slurm: Slurm,
        request: ClusterRequest,
        size: PilotSize,
        sources: Sources,
        address: str,
        token: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slurm, self._request, self._size = slurm, request, size
        self._sources, self._address, self._token = sources, address, token
        self._clock = clock
        self._records = JobRecords(request.folder)
        self._sent: dict[str, JobRecord] = {}
        self._falls = Falls()
        self._silence = Silence(request.tell, clock)
        self._told = ""
        self._refused = ""
        self.pilots: list[Pilot] = []
        self.needed = request.trials

    def step(self) -> None:
        """Looks once at queue and Ray, and acts. Raises `ClusterError` when pilots can't be had."""
        self._look()
        now_s = self._clock()
        at_work = any(pilot.node for pilot in self.pilots)
        if self._falls.too_many() and not at_work:
            raise ClusterError(self._cause())
        wanted = pilots_for(self.needed, self._size, self._request)
        decision = decide(wanted, self.pilots, now_s)
        if decision.cancel:
            self._cancel(decision.cancel)
        if decision.submit and not self._falls.pausing(now_s):
            self._submit(decision.submit, at_work)
        self._tell_of_queue()

    def joined(self) -> list[Pilot]:
        """Those whose node is there."""
        return [pilot for pilot in self.pilots if pilot.node]

    def let_all_go(self, patience_s: float) -> None:
        """Cancels every pilot and waits until none runs, at most so long: trials on them save."""
        there = [pilot.id for pilot in self.pilots if pilot.state != "ended"]
        if not there:
            return
        deadline = self._clock() + patience_s
        self._cancel(there)
        while self._clock() < deadline:
            time.sleep(0.5)
            self._look()
            if all(p.state == "ended" for p in self.pilots) or not self._still_there():
                break
        for pilot in self.pilots:
            self._note_end(pilot)

    # -- looking --------------------------------------------------------------------------------

    def _look(self) -> None:
        views = look(self._slurm, [p.id for p in self.pilots if p.state != "ended"])
        self._silence.looked(views.values())
        nodes = _nodes()
        now_s = self._clock()
        for pilot in self.pilots:
            node, busy = nodes.get(pilot.id, (None, False))
            if pilot.saw_node(node, busy, now_s):
                self._falls.joined()
                self._request.tell(f"pilot {pilot.id} joined on {node}")
            before = pilot.state
            if pilot.id in views:
                pilot.saw_job(views[pilot.id])
            if pilot.state != before:
                self._changed(pilot, before)

    def _changed(self, pilot: Pilot, before: str) -> None:
        view = pilot.view
        assert view is not None
        if pilot.state == "ended":
            self._falls.ended(pilot, self._clock())
            self._note_end(pilot)
            if not pilot.let_go:
                self._request.tell(f"pilot {pilot.id} ended{_how(view)}")
        elif before == "running" and pilot.state == "queued" and not pilot.let_go:
            self._request.tell(f"pilot {pilot.id} was taken away and waits again: {_waits(view)}")

    def _note_end(self, pilot: Pilot) -> None:
        said = pilot.view.said if pilot.view else ""
        self._records.end(pilot.id, said, self._sent[pilot.id].cluster)

    def _still_there(self) -> bool:
        return any(pilot.node or pilot.state == "running" for pilot in self.pilots)

    def _tell_of_queue(self) -> None:
        """What those that wait are told, whenever that changes."""
        waiting: dict[str, list[str]] = defaultdict(list)
        for pilot in self.pilots:
            if pilot.state == "queued" and pilot.view is not None and not pilot.let_go:
                waiting[_waits(pilot.view)].append(pilot.id)
        lines = [
            f"pilot {ids[0]} waits: {why}"
            if len(ids) == 1
            else f"{len(ids)} pilots ({ids[0]} … {ids[-1]}) wait: {why}"
            for why, ids in waiting.items()
        ]
        told = "; ".join(lines)
        if told != self._told and told:
            self._request.tell(told)
        self._told = told

    # -- acting ---------------------------------------------------------------------------------

    def _cancel(self, ids: Iterable[str]) -> None:
        chosen = set(ids)
        try:
            self._slurm.cancel(chosen)
        except SlurmError as error:
            self._complain(f"pilots cannot be cancelled: {error}")
            return
        for pilot in self.pilots:
            pilot.let_go = pilot.let_go or pilot.id in chosen

    def _submit(self, count: int, at_work: bool) -> None:
        request = self._request
        submission = pilot_submission(
            request, self._size, self._sources, self._address, self._token, count
        )
        try:
            records = submit(self._slurm, submission, self._records)
        except SlurmError as error:
            queued = any(pilot.state != "ended" for pilot in self.pilots)
            if not (at_work or error.is_transient or (error.says_queue_full and queued)):
                raise
            self._complain(f"no more pilots for now: {error}")
            return
        self._refused = ""
        for record in records:
            self._sent[record.id] = record
            self.pilots.append(Pilot(record.id))
        if records:
            jobs = "1 pilot" if len(records) == 1 else f"{len(records)} pilots"
            request.tell(f"submitted {jobs}: {', '.join(record.id for record in records)}")

    def _complain(self, line: str) -> None:
        """Says what SLURM refuses, once."""
        if line != self._refused:
            self._request.tell(line)
        self._refused = line

    # -- why pilots can't be had -----------------------------------------------------------------

    def _cause(self) -> str:
        """One line for pilots that ended without having joined, with the end of the last's log."""
        fallen = self._falls.in_a_row
        last = fallen[-1]
        where = last.view.node if last.view and last.view.node else "their nodes"
        count = f"{len(fallen)} pilots in a row ended without having joined"
        log = self._request.folder / self._sent[last.id].log()
        lines = _own_lines(log)
        if lines is None:
            return (
                f"{count}, and without a log: {where} did not find the folder '{log.parent}', so "
                f"the home '{self._request.home}' is not on a file system that is shared with the "
                "nodes. Set ORRERY_HOME (or --home) to a folder that all of them see."
            )
        how = _how(last.view) if last.view else ""
        return f"{count}; the last{how} on {where}: {lines or 'it said nothing'} ({log})"


def pilot_submission(
    request: ClusterRequest,
    size: PilotSize,
    sources: Sources,
    address: str,
    token: Path,
    count: int,
) -> Submission:
    """So many pilots for the head at `address`: what `orrery plan` previews, too."""
    said = {
        "address": address,
        "token": str(token),
        "cpus": size.cpus,
        "gpus": size.gpus,
        "memory_gib": size.memory_gib,
        "folder": str(request.folder / "head"),
        "slow_network": request.slurm.slow_network,
        "notice_s": signal_s(request.slurm),
    }
    return Submission(
        kind="pilot",
        name=request.study,
        function=run_pilot,
        arguments=[said] * count,
        settings=request.slurm,
        folder=request.folder,
        cpus=size.cpus,
        gpus=size.gpus,
        memory_gib=size.job_memory_gib,
        sources=sources,
        address=address,
    )


def _nodes() -> dict[str, tuple[str, bool]]:
    """By pilot: the host name of its living node, and whether something runs there."""
    import ray

    free = ray._private.state.available_resources_per_node()
    found = {}
    for node in ray.nodes():
        pilot = node.get("Labels", {}).get(LABEL)
        if pilot and node["Alive"]:
            has, left = node["Resources"], free.get(node["NodeID"], {})
            busy = any(left.get(k, 0.0) < has.get(k, 0.0) - 1e-6 for k in ("CPU", "GPU"))
            found[pilot] = (node["NodeManagerHostname"], busy)
    return found


def _waits(view: JobView) -> str:
    return view.said + (f" ({view.why})" if view.why not in ("", "None") else "")


def _how(view: JobView) -> str:
    how = view.ended_as or view.said.lower()
    return f" ({how.replace('_', ' ')})" if how else ""


def _own_lines(log: Path) -> str | None:
    """What a pilot said itself, else the last lines of its log; None: there is no log."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return None
    own = [line.removeprefix(SAID) for line in lines if line.startswith(SAID)]
    plain = [line.strip() for line in lines if line.strip() and not re.match(r"submitit ", line)]
    return own[-1] if own else "; ".join(plain[-_LINES_TOLD:])
