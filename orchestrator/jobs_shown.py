"""A study's open jobs as its cluster tells of them: one question to the queue for all of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.slurm.records import Job, JobRecord, JobRecords
from orchestrator.driving import driver_at
from orchestrator.queue_views import queue_views

if TYPE_CHECKING:
    from cluster.slurm.queue import JobView

LOOK_EVERY_S = 15.0
"""How often the queue is asked while somebody watches."""
FIRST_PATIENCE_S = 5.0
"""How long the first look is waited for."""
_SLURM_KINDS = ("pilot", "array", "head")
_NODES_SHOWN = 4


@dataclass(frozen=True)
class JobShown:
    """A job that nobody has seen end. `states` counts its tasks; a job that is no array has one.

    "unknown": the queue did not answer, or says nothing of it. Never taken for an end.
    """

    kind: str
    id: str
    states: Mapping[str, int]
    said: str
    """The queue's word for most of its tasks, with its reason, e.g. `PENDING (Resources)`."""
    nodes: tuple[str, ...]
    """Where it runs, each node once."""
    submitted_at_s: float
    host: str
    """Where it was submitted."""
    note: str = ""
    cluster: str = ""
    """The name of the SLURM that has it; empty where that is not told."""

    @property
    def goes_on_alone(self) -> bool:
        """Whether the study goes on with it when no driver is there. Pilots leave then."""
        return self.kind != "pilot"

    @property
    def text(self) -> str:
        """One line: `array 17: 38 running, 1962 queued: PENDING (Priority), on n1, n2`."""
        tasks = sum(self.states.values())
        if tasks == 1:
            how = next(iter(self.states))
        else:
            how = ", ".join(f"{count} {state}" for state, count in self.states.items())
        where = ", ".join(self.nodes[:_NODES_SHOWN])
        if len(self.nodes) > _NODES_SHOWN:
            where += f" and {len(self.nodes) - _NODES_SHOWN} more"
        parts = [how + (f": {self.said}" if self.said else "")]
        parts += [f"on {where}"] if where else []
        return f"{self.kind} {self.id}: {', '.join(parts)}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def jobs_of(study_folder: Path) -> tuple[JobShown, ...]:
    """The jobs of a study that have not ended, oldest first.

    The queue is asked only if there are any. Those that it says have ended are recorded so, and
    left out.
    """
    records = JobRecords(study_folder)
    found = records.open()
    if not found:
        return ()
    views = _views([record for record in found if record.kind in _SLURM_KINDS])
    shown = []
    for record in found:
        if record.kind == "ray-job":
            job = _ray_job(record)
        else:
            job = _slurm_job(record, [views[job] for job in record.jobs if job in views])
        if set(job.states) == {"ended"}:
            with suppress(OSError):  # a home that we may only read
                records.end(record.id, job.said, record.cluster)
        else:
            shown.append(job)
    return tuple(shown)


class JobsWatch:
    """Looks at a study's jobs now and then, in a thread: a queue that hangs holds nobody up."""

    def __init__(self, study_folder: Path) -> None:
        self._folder = study_folder
        self._last: tuple[JobShown, ...] = ()
        self._looked_at: float | None = None
        self._thread: threading.Thread | None = None

    def look(self, *, now: bool = False) -> tuple[JobShown, ...]:
        """What the last look has found. `now`: looks, and waits for it."""
        if now:
            self._look()
            return self._last
        busy = self._thread is not None and self._thread.is_alive()
        due = self._looked_at is None or time.monotonic() - self._looked_at >= LOOK_EVERY_S
        first = self._looked_at is None
        if due and not busy:
            self._looked_at = time.monotonic()
            self._thread = threading.Thread(target=self._look, name="orrery-jobs", daemon=True)
            self._thread.start()
            if first:
                self._thread.join(FIRST_PATIENCE_S)
        return self._last

    def _look(self) -> None:
        self._last = jobs_of(self._folder)


class Workers:
    """Whether anybody works on one of some studies, or may yet: a driver, or a job."""

    def __init__(self, study_folders: Iterable[Path]) -> None:
        self._folders = tuple(study_folders)
        self._jobs = 0
        self._looked_at: float | None = None

    def there(self) -> bool:
        """The queue is asked at most every `LOOK_EVERY_S`, and only if nobody drives them."""
        if any(driver_at(folder) is not None for folder in self._folders):
            return True
        due = self._looked_at is None or time.monotonic() - self._looked_at >= LOOK_EVERY_S
        if due:
            self._looked_at = time.monotonic()
            self._jobs = sum(len(jobs_of(folder)) for folder in self._folders)
        return self._jobs > 0


def _views(records: Sequence[JobRecord]) -> Mapping[Job, JobView]:
    """What SLURM says; "unknown" where it is not to be had from here."""
    return queue_views(job for record in records for job in record.jobs)


def _slurm_job(record: JobRecord, views: Sequence[JobView]) -> JobShown:
    states = Counter(view.state for view in views)
    words = Counter(
        f"{view.said} ({view.why})" if view.why not in ("", "None") else view.said
        for view in views
        if view.said and (view.state == "queued" or "queued" not in states)
    )
    foreign = next((view.why for view in views if view.foreign), "")
    return _shown(
        record,
        {
            state: states[state]
            for state in ("running", "queued", "unknown", "ended")
            if states[state]
        },
        words.most_common(1)[0][0] if words else foreign,
        tuple(dict.fromkeys(v.node for v in views if v.node and v.state == "running")),
    )


def _ray_job(record: JobRecord) -> JobShown:
    from cluster.contract import ClusterError
    from cluster.ray_jobs import RayJobs

    try:
        job = RayJobs(record.address or "").job(record.id)
    except ClusterError:
        return _shown(record, {}, "", ())
    state = "ended" if job.ended else {"PENDING": "queued"}.get(job.status, "running")
    return _shown(record, {state: 1}, job.status, ())


def _shown(
    record: JobRecord, states: Mapping[str, int], said: str, nodes: tuple[str, ...]
) -> JobShown:
    return JobShown(
        kind=record.kind,
        id=record.id,
        states=states or {"unknown": record.tasks},
        said=said,
        nodes=nodes,
        submitted_at_s=record.submitted_at_s,
        host=record.host,
        note=record.note,
        cluster=record.cluster,
    )
