"""`orrery publish`: brings a store to the state of the files, all of it sent again.

Each study is planned as for a run and published by the same code. One that can't be planned any
more is told from plan.json and from its trials' own files.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.errors import OrreryError, UsageError, unknown
from orchestrator.evaluation.published import keep_figures
from orchestrator.home import Home
from orchestrator.ledger import TrialRecord, read_trial
from orchestrator.overview import overview_of
from orchestrator.plan_file import ListedTrial, PlanFile, read_plan
from orchestrator.planning import Plan
from orchestrator.publishing import (
    end_of,
    ended_ms,
    figures_ms,
    planned_ms,
    publish,
    refuse_place,
    sink_of,
    started_ms,
    state_among,
    state_of,
    study_note,
    study_tags,
    with_figures,
)
from orchestrator.reporting import last_findings, last_verdict, report_study, saved_report
from orchestrator.row_restoring import restore_rows
from orchestrator.rule_hash import rule_hash
from orchestrator.study import Study
from telemetry import (
    PublishReport,
    StudyRun,
    TrialEnd,
    TrialRun,
    publish_study,
)

Progress = Callable[[int, int], None]

_BUSY = "another orrery run or publish is writing it; publish again once that has ended"
_LOOK_S = 0.5


@dataclass(frozen=True)
class Published:
    """What came of one study. `trials` are those that have run; `left` says what is missing."""

    study: str
    trials: int = 0
    rows: int = 0
    left: dict[str, str] | None = None
    """Trial, or study, → why it was not published; None or empty: all of it was."""
    from_files: str | None = None
    """Why it could not be planned, if it was published as far as files tell."""
    mended: dict[str, str] = field(default_factory=dict)
    """Trial → what was damaged in its files and was made anew."""

    def to_json(self) -> dict[str, Any]:
        """As `orrery publish --json` prints it."""
        return {
            "study": self.study,
            "trials": self.trials,
            "rows": self.rows,
            "left": self.left or {},
            "from_files": self.from_files,
            "mended": self.mended,
        }


def publish_home(
    home: Home,
    study: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    *,
    wait_s: float = 60.0,
    waiting: Callable[[str], None] = lambda study: None,
) -> Iterator[Published]:
    """Publishes every study of a home, or one: by its name (the instance that was planned last),
    its instance, or its file. One that fails does not keep the others.

    One that another process is publishing is waited for, `wait_s` seconds at most, and `waiting`
    is told so. `progress` is told study, trials through, and trials in all. Raises `UsageError` for
    a study that the home does not have, a place that is none, or no home.
    """
    refuse_place(home)
    if not home.trials.is_dir() and not home.studies.is_dir():
        raise UsageError(
            f"There is no home in '{home.root}'. Set ORRERY_HOME (or --home) to one where studies "
            "have run."
        )
    for folder in _folders(home, study):

        def tell(done: int, of: int, name: str = folder.name) -> None:
            if progress is not None:
                progress(name, done, of)

        try:
            yield _when_free(home, folder, tell, wait_s, waiting)
        except OrreryError as error:
            yield Published(folder.name, left={folder.name: str(error)})


def _folders(home: Home, study: str | None) -> list[Path]:
    """Folders of studies, ordered so that a study comes before those that reuse its trials."""
    found = sorted(home.studies.glob("*/plan.json"))
    folders = sorted((path.parent for path in found), key=lambda path: planned_ms(path) or 0)
    if study is None:
        return folders
    names = {folder.name for folder in folders}
    if study in names:
        return [home.study(study)]
    if study.endswith((".yaml", ".yml")):
        instance = Study.load(study, home=home.root).instance
        if instance in names:
            return [home.study(instance)]
    mine = [folder for folder in folders if folder.name.rpartition("-")[0] == study]
    if not mine:
        raise UsageError(unknown("study", study, names, "It has not run in this home."))
    return [max(mine, key=lambda folder: (folder / "plan.json").stat().st_mtime)]


def _when_free(
    home: Home, folder: Path, tell: Progress, wait_s: float, waiting: Callable[[str], None]
) -> Published:
    deadline, said = time.monotonic() + wait_s, False
    while True:
        result = _publish(home, folder, tell)
        if (result.left or {}).get(folder.name) != _BUSY or time.monotonic() > deadline:
            return result
        if not said:
            waiting(folder.name)
        said = True
        time.sleep(_LOOK_S)


def _publish(home: Home, folder: Path, tell: Progress) -> Published:
    told = read_plan(folder)
    study = _study(home, folder, told)
    left, mended = _restore_all_rows(home, told)
    return replace(_publish_study(home, folder, study, told, tell, left), mended=mended)


def _publish_study(
    home: Home, folder: Path, study: Study, told: PlanFile, tell: Progress, left: dict[str, str]
) -> Published:
    try:
        plan = study.plan()
        if study.instance != folder.name:
            raise UsageError(f"its inputs or its workload have changed: now it is {study.instance}")
        report = saved_report(study, plan)
        if report is None and state_of(plan) != "running":
            report = report_study(study, plan)
        keep_figures(study, plan)
    except Exception as error:  # whatever a workload raises that was changed since
        return _publish_from_files(home, folder, study, told, _one_line(error), tell, left)
    verdict = report.verdict if report is not None else None
    done = publish(
        study,
        plan,
        verdict,
        state_of(plan),
        report.folder if report is not None else None,
        findings=report.findings if report is not None else None,
        afresh=True,
        progress=tell,
    )
    return _published(folder.name, _ran(plan), done, left)


def _study(home: Home, folder: Path, told: PlanFile) -> Study:
    """The study of a folder, without a look at its workload. Raises `UsageError`."""
    from orchestrator.study_file import StudyFile, read_study_file
    from orchestrator.validation import validated

    path = folder / "study.yaml"
    if not path.is_file():
        raise UsageError(f"'{path}' is gone.")
    file: StudyFile = validated(StudyFile, read_study_file(path), str(path))
    return Study(file, home, told.preset, told.settings, told.source)


def _ran(plan: Plan) -> int:
    return len({i.trial.identity for i in plan.trials if i.record.state != "planned"})


def _published(
    name: str, trials: int, done: PublishReport, left: dict[str, str], why: str | None = None
) -> Published:
    more = {name: _BUSY} if done.busy else done.left
    return Published(name, trials, done.rows, {**left, **more}, why)


# -- without a plan -------------------------------------------------------------------------------


def _publish_from_files(
    home: Home,
    folder: Path,
    study: Study,
    told: PlanFile,
    why: str,
    tell: Progress,
    left: dict[str, str],
) -> Published:
    trials: list[tuple[TrialRun, TrialEnd | None]] = []
    records: dict[str, TrialRecord] = {}
    for listed in told.trials:
        if listed.id in records:
            continue
        try:
            record = records[listed.id] = read_trial(home, listed.id)
        except OrreryError as error:
            left[listed.id] = str(error)
            continue
        if record.state != "planned":
            run = _trial_run(home, folder.name, told, listed, record)
            end = end_of(home.trial(listed.id), record, record.state)
            trials.append((run, end if end is None else with_figures(end, folder, record)))
    report = folder / "report"
    parent = _study_run(home, folder, study, told, records, trials)
    done = publish_study(
        parent,
        trials,
        sink_of(home),
        artifacts=report if report.is_dir() else None,
        archive=True,
        afresh=True,
        progress=tell,
    )
    return _published(folder.name, len(trials), done, left, why)


def _study_run(
    home: Home,
    folder: Path,
    study: Study,
    told: PlanFile,
    records: dict[str, TrialRecord],
    trials: Sequence[tuple[TrialRun, TrialEnd | None]],
) -> StudyRun:
    """As `publishing.study_run`, from files."""
    ends = [end for _, end in trials]
    found = [records[listed.id].state for listed in told.trials if listed.id in records]
    counts = Counter(map(str, found))
    verdict = last_verdict(folder / "report")
    findings = last_findings(folder / "report")
    figures = findings.metrics()
    state = state_among(set(found))
    workload = told.workload or study.file.workload
    return StudyRun(
        name=study.name,
        instance=folder.name,
        note=study_note(study, verdict, counts, folder=folder, findings=findings),
        tags=study_tags(
            workload, state, len(told.trials), verdict, findings, rule_hash(study.file)
        ),
        params={"seeds": study.file.seeds, **study.file.base},
        state=state,
        started_ms=planned_ms(folder),
        ended_ms=None if state == "running" else ended_ms(records.values()),
        folder=str(folder),
        origin=home.origin,
        figures=figures,
        figures_ms=figures_ms(ends) if figures else 0,
        overview=overview_of(
            study.file,
            (arm.name for arm in told.arms),
            (trial.factors for trial, _ in trials),
            ends,
            folder / "report",
        ),
    )


def _trial_run(
    home: Home, instance: str, told: PlanFile, listed: ListedTrial, record: TrialRecord
) -> TrialRun:
    """As `publishing.trial_run`, from files. A plan of version 0.1 does not say what the arms were
    made of: then identity.json does, with inputs by their content."""
    folder = home.trial(listed.id)
    arm = next((arm for arm in told.arms if arm.name == listed.arm), None)
    computed = _computed(folder)
    seed = listed.seed if listed.seed is not None else computed.get("seed")
    params = arm.params if arm is not None else computed.get("config", {})
    owner = record.outcome.study if record.outcome is not None else None
    reused = owner is not None and owner != instance and record.state != "running"
    return TrialRun(
        identity=listed.id,
        folder=str(folder),
        arm=listed.arm,
        replicate=listed.replicate,
        label=listed.label,
        role=arm.role if arm is not None else "arm",
        factors=dict(arm.factors) if arm is not None else {},
        params={"seed": seed, **params},
        state=record.state,
        started_ms=started_ms(folder),
        reused=reused,
        owner=owner if reused else None,
    )


def _computed(folder: Path) -> dict[str, Any]:
    try:
        computed = json.loads((folder / "identity.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return computed if isinstance(computed, dict) else {}


def _restore_all_rows(home: Home, told: PlanFile) -> tuple[dict[str, str], dict[str, str]]:
    """Trial → why its rows are not restored; trial → what was. One that has a damaged file keeps
    no other."""
    left: dict[str, str] = {}
    mended: dict[str, str] = {}
    for identity in dict.fromkeys(listed.id for listed in told.trials):
        try:
            done = restore_rows(home, identity)
        except (OSError, OrreryError) as error:
            left[identity] = str(error)
            continue
        if done is not None:
            mended[identity] = done
    return left, mended


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0] if str(error) else repr(error)
