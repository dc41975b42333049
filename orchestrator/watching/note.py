"""The note of a study's MLflow run while there is no verdict: the same summary, as Markdown."""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType

from orchestrator.planning import Plan, PlannedTrial
from orchestrator.verdict.numbers import decimals, shown, signed
from orchestrator.verdict.rule import Rule
from orchestrator.watching.arms import NOT_A_VERDICT, ArmSoFar, arms_so_far
from orchestrator.watching.notices import trial_notice

logger = logging.getLogger(__name__)

EVERY_S = 30.0
MOST_ARMS = 50
MOST_ALERTS = 10


def so_far(
    rule: Rule | None,
    items: Sequence[PlannedTrial],
    news: Iterable[str] = (),
    as_of: datetime | None = None,
) -> list[str]:
    """Paragraphs of Markdown: arms so far and alerts; `news` are alerts of trials that run.

    Without `as_of` they follow from the items alone, so that they can be told again.
    """
    parts = []
    arms = arms_so_far(rule, items)
    if rule is not None and any(arm.done for arm in arms):
        when = f", {as_of:%Y-%m-%d %H:%M} UTC" if as_of else ""
        parts.append(f"**Arms so far** ({NOT_A_VERDICT}{when})")
        parts.append(_table(rule, arms))
    failed = {i.trial.identity: n.text for i in items if (n := trial_notice(i)) is not None}
    alerts = [*news, *failed.values()]
    if alerts:
        listed = [f"- {' '.join(text.split())}" for text in alerts[:MOST_ALERTS]]
        if (more := len(alerts) - MOST_ALERTS) > 0:
            listed.append(f"- … and {more} more")
        parts.append("**Alerts**\n\n" + "\n".join(listed))
    return parts


def _table(rule: Rule, arms: Sequence[ArmSoFar]) -> str:
    places = decimals([(band.at_least, band.name) for band in rule.bands])
    lines = [
        f"| arm | done | failed | mean {rule.metric} | against {rule.comparator} |",
        "|---|---|---|---|---|",
    ]
    for arm in arms[:MOST_ARMS]:
        role = " (control)" if arm.role == "control" else ""
        tick = f" ✓ {NOT_A_VERDICT}" if arm.ahead else ""
        compared = "comparator" if arm.arm == rule.comparator else signed(arm.difference, places)
        name = arm.arm.replace("|", "\\|")
        lines.append(
            f"| {name}{role} | {arm.done}/{arm.planned} | {arm.failed} | {shown(arm.mean, places)} "
            f"| {compared}{tick} |"
        )
    if (more := len(arms) - MOST_ARMS) > 0:
        lines.append(f"| … and {more} more | | | | |")
    return "\n".join(lines)


class LiveNote:
    """Tells how a study goes while the block runs: every `every_s` if something changed, and when
    `tell_now` says so.

    `tell(plan, news, as_of)` gets the plan as it stands. It is called from a thread of its own,
    never twice at a time; what it raises is logged and disturbs nothing.
    """

    def __init__(
        self,
        plan: Plan,
        tell: Callable[[Plan, Sequence[str], datetime], object],
        every_s: float = EVERY_S,
    ) -> None:
        self._plan, self._tell, self._every_s = plan, tell, every_s
        self._lock = threading.Lock()
        self._items = list(plan.trials)
        self._places: dict[str, list[int]] = {}
        for place, item in enumerate(self._items):
            self._places.setdefault(item.trial.identity, []).append(place)
        self._news: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._changed = False
        self._due, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="orrery-note", daemon=True)

    def __enter__(self) -> LiveNote:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._due.set()
        self._thread.join()

    def update(self, item: PlannedTrial) -> None:
        """A trial is in another state, with what its files say now."""
        with self._lock:
            places = self._places.get(item.trial.identity)
            if places is None:  # a search has proposed it
                self._places[item.trial.identity] = [len(self._items)]
                self._items.append(item)
            for place in places or ():
                known = self._items[place]
                self._items[place] = dataclasses.replace(
                    known, record=item.record, state=item.state
                )
            self._changed = True

    def reported(
        self, identity: str, where: str, step: int, metrics: Mapping[str, float | None]
    ) -> None:
        """Looks for NaN and infinities in what a running trial reports."""
        for name, value in metrics.items():
            if value is None or math.isfinite(value) or (identity, name) in self._news:
                continue
            with self._lock:
                self._news[identity, name] = f"{where}: {name} is {value} at step {step}"
                while len(self._news) > MOST_ALERTS:
                    self._news.popitem(last=False)
                self._changed = True

    def tell_now(self) -> None:
        """Tells without waiting for the time, if something changed; returns at once."""
        self._due.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._due.wait(self._every_s)
            self._due.clear()
            if not self._stop.is_set():
                self._tell_changes()

    def _tell_changes(self) -> None:
        with self._lock:
            if not self._changed:
                return
            self._changed = False
            items, news = tuple(self._items), tuple(self._news.values())
        try:
            plan = dataclasses.replace(self._plan, trials=items)
            self._tell(plan, news, datetime.now(UTC))
        except Exception as error:
            logger.warning("the note of the study was not refreshed: %s", error)
