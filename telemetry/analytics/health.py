"""Whether training goes well: losses, gradients, the policy, the ranks, the telemetry itself."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from telemetry.analytics.policy import PolicyRecord
from telemetry.analytics.ranks import RankClock
from telemetry.anomalies import (
    ENTROPY_COLLAPSE,
    GRADIENT_EXPLOSION,
    LEAST_GRADIENT_NORM,
    LOSS_SPIKE,
    VALUE_STD_WINDOW,
    RunningAverage,
    values_collapsed,
)
from telemetry.events import Mark

Level = Literal["info", "warning", "critical"]
LEVELS: tuple[Level, ...] = ("info", "warning", "critical")
Trend = Literal["falling", "flat", "rising"]

TREND_POINTS = 50
TREND_SHARE = 0.01
"""By how much the halves of the recent losses must differ to be called a trend."""
KEPT_ALERTS = 100
MOST_KEYS = 500
MONITORS = "health/"
"""How the names of what monitors of hidden states report begin."""
COLLAPSED, NONFINITE = f"{MONITORS}collapsed", f"{MONITORS}nonfinite"
SVD_RATIO = f"{MONITORS}svd_ratio"


@dataclass(frozen=True)
class Alert:
    """Something a person should look at. `kind` is stable, `text` is one line to read."""

    level: Level
    kind: str
    text: str
    step: int | None = None


@dataclass(frozen=True)
class HealthReport:
    """Aggregate indicators. None is "not measured"; a count of 0 was counted."""

    loss: float | None
    loss_average: float | None
    loss_trend: Trend | None
    """Second half of the recent losses against the first; None below eight losses."""
    nonfinite: int
    """Values that were NaN or infinite, over all ranks."""
    gradient_norm: float | None
    gradient_average: float | None
    value_std: float | None
    value_collapse: bool | None
    entropy: float | None
    entropy_collapse: bool | None
    silent_ranks: tuple[int, ...]
    thinned: int
    """Dense traces that were left out because too much waited for the disk."""
    held: int
    """Writes that the disk refused; the events were held and written later."""
    alerts: tuple[Alert, ...]

    @property
    def level(self) -> Level | None:
        """The worst level among the alerts; None without any."""
        return max((a.level for a in self.alerts), key=LEVELS.index, default=None)


class HealthMonitor:
    """Watches values as they come; a comparison is made before the average takes the value in."""

    def __init__(self) -> None:
        self._alerts: list[Alert] = []
        self._loss, self._gradient = RunningAverage(), RunningAverage()
        self._losses: deque[float] = deque(maxlen=TREND_POINTS)
        self._last_loss: float | None = None
        self._last_gradient: float | None = None
        self._nonfinite = 0
        self._nonfinite_keys: set[str] = set()
        self._monitored = {COLLAPSED: False, NONFINITE: False}
        """What monitors of hidden states last said."""
        self._thinned: dict[tuple[int, int], int] = {}
        self._held: dict[tuple[int, int], int] = {}

    def alert(self, level: Level, kind: str, text: str, step: int | None = None) -> None:
        """Notes an alert. Of more than a hundred the least grave goes, the oldest of its level."""
        self._alerts.append(Alert(level, kind, text, step))
        if len(self._alerts) > KEPT_ALERTS:
            levels = [LEVELS.index(alert.level) for alert in self._alerts]
            del self._alerts[levels.index(min(levels))]

    def values(self, values: Mapping[str, float | None], step: int | None, rank: int) -> None:
        """Looks for NaN and infinities: said once for each metric, counted every time. What
        monitors report is NaN where a hidden state is, which is said once for all of it."""
        self._structure(values, step)
        for key, value in values.items():
            if value is None or math.isfinite(value):
                continue
            self._nonfinite += 1
            if key.startswith(MONITORS):
                continue
            if key not in self._nonfinite_keys and len(self._nonfinite_keys) < MOST_KEYS:
                self._nonfinite_keys.add(key)
                where = f" on rank {rank}" if rank else ""
                self.alert("critical", "nonfinite", f"{key} is {value}{where}{_at(step)}", step)

    def _structure(self, values: Mapping[str, float | None], step: int | None) -> None:
        """Says when hidden states collapse or stop being finite; again once they had recovered."""
        began = []
        for key in (COLLAPSED, NONFINITE):
            if (value := values.get(key)) is not None:
                if value == 1 and not self._monitored[key]:
                    began.append(key)
                self._monitored[key] = value == 1
        if COLLAPSED in began:
            ratio = values.get(SVD_RATIO)
            told = "" if ratio is None else f" (SVD ratio {ratio:.3f})"
            text = f"hidden states collapse{told}{_at(step)}"
            self.alert("warning", "structural_collapse", text, step)
        if NONFINITE in began:
            text = f"hidden states are NaN or infinite{_at(step)}"
            self.alert("critical", "nonfinite_activations", text, step)

    def loss(self, value: float, step: int | None) -> None:
        """A training loss of rank 0."""
        self._last_loss = value
        times = self._loss.times(value)
        if math.isfinite(value):
            self._losses.append(value)
        if times is not None and times > LOSS_SPIKE:
            text = f"loss {value:.4g} is {times:.1f} times its average{_at(step)}"
            self.alert("warning", "loss_spike", text, step)

    def gradient_norm(self, name: str, value: float, step: int | None) -> None:
        """A gradient norm of the whole model, of rank 0."""
        self._last_gradient = value
        times = self._gradient.times(value, least=LEAST_GRADIENT_NORM)
        if times is not None and times > GRADIENT_EXPLOSION:
            text = f"{name} {value:.4g} is {times:.0f} times its average{_at(step)}"
            self.alert("critical", "gradient_explosion", text, step)

    def mark(self, attempt: int, rank: int, mark: Mark) -> None:
        """What an emitter says of events that it left out or held."""
        place = (attempt, rank)
        if mark.name == "thinned":
            self._thinned[place] = self._thinned.get(place, 0) + int(mark.facts.get("events", 0))
        elif mark.name == "closed":
            total = int(mark.facts.get("thinned", 0))
            self._thinned[place] = max(total, self._thinned.get(place, 0))
            self._held[place] = int(mark.facts.get("write_errors", 0))

    def report(self, policy: PolicyRecord, ranks: RankClock) -> HealthReport:
        """All indicators as they stand, with the alerts that were noted and those that hold now."""
        spreads = policy.latest("value_std", VALUE_STD_WINDOW)
        entropies = policy.latest("entropy")
        value_std = statistics.fmean(spreads) if spreads else None
        collapsed = values_collapsed(spreads)
        entropy = entropies[-1] if entropies else None
        decided = None if entropy is None else entropy < ENTROPY_COLLAPSE
        silent = ranks.silent()
        trend = self._trend()
        thinned, held = sum(self._thinned.values()), sum(self._held.values())
        now: list[Alert] = []
        if trend == "rising":
            text = f"the loss rises over the last {len(self._losses)} values"
            now.append(Alert("warning", "loss_trend", text))
        if collapsed:
            text = f"value collapse: the critic predicts the same everywhere (std {value_std:.3g})"
            now.append(Alert("warning", "value_collapse", text))
        if decided:
            text = f"entropy collapse: the policy became deterministic ({entropy:.3g} nats)"
            now.append(Alert("warning", "entropy_collapse", text))
        for one in silent:
            last = "has said nothing yet" if one.step is None else f"last spoke at step {one.step}"
            text = f"rank {one.rank} {last}, {one.behind_steps} steps behind"
            now.append(Alert("critical", "silent_rank", text, one.step))
        if thinned:
            text = f"{thinned} dense traces were left out: too much waited for the disk"
            now.append(Alert("warning", "thinned", text))
        if held:
            text = f"the disk refused {held} writes of telemetry; the events were held"
            now.append(Alert("info", "held", text))
        return HealthReport(
            loss=self._last_loss,
            loss_average=self._loss.value,
            loss_trend=trend,
            nonfinite=self._nonfinite,
            gradient_norm=self._last_gradient,
            gradient_average=self._gradient.value,
            value_std=value_std,
            value_collapse=collapsed,
            entropy=entropy,
            entropy_collapse=decided,
            silent_ranks=tuple(one.rank for one in silent),
            thinned=thinned,
            held=held,
            alerts=(*self._alerts, *now),
        )

    def _trend(self) -> Trend | None:
        """Of the recent losses, if there are enough of them for two halves that mean something."""
        if len(self._losses) < 8:
            return None
        losses = list(self._losses)
        half = len(losses) // 2
        first, second = statistics.fmean(losses[:half]), statistics.fmean(losses[half:])
        if abs(second - first) <= TREND_SHARE * max(abs(first), abs(second)):
            return "flat"
        return "falling" if second < first else "rising"


def _at(step: int | None) -> str:
    return "" if step is None else f" at step {step}"
