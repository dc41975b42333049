"""Running a study: plan, subtract what is known, run the rest, publish, judge."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.driver import Driver, Passed, proposals_open, without_repeats
from orchestrator.driving import driver_seat, follow
from orchestrator.errors import BusyError, UsageError, unknown
from orchestrator.plan_file import write_plan
from orchestrator.planning import Plan, Selection
from orchestrator.publishing import (
    publish,
    refuse_place,
    state_of,
)
from orchestrator.reporting import StudyReport, report_study

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from cluster import Cluster
    from orchestrator.study import Study
    from orchestrator.verdict import Verdict


@dataclass(frozen=True)
class RunReport:
    """What a run came to. `ran` counts the attempts that this run handed out and that ended."""

    study: Study
    plan: Plan
    report: StudyReport
    ran: int
    interrupted: bool
    limited: bool
    """Only so many trials were asked for (`limit`)."""
    seconds: float
    telemetry_left: Mapping[str, str]

    @property
    def verdict(self) -> Verdict | None:
        return self.report.verdict

    @property
    def exit_code(self) -> int:
        """0 all trials done (or as many as were asked for), 1 some failed, 130 interrupted."""
        if self.interrupted:
            return 130
        failed = any(item.state == "failed" for item in self.plan.trials)
        missing = not self.limited and any(i.action in ("run", "running") for i in self.plan.trials)
        return 1 if failed or missing else 0

    def table(self) -> pd.DataFrame:
        """As `Study.table`."""
        return self.study.table()


def run_study(
    study: Study,
    *,
    on: str = "local",
    only: Sequence[str] = (),
    limit: int | None = None,
    again: bool | Sequence[str] = False,
    same_code: bool = False,
    retry: bool = False,
    to: str | None = None,
    console: Console | None = None,
) -> RunReport:
    """Runs what is missing of a study. Ctrl-C leaves everything resumable.

    `to` is where its runs are published, as in `telemetry.sinks.SINK_URIS` (default:
    ``$ORRERY_TRACKING_URI``, else MLflow in the home). Raises `UsageError` before anything starts
    if the study cannot be run as asked.
    """
    began = time.monotonic()
    cluster = _cluster(on)
    console = console or _default_console()
    study.home.writable()
    study = dataclasses.replace(study, home=study.home.publishing_to(to))
    refuse_place(study.home)
    selection = Selection(tuple(only), limit, again, same_code, retry)
    passed = _all_passes(study, selection, cluster, console)
    after = study.plan(without_repeats(selection))
    if study.searching is not None:  # what it proposed, its plan did not know yet
        write_plan(study, after)
    report, left = StudyReport(study.folder / "report", None, ()), dict(passed.left)
    if not passed.interrupted:
        report = report_study(study, after)
        published = publish(study, after, report.verdict, state_of(after), report.folder)
        left = left if published.busy else published.left
    return RunReport(
        study=study,
        plan=after,
        report=report,
        ran=passed.ran,
        interrupted=passed.interrupted,
        limited=limit is not None,
        seconds=time.monotonic() - began,
        telemetry_left=left,
    )


def _cluster(on: str) -> Callable[[], Cluster]:
    from cluster import CLUSTERS

    if on not in CLUSTERS:
        raise UsageError(unknown("cluster", on, CLUSTERS))
    return CLUSTERS[on]


def _all_passes(
    study: Study, selection: Selection, cluster: Callable[[], Cluster], console: Console
) -> Passed:
    """Passes until nothing is missing: another driver may have died or been interrupted, and a
    trial shared with another study may have been observed less widely than is asked here."""
    ran, futile = 0, 0
    while True:
        passed = _pass(study, selection, cluster, console)
        ran += passed.ran
        if passed.interrupted:
            break
        if passed.followed:
            continue
        selection = without_repeats(selection)
        futile = 0 if passed.ran else futile + 1
        done = selection.limit is not None or not study.plan(selection).to_run
        if done or futile:
            break
    return dataclasses.replace(passed, ran=ran)


def _pass(
    study: Study, selection: Selection, cluster: Callable[[], Cluster], console: Console
) -> Passed:
    plan = study.plan(selection)
    study.maker.check(item.trial for item in plan.to_run)
    write_plan(study, plan)
    for note in plan.notes:
        console.print(note, style="dim", highlight=False, markup=False)
    elsewhere = any(item.action == "running" for item in plan.trials)
    if not (plan.to_run or elsewhere or proposals_open(plan, selection)):
        return Passed()
    try:
        with driver_seat(study):
            return Driver(study, selection, cluster(), console).carry_out(plan)
    except BusyError:
        return Passed(interrupted=follow(study, console), followed=True)


def _default_console() -> Console:
    from rich.console import Console

    return Console(stderr=True)
