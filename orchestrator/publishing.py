"""What MLflow is shown of a study: told by its files, so that it can be told again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orchestrator.attempts import attempts
from orchestrator.earlier import first_planned_at
from orchestrator.engine.reports import BEST
from orchestrator.errors import UsageError
from orchestrator.evaluation.points import asks_points, subject_of
from orchestrator.evaluation.published import figures_of
from orchestrator.home import Home
from orchestrator.ledger import TrialRecord
from orchestrator.overview import overview_of
from orchestrator.planning import Plan, PlannedTrial
from orchestrator.records import State
from orchestrator.rule_hash import rule_hash
from telemetry import (
    PublishReport,
    Sink,
    SinkUnavailableError,
    StudyRun,
    TrialEnd,
    TrialRun,
    publish_study,
    run_ids_in,
    study_run_id,
)
from telemetry.sinks import SinkUriError, WandbSink, open_sink
from telemetry.sinks.mlflow_store import without_password
from telemetry.sinks.opening import check_place

if TYPE_CHECKING:
    from orchestrator.findings import Findings
    from orchestrator.study import Study
    from orchestrator.verdict import Verdict


def sink_of(home: Home) -> Sink:
    """Where this home publishes. Raises `UsageError` for a place that is none."""
    try:
        return open_sink(
            home.tracking_uri,
            artifact_root=home.mlflow_artifacts.as_uri(),
            folder=home.root,
            own=home.publishes_to_own,
        )
    except SinkUriError as error:
        raise UsageError(str(error)) from error


def refuse_place(home: Home) -> None:
    """Raises `UsageError` if this home can't publish where it is told to."""
    sink_of(home)
    if home.publishes_to_own:
        return
    try:
        check_place(home.tracking_uri)
    except SinkUriError as error:
        raise UsageError(str(error)) from error


def place_of(home: Home) -> str:
    """What the place is called where this home publishes."""
    return "MLflow" if home.publishes_to_own else without_password(home.tracking_uri)


def sync_advice(home: Home) -> str | None:
    """How to bring to W&B what lies in files, where nobody is logged in; None elsewhere."""
    sink = sink_of(home)
    if not isinstance(sink, WandbSink) or not sink.offline:
        return None
    files = shlex.quote(str(sink.folder / "wandb"))
    return (
        "W&B is offline (no login, or WANDB_MODE says so): runs are in files. To send them: "
        f"wandb login; wandb sync {files}/offline-run-*"
    )


def study_tags(
    workload: str,
    state: str,
    trials: int,
    verdict: Verdict | None,
    findings: Findings | None = None,
    rule: str | None = None,
) -> dict[str, str]:
    """What MLflow's table shows of a study beside its name."""
    tags = {
        "workload": workload,
        "state": state,
        "trials": str(trials),
        "verdict": verdict.state if verdict else "n/a",
        "rule": rule or "n/a",
    }
    if verdict is not None:
        return {**tags, "answer": verdict.answer}
    if findings is not None and findings.answer:
        return {**tags, "verdict": findings.state, "answer": findings.answer}
    return tags


def study_run(
    study: Study,
    plan: Plan,
    verdict: Verdict | None,
    state: str,
    news: Sequence[str] = (),
    as_of: datetime | None = None,
    growth: str = "",
    findings: Findings | None = None,
    ends: Iterable[TrialEnd | None] = (),
) -> StudyRun:
    """The parent run: note, tags, params, and `findings` as metrics, which follow from `ends`.
    `news`, `as_of` and `growth` (a part of the note) are told while the study runs."""
    figures = findings.metrics() if findings else {}
    ends = list(ends)
    measured = figures_ms(ends)
    told = verdict is not None or findings is not None
    return StudyRun(
        name=study.name,
        instance=study.instance,
        note=_note(study, plan, verdict, news, as_of, growth, findings),
        tags=study_tags(
            study.workload.name, state, len(plan.trials), verdict, findings, rule_hash(study.file)
        ),
        params={"seeds": study.file.seeds, **study.file.base},
        state=state,
        started_ms=(began := planned_ms(study.folder)),
        ended_ms=None if state == "running" else _study_ended_ms(plan, began, measured),
        folder=str(study.folder),
        origin=study.home.origin,
        figures=figures,
        figures_ms=measured if figures else 0,
        overview=overview_of(
            study.file,
            (arm.name for arm in plan.arms),
            (item.trial.factors for item in plan.trials),
            ends,
            study.folder / "report" if told else None,
        ),
    )


def _study_ended_ms(plan: Plan, began_ms: int | None, measured_ms: int) -> int | None:
    """When the last of its trials was done, or its last point measured. All of that may be older
    than the study, which then ended when it began; None while no trial is done."""
    trials = ended_ms(item.record for item in plan.trials)
    return None if trials is None else max(trials, measured_ms, began_ms or 0)


def figures_ms(ends: Iterable[TrialEnd | None]) -> int:
    """When the last was measured of what the study's figures follow from."""
    return max((max(end.ended_ms or 0, end.figures_ms) for end in ends if end), default=0)


def planned_ms(folder: Path) -> int | None:
    """When the study instance in `folder` was planned first; None before it was."""
    at_s = first_planned_at(folder, 0.0)
    return round(at_s * 1000) if at_s else None


def ended_ms(records: Iterable[TrialRecord]) -> int | None:
    """When the last of the trials that are done was done; None if none is."""
    done = [record.outcome.finished_at_s for record in records if record.outcome is not None]
    return round(max(done) * 1000) if done else None


def started_ms(folder: Path) -> int | None:
    """When the first attempt at the trial in `folder` began; None before that."""
    tries = attempts(folder)
    claim = tries[0].claim() if tries else None
    return round(claim.claimed_at_s * 1000) if claim is not None else None


def trial_run(study: Study, item: PlannedTrial) -> TrialRun:
    """The child run of a trial; a light one if another study has measured it."""
    trial = item.trial
    folder = study.home.trial(trial.identity)
    owner = item.record.outcome.study if item.record.outcome else None
    reused = owner is not None and owner != study.instance and item.state != "running"
    return TrialRun(
        identity=trial.identity,
        folder=str(folder),
        arm=trial.arm,
        replicate=trial.replicate,
        label=trial.label,
        role=trial.role,
        factors=dict(trial.factors),
        params={"seed": trial.seed, **trial.config.model_dump(mode="json")},
        state=item.state,
        started_ms=started_ms(folder),
        reused=reused,
        owner=owner if reused else None,
    )


def trial_end(study: Study, item: PlannedTrial) -> TrialEnd | None:
    """How it ended, by its files; None while it has not. With it what was measured on its model."""
    end = end_of(study.home.trial(item.trial.identity), item.record, item.state)
    if end is None or not asks_points(study, item.trial.arm):
        return end
    return with_figures(end, study.folder, item.record)


def with_figures(end: TrialEnd, study_folder: Path, record: TrialRecord) -> TrialEnd:
    """The same with what the study in a folder has kept of the model's points, if it has."""
    found = figures_of(study_folder, record.identity)
    if found is None or record.outcome is None or found[0].subject != subject_of(record.outcome):
        return end
    kept, tables = found
    return msgspec.structs.replace(
        end,
        figures=dict(kept.figures),
        figures_ms=round(kept.measured_at_s * 1000),
        series=dict(kept.series),
        tables=str(tables),
    )


def end_of(folder: Path, record: TrialRecord, state: State) -> TrialEnd | None:
    """As `trial_end`, of the trial in `folder` that stands at `state`."""
    outcome = record.outcome
    if outcome is not None:
        values = outcome.values()
        return TrialEnd(
            state="done",
            ended_ms=round(outcome.finished_at_s * 1000),
            outcome=outcome.number,
            started_ms=started_ms(folder),
            final={k: v for k, v in values.items() if not k.startswith(BEST)},
            best={k.removeprefix(BEST): v for k, v in values.items() if k.startswith(BEST)},
            artifacts=str(folder / outcome.artifacts) if outcome.artifacts else None,
            attempts=outcome.attempt + 1,
            resumed_at=outcome.resumed_at_step,
            tags=dict.fromkeys(outcome.flags, "true"),
        )
    tries = attempts(folder)
    end = tries[-1].end() if tries else None
    if end is None:
        return None
    return TrialEnd(
        state=state if state != "planned" else end.state,
        ended_ms=round(end.ended_at_s * 1000),
        started_ms=started_ms(folder),
        attempts=record.attempts,
        failure_kind=end.failure.kind if end.failure else None,
        failure_cause=end.failure.cause if end.failure else None,
    )


def each_once(plan: Plan) -> Iterator[PlannedTrial]:
    """The trials of a plan that have any files, each identity once."""
    seen: set[str] = set()
    for item in plan.trials:
        if item.trial.identity not in seen and item.record.state != "planned":
            seen.add(item.trial.identity)
            yield item


def publish(
    study: Study,
    plan: Plan,
    verdict: Verdict | None,
    state: str,
    artifacts: Path | None = None,
    archive: bool = True,
    *,
    findings: Findings | None = None,
    afresh: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PublishReport:
    """Brings MLflow to the state of the files. Doing it twice adds nothing.

    `findings`, where they are known, become metrics of the study's own run; `afresh` and `progress`
    as in `telemetry.publish_study`.
    """
    trials = [(trial_run(study, item), trial_end(study, item)) for item in each_once(plan)]
    ends = [end for _, end in trials]
    parent = study_run(study, plan, verdict, state, findings=findings, ends=ends)
    return publish_study(
        parent,
        trials,
        sink_of(study.home),
        artifacts=artifacts,
        archive=archive,
        afresh=afresh,
        progress=progress,
    )


def state_of(plan: Plan) -> str:
    """The study's own state: done, failed, or running while something is missing."""
    states = {item.state for item in plan.trials}
    return "running" if plan.proposals_left and "failed" not in states else state_among(states)


def state_among(states: set[State]) -> str:
    """The state of a study whose trials are in these states."""
    if states <= {"done", "pruned"}:
        return "done"
    return "failed" if states <= {"done", "pruned", "failed"} else "running"


def mlflow_run_ids(study: Study, plan: Plan) -> dict[str, str]:
    """Identity → run id of the trials that this home's MLflow has; none while it is away."""
    trials = study.home.trials
    folders = {i.trial.identity: f"{trials}/{i.trial.identity}" for i in each_once(plan)}
    try:
        return run_ids_in(study.instance, folders, sink_of(study.home))
    except SinkUnavailableError:
        return {}


def parent_run_id(study: Study, plan: Plan) -> str | None:
    """The id of the study's own MLflow run; None before it has one, and while MLflow is away."""
    try:
        return study_run_id(study_run(study, plan, None, "running"), sink_of(study.home))
    except SinkUnavailableError:
        return None


def reproduce_command(study: Study, folder: Path | None = None) -> str:
    """The command that runs this instance again, quoted for a shell.

    `folder` is the study's, if it is known without a look at its workload.
    """
    if study.source is None:  # a mapping: its file has the preset and the settings in it
        words = ["orrery", "run", str((folder or study.folder) / "study.yaml")]
    else:
        words = ["orrery", "run", study.source]
        words += ["--preset", study.preset] if study.preset else []
        for key, value in (study.settings or {}).items():
            words += ["-s", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    if study.home != Home.find():
        words += ["--home", str(study.home.root)]
    return shlex.join(words)


def _note(
    study: Study,
    plan: Plan,
    verdict: Verdict | None,
    news: Sequence[str],
    as_of: datetime | None,
    growth: str,
    findings: Findings | None,
) -> str:
    from orchestrator.watching.note import so_far

    more: list[str] = []
    if verdict is None:
        more = so_far(study.file.verdict, plan.trials, news, as_of)
        more += [growth] if growth else []
    return study_note(study, verdict, plan.counts, more, findings=findings)


def study_note(
    study: Study,
    verdict: Verdict | None,
    counts: Mapping[str, int],
    more: Sequence[str] = (),
    folder: Path | None = None,
    findings: Findings | None = None,
) -> str:
    """The note of a study's run, as Markdown; `more` are further parts of it.

    `folder` as in `reproduce_command`; `findings` that hold an answer tell it.
    """
    parts = [f"**Question.** {study.file.question}"]
    if verdict is not None:
        parts.append(f"**Verdict.** {verdict.answer}")
        parts.append(_table(verdict))
    elif findings is not None and findings.answer:
        parts.append(f"**Answer.** {findings.answer}")
    parts.append(f"**Trials.** {', '.join(f'{count} {state}' for state, count in counts.items())}")
    parts += more
    parts.append(f"**Run it again.**\n\n```\n{reproduce_command(study, folder)}\n```")
    return "\n\n".join(parts)


def _table(verdict: Verdict) -> str:
    def number(value: float | None) -> str:
        return "n/a" if value is None else f"{value:.2f}"

    lines = [
        f"| arm | n | {verdict.metric} | difference | interval | label |",
        "|---|---|---|---|---|---|",
    ]
    for arm in (*verdict.arms, *verdict.controls):
        interval = f"{number(arm.delta_ci_low)} … {number(arm.delta_ci_high)}"
        role = " (control)" if arm.role == "control" else ""
        lines.append(
            f"| {arm.arm}{role} | {arm.n} | {number(arm.mean)} | {number(arm.delta)} "
            f"| {interval} | {arm.label} |"
        )
    return "\n".join(lines)
