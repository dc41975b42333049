"""What MLflow is shown of a study: told by its files, so that it can be told again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.attempts import attempts
from orchestrator.engine.reports import BEST
from orchestrator.home import Home
from orchestrator.planning import Plan, PlannedTrial
from telemetry import (
    MlflowSink,
    PublishReport,
    StudyRun,
    TrialEnd,
    TrialRun,
    publish_study,
    run_ids,
    study_run_id,
)

if TYPE_CHECKING:
    from orchestrator.study import Study
    from orchestrator.verdict import Verdict


def sink_of(home: Home) -> MlflowSink:
    return MlflowSink(home.tracking_uri, artifact_root=home.mlflow_artifacts.as_uri())


def study_run(study: Study, plan: Plan, verdict: Verdict | None, state: str) -> StudyRun:
    """The parent run: note, tags, params."""
    tags = {
        "workload": study.workload.name,
        "state": state,
        "trials": str(len(plan.trials)),
        "verdict": verdict.state if verdict else "n/a",
    }
    if verdict is not None:
        tags["answer"] = verdict.answer
    return StudyRun(
        name=study.name,
        instance=study.instance,
        note=_note(study, plan, verdict),
        tags=tags,
        params={"seeds": study.file.seeds, **study.file.base},
        state=state,
        folder=str(study.folder),
    )


def trial_run(study: Study, item: PlannedTrial) -> TrialRun:
    """The child run of a trial; a light one if another study has measured it."""
    trial = item.trial
    owner = item.record.outcome.study if item.record.outcome else None
    reused = owner is not None and owner != study.instance and item.state != "running"
    return TrialRun(
        identity=trial.identity,
        folder=str(study.home.trial(trial.identity)),
        arm=trial.arm,
        replicate=trial.replicate,
        label=trial.label,
        role=trial.role,
        factors=dict(trial.factors),
        params={"seed": trial.seed, **trial.config.model_dump(mode="json")},
        state=item.state,
        reused=reused,
        owner=owner if reused else None,
    )


def trial_end(study: Study, item: PlannedTrial) -> TrialEnd | None:
    """How it ended, by its files; None while it has not."""
    folder = study.home.trial(item.trial.identity)
    outcome, record = item.record.outcome, item.record
    if outcome is not None:
        values = outcome.values()
        return TrialEnd(
            state="done",
            ended_ms=round(outcome.finished_at_s * 1000),
            outcome=outcome.number,
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
        state=item.state if item.state != "planned" else end.state,
        ended_ms=round(end.ended_at_s * 1000),
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
) -> PublishReport:
    """Brings MLflow to the state of the files. Doing it twice adds nothing."""
    trials = [(trial_run(study, item), trial_end(study, item)) for item in each_once(plan)]
    parent = study_run(study, plan, verdict, state)
    return publish_study(parent, trials, sink_of(study.home), artifacts=artifacts, archive=archive)


def state_of(plan: Plan) -> str:
    """The study's own state: done, failed, or running while something is missing."""
    states = {item.state for item in plan.trials}
    if states <= {"done", "pruned"} and not plan.proposals_left:
        return "done"
    return "failed" if states <= {"done", "pruned", "failed"} else "running"


def mlflow_run_ids(study: Study, plan: Plan) -> dict[str, str]:
    """Identity → run id of the trials that this home's MLflow has."""
    trials = [trial_run(study, item) for item in each_once(plan)]
    return run_ids(study_run(study, plan, None, "running"), trials, sink_of(study.home))


def parent_run_id(study: Study, plan: Plan) -> str | None:
    """The id of the study's own MLflow run; None before it has one."""
    return study_run_id(study_run(study, plan, None, "running"), sink_of(study.home))


def reproduce_command(study: Study) -> str:
    """The command that runs this instance again, quoted for a shell."""
    if study.source is None:  # a mapping: its file has the preset and the settings in it
        words = ["orrery", "run", str(study.folder / "study.yaml")]
    else:
        words = ["orrery", "run", study.source]
        words += ["--preset", study.preset] if study.preset else []
        for key, value in (study.settings or {}).items():
            words += ["-s", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    if study.home != Home.find():
        words += ["--home", str(study.home.root)]
    return shlex.join(words)


def _note(study: Study, plan: Plan, verdict: Verdict | None) -> str:
    parts = [f"**Question.** {study.file.question}"]
    if verdict is not None:
        parts.append(f"**Verdict.** {verdict.answer}")
        parts.append(_table(verdict))
    counts = ", ".join(f"{count} {state}" for state, count in plan.counts.items())
    parts.append(f"**Trials.** {counts}")
    parts.append(f"**Run it again.**\n\n```\n{reproduce_command(study)}\n```")
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
