"""What a report says of a study beside its verdict: where it came from, and its trials as rows."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orchestrator.disk import trials_bytes
from orchestrator.planning import Plan
from orchestrator.publishing import parent_run_id, reproduce_command
from orchestrator.rule_hash import rule_hash

if TYPE_CHECKING:
    from orchestrator.report import StudyInfo
    from orchestrator.study import Study

_LIBRARIES = ("ray", "torch", "transformers", "peft", "accelerate", "mlflow")


def study_info(study: Study, plan: Plan) -> StudyInfo:
    """Question, provenance, what was spent, and how to reproduce it."""
    from orchestrator.report import StudyInfo

    return StudyInfo(
        name=study.name,
        instance=study.instance,
        question=study.file.question,
        hypothesis=study.file.hypothesis,
        reproduce=reproduce_command(study),
        provenance={"rule": rule_hash(study.file), **_provenance(plan)},
        home=str(study.home.root),
        mlflow_run_id=parent_run_id(study, plan),
        disk_bytes=trials_bytes(study, plan),
        wall_time_s=_seconds(plan),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        asked=tuple(_asked(study)),
    )


def trial_rows(plan: Plan) -> list[dict[str, Any]]:
    """A row a trial: its facts, and every metric it ended with."""
    rows = []
    for item in plan.trials:
        outcome, failure = item.record.outcome, item.record.failure
        rows.append(
            {
                "id": item.trial.identity,
                "arm": item.trial.arm,
                "role": item.trial.role,
                "replicate": item.trial.replicate,
                "seed": item.trial.seed,
                "state": item.state,
                "attempts": item.record.attempts,
                "seconds": outcome.finished_at_s - outcome.started_at_s if outcome else None,
                "flags": " ".join(outcome.flags) if outcome else "",
                "failure": f"{failure.kind}: {failure.cause}" if failure else "",
                **(outcome.values() if outcome else {}),
            }
        )
    return rows


def _asked(study: Study) -> Iterator[str]:
    """Metrics that the study asks of: that of its rule, and those that may be named after a column
    of its endpoints and claims, as it is or after the split."""
    if study.file.verdict is not None:
        yield study.file.verdict.metric
    endpoints, claims = study.file.endpoints.values(), study.file.claims.values()
    columns = [(one.split, one.column) for one in endpoints]
    for split, column in [*columns, *((one.split, one.column) for one in claims)]:
        yield from (column, f"{split}_{column}")


def _provenance(plan: Plan) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for item in plan.trials:
        if item.record.outcome is not None:
            made = item.record.outcome.provenance
            facts = {
                "git commit": made.git_commit,
                "uncommitted changes": made.git_dirty,
                "code digest": made.code_digest,
                "environment": made.environment,
                "python": made.python,
                "device": made.device,
            }
            break
    for name in _LIBRARIES:
        facts[name] = importlib.metadata.version(name)
    return facts


def _seconds(plan: Plan) -> float | None:
    spent = {
        item.trial.identity: item.record.outcome.finished_at_s - item.record.outcome.started_at_s
        for item in plan.trials
        if item.record.outcome is not None
    }
    return sum(spent.values()) if spent else None
