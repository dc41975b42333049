"""A study's report folder: verdict, tables, plots, pages, and the workload's own summary."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.alarms.result import StudyAlarms
from orchestrator.calibration.written import calibration_notes
from orchestrator.claims.result import StudyClaims
from orchestrator.curves.curve import StudyCurves
from orchestrator.effects.effect import StudyEffects
from orchestrator.endpoints.result import StudyEndpoints
from orchestrator.endpoints.views import endpoint_views
from orchestrator.findings import Findings, findings_of
from orchestrator.home import write_whole
from orchestrator.judging import arm_table, verdict_of
from orchestrator.planning import Plan, PlannedTrial
from orchestrator.report.sections import Section, ShownTable
from orchestrator.report_facts import study_info, trial_rows
from orchestrator.verdict import Verdict
from workloads.views import StudyView, SummaryTable, TrialView

if TYPE_CHECKING:
    from orchestrator.study import Study

REPORT_VERSION = 14
PAGE = "report.html"
"""In the study's folder: the page that `orrery report --html` writes of these results."""


@dataclass(frozen=True)
class Drawn:
    """What a page of the report is made from beside the verdict and the findings.

    Attributes:
        pictures: file names of the findings' pictures, by what they show.
        added: the workload's own sections; their pictures lie beside the others.
    """

    pictures: dict[str, str] = field(default_factory=dict)
    added: tuple[Section, ...] = ()

    def is_there(self, folder: Path) -> bool:
        """Whether a page can be made of it: somebody may have taken pictures away."""
        names = [name for section in self.added for _, name in section.pictures]
        return all((folder / name).is_file() for name in [*self.pictures.values(), *names])


@dataclass(frozen=True)
class StudyReport:
    """Where a study's report is, and its verdict; None for a study that states no rule."""

    folder: Path
    verdict: Verdict | None
    files: Sequence[Path]
    problems: Sequence[str] = ()
    """What could not be drawn, one line each."""
    findings: Findings = field(default_factory=Findings)
    """Effects, curves, alarms, claims, endpoints: of a study that asks for them."""
    drawn: Drawn = field(default_factory=Drawn)


def report_study(study: Study, plan: Plan) -> StudyReport:
    """Writes the report, unless the one that is there was made from the same results."""
    folder, stamp = study.folder / "report", _stamp(study, plan)
    saved = _saved(folder, stamp)
    if saved is not None:
        return saved
    findings = findings_of(study, plan)
    if study.file.verdict is None and not findings:
        return StudyReport(folder, None, ())
    verdict = verdict_of(study, plan) if study.file.verdict is not None else None
    study.folder.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".report-", dir=study.folder))
    try:
        problems, drawn = _write(study, plan, verdict, findings, fresh)
        kept = _Saved(
            stamp,
            verdict,
            problems,
            findings.effects,
            findings.curves,
            findings.alarms,
            findings.claims,
            findings.endpoints,
            findings.notes,
            findings.next_steps,
            drawn,
        )
        write_whole(fresh / "verdict.json", msgspec.json.encode(kept))
        fresh.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
        (study.folder / PAGE).unlink(missing_ok=True)  # of other results
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return StudyReport(folder, verdict, _files(folder), problems, findings, drawn)


def saved_report(study: Study, plan: Plan) -> StudyReport | None:
    """The report that is there, if it was made from these results."""
    return _saved(study.folder / "report", _stamp(study, plan))


def last_verdict(folder: Path) -> Verdict | None:
    """The verdict in a study's report folder, whatever results it was made from."""
    saved = _read(folder)
    return None if saved is None else saved.verdict


def last_findings(folder: Path) -> Findings:
    """The findings in a study's report folder, whatever results they were made from."""
    saved = _read(folder)
    return Findings() if saved is None else saved.findings


def trial_views(study: Study, items: Sequence[PlannedTrial]) -> list[TrialView]:
    """Trials as a workload's summary sees them."""
    views = []
    for item in items:
        outcome = item.record.outcome
        artifacts = study.home.trial(item.trial.identity)
        views.append(
            TrialView(
                identity=item.trial.identity,
                label=item.trial.label,
                arm=item.trial.arm,
                role=item.trial.role,
                seed=item.trial.seed,
                state=item.state,
                config=item.trial.config.model_dump(mode="json"),
                metrics=outcome.values() if outcome else {},
                flags=frozenset(outcome.flags) if outcome else frozenset(),
                artifacts=artifacts / outcome.artifacts if outcome and outcome.artifacts else None,
                seconds=outcome.finished_at_s - outcome.started_at_s if outcome else None,
            )
        )
    return views


def _write(
    study: Study, plan: Plan, verdict: Verdict | None, findings: Findings, folder: Path
) -> tuple[list[str], Drawn]:
    """Fills the folder; what could not be drawn, and what was."""
    from orchestrator.report import write_findings_report, write_report

    info, rows = study_info(study, plan), trial_rows(plan)
    problems: list[str] = []
    if verdict is None:
        view = _view_of_findings(study, plan, findings) if findings.answer else None

        sections: list[Section] = []

        def added(home: Path) -> Sequence[Section]:
            if view is not None:
                sections.extend(_summary(study, view, home, problems))
            return sections

        written = write_findings_report(findings, info, rows, folder, added)
        return problems, Drawn(dict(written.pictures), tuple(sections))
    view = StudyView(
        name=study.name,
        instance=study.instance,
        question=study.file.question,
        trials=trial_views(study, plan.trials),
        table=arm_table(study, verdict),
        answer=verdict.answer,
        state=verdict.state,
        best_arm=verdict.best.arm if verdict.best else None,
        gate_met=verdict.gate.met if verdict.gate else None,
        next_steps=verdict.next_steps,
        endpoints=endpoint_views(findings.endpoints),
    )
    section = _summary(study, view, folder, problems)
    report = write_report(verdict, info, rows, folder, findings, section)
    return problems, Drawn(dict(report.pictures), tuple(section))


def _view_of_findings(study: Study, plan: Plan, findings: Findings) -> StudyView:
    """A study without a rule as its workload sees it: its arms have no means, and its answer is
    that to the questions it states."""
    import pandas as pd

    from orchestrator.curves.views import curve_views
    from orchestrator.study_file import Fractions

    design, curves = study.file.design, findings.curves
    arms = dict.fromkeys((item.trial.arm, item.trial.role) for item in plan.trials)
    done = Counter(i.trial.arm for i in plan.trials if i.record.outcome is not None)
    rows = [{"arm": arm, "role": role, "n": done[arm]} for arm, role in arms]
    seen = curve_views(design, curves) if curves and isinstance(design, Fractions) else ()
    return StudyView(
        name=study.name,
        instance=study.instance,
        question=study.file.question,
        trials=trial_views(study, plan.trials),
        table=pd.DataFrame(rows, columns=["arm", "role", "n"]),
        answer=findings.answer,
        state=findings.state,
        best_arm=None,
        gate_met=None,
        next_steps=findings.next_steps,
        curves=seen,
        endpoints=endpoint_views(findings.endpoints),
    )


def _summary(study: Study, view: StudyView, folder: Path, problems: list[str]) -> Sequence[Section]:
    """The workload's own part of the report; one that fails is added to the problems."""
    try:
        added = list(study.workload.summarise(view, folder))
    except Exception as error:  # the report stands without the workload's own pictures
        problems.append(f"the summary of workload '{study.workload.name}' failed: {error}")
        return ()
    return _section_of(study.workload.name, added)


def _section_of(workload: str, added: Sequence[Path | SummaryTable]) -> Sequence[Section]:
    """What the workload adds: its tables and pictures are shown, other files named."""
    if not added:
        return ()
    files = [one for one in added if isinstance(one, Path)]
    tables = tuple(
        ShownTable(one.caption, one.head, one.rows, one.numbers)
        for one in added
        if isinstance(one, SummaryTable)
    )
    pictures = [path for path in files if path.suffix == ".png"]
    beside = ", ".join(path.name for path in files if path.suffix != ".png")
    lines = (f"Beside this report: {beside}.",) if beside else ()
    shown = tuple((path.stem.replace("_", " "), path.name) for path in pictures)
    return (Section(f"From the workload {workload}", lines, tables, shown),)


def _stamp(study: Study, plan: Plan) -> str:
    """Hash of all a report is made from."""
    results = [
        [
            item.trial.identity,
            item.trial.arm,
            item.trial.role,
            item.state,
            item.record.outcome.number if item.record.outcome else None,
            item.record.attempts,
            _scores_size(study, item),
        ]
        for item in plan.trials
    ]
    file = study.file.model_dump(mode="json", exclude={"presets", "resources", "retries"})
    versions = [REPORT_VERSION, importlib.metadata.version("orrery"), study.code_digest]
    content = [*versions, file, results, calibration_notes(study)]
    if points := _points(study, plan):
        content.append(points)
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:16]


def _scores_size(study: Study, item: PlannedTrial) -> int | None:
    """In bytes; None for a trial without scores, or whose file is gone: what a report was made from
    must still be there for it to stand."""
    outcome = item.record.outcome
    if outcome is None or outcome.scores is None:
        return None
    try:
        return os.stat(study.home.trial(item.trial.identity) / outcome.scores).st_size
    except OSError:
        return None


def _points(study: Study, plan: Plan) -> list[list[Any]]:
    """What is known of the points that were measured on each model."""
    from orchestrator.evaluation.store import PointStore

    version = study.workload.version
    return [
        [one.trial.identity, one.state, PointStore.of(study.home, one.subject, version).stamp()]
        if one.subject
        else [one.trial.identity, one.state]
        for one in plan.subjects
    ]


class _Saved(msgspec.Struct):
    stamp: str
    verdict: Verdict | None
    problems: list[str]
    effects: StudyEffects | None = None
    curves: StudyCurves | None = None
    alarms: StudyAlarms | None = None
    claims: StudyClaims | None = None
    endpoints: StudyEndpoints | None = None
    notes: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    drawn: Drawn = msgspec.field(default_factory=Drawn)

    @property
    def findings(self) -> Findings:
        return Findings(
            self.effects,
            self.curves,
            self.alarms,
            self.claims,
            self.endpoints,
            self.notes,
            self.next_steps,
        )


def _saved(folder: Path, stamp: str) -> StudyReport | None:
    saved = _read(folder)
    if saved is None or saved.stamp != stamp or not saved.drawn.is_there(folder):
        return None
    return StudyReport(
        folder, saved.verdict, _files(folder), saved.problems, saved.findings, saved.drawn
    )


def _read(folder: Path) -> _Saved | None:
    try:
        return msgspec.json.decode((folder / "verdict.json").read_bytes(), type=_Saved)
    except (OSError, msgspec.MsgspecError):
        return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
