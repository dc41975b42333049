"""Running a study: plan, subtract what is known, run the rest, publish, judge."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.array.refusal import refuse_array
from orchestrator.cancelling import Request, clear, request
from orchestrator.driver import Driver, Passed, proposals_open, without_repeats
from orchestrator.driving import driver_seat, follow
from orchestrator.errors import BusyError, UsageError
from orchestrator.evaluation.published import keep_figures
from orchestrator.plan_file import write_plan
from orchestrator.planning import CANCELLED_WHY, Plan, Selection
from orchestrator.publishing import (
    publish,
    refuse_place,
    state_of,
)
from orchestrator.reporting import StudyReport, report_study

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from cluster import Place
    from orchestrator.array.driver import ArrayDriver
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
    cancelled: bool = False
    """`orrery cancel` ended it."""
    measured: int = 0
    """Points that this run measured, failed ones included."""
    points_left: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Subjects that were given up, in words, and why."""

    @property
    def verdict(self) -> Verdict | None:
        return self.report.verdict

    @property
    def exit_code(self) -> int:
        """0 all trials and points done (or as many trials as were asked for), 1 some failed or
        were cancelled, 130 interrupted, or the study was cancelled."""
        if self.interrupted or self.cancelled:
            return 130
        failed = any(i.state == "failed" or i.why == CANCELLED_WHY for i in self.plan.trials)
        failed |= any(subject.failed for subject in self.plan.subjects)
        missing = not self.limited and any(i.action in ("run", "running") for i in self.plan.trials)
        missing |= bool(self.plan.open_subjects)
        return 1 if failed or missing else 0

    def _repr_html_(self) -> str:
        from orchestrator.notebook import run_html

        return run_html(self)

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
    place = place_of_run(on)
    refuse_array(study, place)
    console = console or _default_console()
    study.home.writable()
    study = dataclasses.replace(study, home=study.home.publishing_to(to))
    refuse_place(study.home)
    selection = Selection(tuple(only), limit, again, same_code, retry)
    passed = _all_passes(study, selection, place, console, request(study.folder))
    after = study.plan(without_repeats(selection))
    # what a search proposed, its plan did not know yet; nor which points would be measured
    if study.searching is not None or after.subjects:
        write_plan(study, after)
    report, left = StudyReport(study.folder / "report", None, ()), dict(passed.left)
    if not passed.interrupted:
        report = report_study(study, after)
        keep_figures(study, after)
        state = "cancelled" if passed.cancelled else state_of(after)
        published = publish(
            study, after, report.verdict, state, report.folder, findings=report.findings
        )
        left = left if published.busy else published.left
    return RunReport(
        study=study,
        plan=after,
        report=report,
        ran=passed.ran,
        interrupted=passed.interrupted,
        limited=limit is not None,
        cancelled=passed.cancelled,
        measured=passed.measured,
        points_left=passed.points_left,
        seconds=time.monotonic() - began,
        telemetry_left=left,
    )


def place_of_run(on: str) -> Place:
    """What `--on` names. Raises `UsageError`."""
    from cluster import place_named

    try:
        return place_named(on)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _all_passes(
    study: Study,
    selection: Selection,
    place: Place,
    console: Console,
    old_request: Request | None = None,
) -> Passed:
    """Passes until nothing is missing: another driver may have died or been interrupted, and a
    trial shared with another study may have been observed less widely than is asked here.

    `old_request` cancelled the study before this run was asked for, so this run takes it back.
    """
    ran, measured, before = 0, 0, None
    while True:
        passed = _pass(study, selection, place, console, old_request)
        ran += passed.ran
        measured += passed.measured
        if passed.interrupted or passed.cancelled or passed.full_disk:
            break
        if passed.followed:
            continue
        selection = without_repeats(selection)
        plan = study.plan(selection)
        points = sum(len(subject.missing) for subject in plan.open_subjects)
        missing = frozenset(item.trial.identity for item in plan.to_run), points
        # trials whose failure could not be recorded are as missing as before
        futile = missing == before if passed.ran or passed.measured else True
        before = missing
        if selection.limit is not None or not _left(plan, place) or futile or passed.points_left:
            break
    return dataclasses.replace(passed, ran=ran, measured=measured)


def _left(plan: Plan, place: Place) -> bool:
    """Whether a run on `place` has anything to do. A job array trains, and measures no points."""
    return bool(plan.to_run or (plan.open_subjects and place.kind != "slurm-array"))


def _pass(
    study: Study,
    selection: Selection,
    place: Place,
    console: Console,
    old_request: Request | None,
) -> Passed:
    plan = study.plan(selection)
    study.maker.check(item.trial for item in plan.to_run)
    write_plan(study, plan)
    for note in plan.notes:
        console.print(note, style="dim", highlight=False, markup=False)
    by_array = place.kind == "slurm-array"  # another place leaves to SLURM's queue what it has
    elsewhere = any(i.action == "running" and (by_array or i.job is None) for i in plan.trials)
    if by_array and (points := sum(len(subject.missing) for subject in plan.subjects)):
        console.print(
            f"{points} points of {len(plan.subjects)} models are not measured by a job array: once "
            f"it is through, orrery run {study.name} (--on local or slurm) does that",
            highlight=False,
            markup=False,
        )
    if not (_left(plan, place) or elsewhere or proposals_open(plan, selection)):
        return Passed()
    try:
        with driver_seat(study):
            # what was asked for since is obeyed, also if it comes in this very moment
            if old_request is not None and request(study.folder) == old_request:
                clear(study.folder)
            if selection.retry and plan.to_run:
                clear(study.folder, *(item.trial.identity for item in plan.to_run))
            passed = _driver(study, selection, place, console).carry_out(plan)
    except BusyError:
        interrupted = follow(study, console)
        ended = request(study.folder) not in (None, old_request)
        return Passed(interrupted=interrupted, followed=True, cancelled=ended and not interrupted)
    if passed.interrupted or passed.cancelled or request(study.folder) in (None, old_request):
        return passed
    # trials hear of a request by themselves, and may all have ended before their driver heard of it
    left = any(item.record.outcome is None for item in study.plan(selection).trials)
    return dataclasses.replace(passed, cancelled=left)


def _driver(
    study: Study, selection: Selection, place: Place, console: Console
) -> Driver | ArrayDriver:
    if place.kind == "slurm-array":
        from orchestrator.array.driver import ArrayDriver

        return ArrayDriver(study, selection, place, console)
    return Driver(study, selection, place, console)


def _default_console() -> Console:
    from rich.console import Console

    return Console(stderr=True)
