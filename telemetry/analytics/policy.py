"""What a policy does, and how it differs from the heuristic that runs in its shadow."""

from __future__ import annotations

import statistics
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from telemetry.contracts import FactoredAction, PolicySnapshot

PARTS = ("op", "slot", "blueprint", "blend")
COMMONEST = 5


@dataclass(frozen=True)
class PolicyComparisonSummary:
    """A policy beside the shadow heuristic, over the decisions that are kept."""

    decisions: int
    compared: int
    """Decisions for which the heuristic's choice is known too."""
    agreement_rate: float | None
    """Share of the compared in which both chose the same, 0 to 1; None if none was compared."""
    differing_parts: dict[str, int]
    """How often which part of the action differed: op, slot, blueprint, blend."""
    commonest: tuple[tuple[str, str, int], ...]
    """(what the policy did, what the heuristic would have done, how often), the commonest first."""
    reward_agreeing: float | None
    """Mean total reward of decisions in which both chose the same."""
    reward_differing: float | None


class PolicyRecord:
    """The last decisions of a policy, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self.decisions: deque[PolicySnapshot] = deque(maxlen=limit)

    def compared(self) -> PolicyComparisonSummary:
        """See `PolicyComparisonSummary`."""
        differing: Counter[str] = Counter()
        pairs: Counter[tuple[str, str]] = Counter()
        rewards: dict[bool, list[float]] = {True: [], False: []}
        agreed = compared = 0
        for decision in self.decisions:
            mine, theirs = decision.action, decision.heuristic_action
            if mine is None or theirs is None:
                continue
            compared += 1
            agreed += mine == theirs
            parts = [part for part in PARTS if getattr(mine, part) != getattr(theirs, part)]
            differing.update(parts)
            if parts:
                pairs[_whole(mine), _whole(theirs)] += 1
            if decision.reward_total is not None:
                rewards[not parts].append(decision.reward_total)
        return PolicyComparisonSummary(
            decisions=len(self.decisions),
            compared=compared,
            agreement_rate=agreed / compared if compared else None,
            differing_parts=dict(differing),
            commonest=tuple((m, t, count) for (m, t), count in pairs.most_common(COMMONEST)),
            reward_agreeing=_mean(rewards[True]),
            reward_differing=_mean(rewards[False]),
        )

    def actions(self) -> dict[str, float]:
        """Share of each operation among the decisions whose action is known; empty if none is."""
        return _shares(d.action.op for d in self.decisions if d.action is not None)

    def recent(self, count: int) -> list[str]:
        """The last actions, the newest last: ``WAIT``, ``GERMINATE(mid)``."""
        known = [str(d.action) for d in self.decisions if d.action is not None]
        return known[-count:]

    def latest(self, field: str, count: int = 1) -> list[float]:
        """The last `count` measured values of a field, the newest last."""
        found: list[float] = []
        for decision in reversed(self.decisions):
            value = getattr(decision, field)
            if value is not None:
                found.append(value)
                if len(found) == count:
                    break
        return found[::-1]


def _whole(action: FactoredAction) -> str:
    parts = [part for part in (action.slot, action.blueprint, action.blend) if part is not None]
    return f"{action.op}({', '.join(parts)})" if parts else action.op


def _shares(names: Iterable[str]) -> dict[str, float]:
    counts = Counter(names)
    total = sum(counts.values())
    return {name: count / total for name, count in counts.most_common()}


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None
