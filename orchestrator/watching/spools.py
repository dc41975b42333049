"""What running trials say: their spools, read from where the last look ended."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.attempts import Attempt
from orchestrator.planning import PlannedTrial
from orchestrator.watching.frame import Growth, RunningTrial
from telemetry.analytics import TrainingAnalytics
from telemetry.events import Event, Mark, Metrics
from telemetry.parquet import events_in_order
from telemetry.spool import SpoolReader, spools_of
from telemetry.system_metrics import CPU_PERCENT, MEMORY_MIB

AT_ONCE_BYTES = 16 * 1024 * 1024
"""Of one spool in one look: a watcher that comes late catches up over several."""
LOSSES = ("train/loss", "loss")
EVALUATIONS = ("eval/accuracy", "eval/f1", "eval/loss")
RECENT_ACTIONS = 5


@dataclass
class TrialSpools:
    """The spools of one trial, every attempt and rank, and what analytics make of them."""

    folder: Path
    analytics: TrainingAnalytics = field(default_factory=TrainingAnalytics)
    _readers: OrderedDict[Path, SpoolReader] = field(default_factory=OrderedDict)
    _system: dict[int, dict[str, float]] = field(default_factory=dict)
    """Rank -> its newest system metrics."""
    _unclosed: dict[Path, Event] = field(default_factory=dict)
    """The newest event of each spool that may hold more."""

    @property
    def unreadable(self) -> int:
        """Lines that were no event: torn by a death, or of a newer version."""
        return sum(reader.unreadable for reader in self._readers.values())

    def read(self) -> bool:
        """Takes in what is new. Opens no spool that has not grown. True if there was something."""
        found = False
        for spool in spools_of(self.folder):
            reader = self._readers.get(spool.path)
            if reader is None:
                reader = self._readers[spool.path] = SpoolReader(spool.path)
            if not reader.behind():
                continue
            before = reader.offset
            for event in reader.read(AT_ONCE_BYTES):
                self._take(event)
                self._unclosed[spool.path] = event
                if isinstance(event.payload, Mark) and event.payload.name == "closed":
                    del self._unclosed[spool.path]
            found = found or reader.offset > before
        return found

    def read_all(self) -> None:
        """Takes in all there is; a torn last line stays."""
        while self.read():
            pass

    def read_rest(self) -> None:
        """Takes in what a trial that ended said last: from its spools, or from the file of its
        events where a spool was archived and removed since the last look. Raises `OSError`."""
        self.read_all()
        cut = {
            (last.attempt, last.rank): last.seq
            for path, last in self._unclosed.items()
            if not path.exists()
        }
        if not cut:
            return
        for event in events_in_order(self.folder):
            if event.seq > cut.get((event.attempt, event.rank), event.seq):
                self._take(event)

    def _take(self, event: Event) -> None:
        if event.attempt > self.analytics.ranks.attempt:
            self._system.clear()
        self.analytics.feed(event)
        if isinstance(event.payload, Metrics):
            for key in (CPU_PERCENT, MEMORY_MIB):
                if (value := event.payload.values.get(key)) is not None:
                    self._system.setdefault(event.rank, {})[key] = value

    def system(self, key: str) -> float | None:
        """A system metric summed over the ranks that tell it; None if none does."""
        known = [values[key] for values in self._system.values() if key in values]
        return sum(known) if known else None


def running_trial(
    item: PlannedTrial, attempt: Attempt | None, spools: TrialSpools, metric: str | None
) -> RunningTrial:
    """A running trial as it stands; `metric` is the verdict's."""
    seen = spools.analytics
    loss = _first(seen, LOSSES, "train/")
    wanted = (f"eval/{metric}", *EVALUATIONS) if metric else EVALUATIONS
    evaluated = _first(seen, wanted, "eval/")
    slowest = seen.ranks.slowest()
    claim = attempt.claim() if attempt else None
    return RunningTrial(
        identity=item.trial.identity,
        arm=item.trial.arm,
        seed=item.trial.seed,
        attempt=attempt.number if attempt else 0,
        step=seen.step,
        epoch=seen.epoch,
        running_s=max(0.0, time.time() - claim.claimed_at_s) if claim else None,
        loss_name=loss,
        loss=seen.latest(loss) if loss else None,
        loss_curve=tuple(seen.trajectory(loss)) if loss else (),
        eval_name=evaluated,
        eval=seen.latest(evaluated) if evaluated else None,
        ranks=max(1, seen.ranks.count),
        slowest_rank=slowest.rank if slowest else None,
        slowest_behind_steps=slowest.behind_steps if slowest else None,
        slowest_late_s=slowest.late_s if slowest else None,
        cpu_percent=spools.system(CPU_PERCENT),
        rss_mib=spools.system(MEMORY_MIB),
    )


def growth_of(item: PlannedTrial, seen: TrainingAnalytics, running: bool) -> Growth | None:
    """The research figures of a trial; None if it tells of neither slots nor a policy."""
    if not (seen.slots or seen.matrix or seen.policy.decisions):
        return None
    health = seen.training_health()
    return Growth(
        identity=item.trial.identity,
        arm=item.trial.arm,
        seed=item.trial.seed,
        running=running,
        slots=len(seen.slots),
        epoch=seen.epoch,
        max_epochs=seen.context.max_epochs,
        accuracy=seen.current_accuracy,
        accuracy_delta=seen.accuracy_delta(),
        baseline_source=seen.baseline_source,
        params_ratio=seen.params_ratio(),
        efficiency_ratio=seen.params_efficiency_ratio(),
        contributions=tuple(seen.seed_contributions().values()),
        measured_on=None if seen.matrix is None else seen.matrix.note,
        value_std=health.value_std,
        value_collapse=health.value_collapse,
        entropy=health.entropy,
        entropy_collapse=health.entropy_collapse,
        recent_actions=tuple(seen.policy.recent(RECENT_ACTIONS)),
        agreement_rate=seen.policy_vs_heuristic().agreement_rate,
    )


def _first(seen: TrainingAnalytics, wanted: tuple[str, ...], prefix: str) -> str | None:
    measured = seen.measured()
    known = [name for name in wanted if name in measured]
    return next(iter([*known, *(name for name in measured if name.startswith(prefix))]), None)
