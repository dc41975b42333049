"""How many pilots to have: which to ask for, which to let go, when to give up. Asks nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cluster.slurm.queue import JobState, JobView

IDLE_S: Final = 10.0
"""A pilot that nothing is left for goes after so long without work: trials end and begin."""
LOST_S: Final = 15.0
"""A pilot whose node is gone from Ray counts as lost after so long, whatever SLURM says of its job:
a node that is cut off is "running" there for minutes."""
FALLEN_IN_A_ROW: Final = 3
"""So many pilots that ended without having joined, one after the other, end the study."""
PAUSE_S: Final = 60.0
"""Where others are at work, pilots are asked for again after this."""


@dataclass
class Pilot:
    """A pilot's job, and what was seen of it so far. Times are seconds of a clock that only
    differences count of."""

    id: str
    state: JobState = "queued"
    view: JobView | None = None
    """SLURM's last word of it."""
    joined: bool = False
    """Whether its node has joined since the job last started."""
    node: str | None = None
    """Where its node is in Ray, by host name, while it is there."""
    gone_since_s: float | None = None
    idle_since_s: float | None = None
    """Since when nothing runs on its node; None: something does, or there is none."""
    let_go: bool = False
    """Whether we have cancelled it."""

    def saw_job(self, view: JobView) -> None:
        """What the queue says. "unknown" changes nothing."""
        if view.state == "unknown":
            return
        self.view, self.state = view, view.state
        if view.state == "queued":  # put back into the queue: it joins anew
            self.joined, self.gone_since_s = False, None

    def saw_node(self, node: str | None, busy: bool, now_s: float) -> bool:
        """What Ray says: its node, and whether it works. True if it has joined just now."""
        news = node is not None and self.node is None
        self.node = node
        if node is None:
            self.idle_since_s = None
            if self.joined and self.gone_since_s is None:
                self.gone_since_s = now_s
            return False
        self.joined, self.gone_since_s = True, None
        if busy:
            self.idle_since_s = None
        elif self.idle_since_s is None:
            self.idle_since_s = now_s
        return news

    def lost(self, now_s: float) -> bool:
        """Whether its node has gone and does not come back, though its job has not ended."""
        return self.gone_since_s is not None and now_s - self.gone_since_s >= LOST_S

    def counts(self, now_s: float) -> bool:
        """Whether it is there, or may yet come."""
        return self.state != "ended" and not self.let_go and not self.lost(now_s)


@dataclass(frozen=True)
class Decision:
    """What to do now."""

    submit: int = 0
    cancel: tuple[str, ...] = ()


def decide(wanted: int, pilots: Sequence[Pilot], now_s: float) -> Decision:
    """What brings the pilots there are closer to `wanted` of them.

    Too many: those that wait go first, the last one asked for before the others, then those that
    have been idle for a while; one at work is never sent away. A lost one is cancelled.
    """
    there = [pilot for pilot in pilots if pilot.counts(now_s)]
    lost = [p.id for p in pilots if p.lost(now_s) and not p.let_go and p.state != "ended"]
    if len(there) < wanted:
        return Decision(wanted - len(there), tuple(lost))
    waiting = [pilot for pilot in reversed(there) if pilot.state == "queued"]
    idle = [
        pilot
        for pilot in there
        if pilot.idle_since_s is not None and now_s - pilot.idle_since_s >= IDLE_S
    ]
    spare = [pilot.id for pilot in (*waiting, *idle)][: len(there) - wanted]
    return Decision(0, (*lost, *spare))


@dataclass
class Falls:
    """Pilots that came to nothing, one after the other."""

    in_a_row: list[Pilot] = field(default_factory=list)
    since_s: float = 0.0

    def joined(self) -> None:
        """One has joined: pilots can."""
        self.in_a_row.clear()

    def ended(self, pilot: Pilot, now_s: float) -> None:
        """One has ended. What SLURM took away, or we did, tells nothing of whether they can."""
        taken = pilot.view is not None and pilot.view.ended_as in (
            "preempted",
            "node_fail",
            "timeout",
        )
        if not (pilot.joined or pilot.let_go or taken):
            self.in_a_row.append(pilot)
            self.since_s = now_s

    def too_many(self) -> bool:
        return len(self.in_a_row) >= FALLEN_IN_A_ROW

    def pausing(self, now_s: float) -> bool:
        """Whether no more are asked for at the moment."""
        return self.too_many() and now_s - self.since_s < PAUSE_S
