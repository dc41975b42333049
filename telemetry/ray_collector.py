"""The collector as a Ray actor beside the driver, and the small things that talk to it."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from pathlib import Path
from typing import Any

from telemetry.collector import Collector, CollectorCounters, DrainReport
from telemetry.emitter import Wake
from telemetry.runs import StudyRun, TrialEnd, TrialRun
from telemetry.sinks.protocol import Sink

logger = logging.getLogger(__name__)

_TOLD = 1000
"""How many calls are remembered, to wait for them before a drain."""


class RayPush:
    """The `push` of an emitter in any process of the Ray cluster. It can be pickled.

    One push is under way at a time; one that comes meanwhile is left to the next, since wake-ups
    add up. Raises what the collector's death raises, which the emitter counts.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._pending: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_actor": self._actor, "_pending": None}

    def __call__(self, wake: Wake) -> bool:
        """Sends the wake-up; False if one is still under way."""
        import ray

        if self._pending is not None:
            done, _ = ray.wait([self._pending], timeout=0)
            if not done:
                return False
            pending, self._pending = self._pending, None
            ray.get(pending)
        self._pending = self._actor.push.remote(wake)
        return True


class CollectorClient:
    """The driver's side of a collector actor: the methods of `Collector`, none of which raises.

    Only `drain` and `counters` wait. If the actor is gone for good they say so, and `publish_study`
    brings the sink up to date from files.
    """

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self._told: list[Any] = []

    def new_push(self) -> RayPush:
        """A new `push` for an emitter."""
        return RayPush(self.actor)

    def register_trial(self, trial: TrialRun) -> None:
        """As `Collector.register_trial`."""
        self._tell("register_trial", trial)

    def finish_trial(self, identity: str, end: TrialEnd) -> None:
        """As `Collector.finish_trial`."""
        self._tell("finish_trial", identity, end)

    def update_study(self, study: StudyRun, artifacts: Path | None = None) -> None:
        """As `Collector.update_study`."""
        self._tell("update_study", study, None if artifacts is None else str(artifacts))

    def drain(self, timeout_s: float = 60.0) -> DrainReport:
        """As `Collector.drain`, over all that was told before."""
        import ray

        start = time.monotonic()
        try:
            self._settle(timeout_s)
            reference = self.actor.drain.remote(timeout_s)
            report: DrainReport = ray.get(reference, timeout=timeout_s + 30.0)
            return report
        except Exception as error:
            return DrainReport({"collector": f"gone: {error}"}, time.monotonic() - start)

    def counters(self) -> CollectorCounters | None:
        """As `Collector.counters`; None if the actor does not answer within five seconds."""
        import ray

        try:
            counters: CollectorCounters = ray.get(self.actor.counters.remote(), timeout=5.0)
            return counters
        except Exception:
            return None

    def stop(self) -> None:
        """Ends the actor. Files keep what was not published."""
        import ray

        with contextlib.suppress(Exception):
            ray.get(self.actor.stop.remote(), timeout=35.0)
        ray.kill(self.actor, no_restart=True)

    def _tell(self, method: str, *arguments: Any) -> None:
        try:
            self._told.append(getattr(self.actor, method).remote(*arguments))
            del self._told[:-_TOLD]
        except Exception as error:
            logger.warning("the collector can't be reached: %s", error)

    def _settle(self, timeout_s: float) -> None:
        """Waits until what was told has arrived: a threaded actor does not keep the order."""
        import ray

        if self._told:
            ray.wait(self._told, num_returns=len(self._told), timeout=timeout_s)
        self._told = []


def start_collector(
    sink: Sink,
    study: StudyRun,
    *,
    journal_folder: Path | str | None = None,
    nice: int = 19,
    **options: Any,
) -> CollectorClient:
    """Starts a collector for `study` on this node, which Ray restarts whenever it dies.

    `journal_folder` (default: the study's folder) keeps what the collector was told, for its
    restart. `options` are those of `Collector`. Ray must be initialised. The actor ends with this
    driver. Does not wait for the actor: it prepares the sink while the driver goes on.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    folder = journal_folder or study.folder
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for left_over in Path(folder).glob("collector-*.jsonl"):  # of a driver that was killed
            left_over.unlink(missing_ok=True)
        options.setdefault("journal", str(Path(folder, f"collector-{uuid.uuid4().hex[:8]}.jsonl")))
    beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = (
        ray.remote(Collector)
        .options(
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,
            max_concurrency=4,
            scheduling_strategy=beside,
        )
        .remote(sink, study, nice=nice, **options)
    )
    return CollectorClient(actor)
