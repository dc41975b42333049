"""What MLflow accepts as keys and values, and how ours are brought into that form."""

from __future__ import annotations

import hashlib
import posixpath
import re

from telemetry.runs import TrialEnd, TrialRun

# mlflow/utils/validation.py (3.17): MAX_ENTITY_KEY_LENGTH, MAX_PARAM_VAL_LENGTH, MAX_TAG_VAL_LENGTH
KEY_CHARACTERS = 250
PARAM_CHARACTERS = 6000
TAG_CHARACTERS = 8000
ROWS_PER_BATCH = 1000

INSTANCE_TAG = "orrery.study_instance"
TRIAL_TAG = "orrery.trial"
END_TAG = "orrery.end"
"""`TrialEnd.mark`; the end stands whole in the store once the run's status is final too."""
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"
EXPERIMENT_KIND = ("mlflow.experimentKind", "custom_model_development")
"""Opens the experiment on its runs; without it the UI guesses, often its GenAI pages."""

_REFUSED = re.compile(r"[^/\w.\- :]")
_RESERVED = frozenset({"study", "arm", "role", "replicate", "state", "label", "reused", "owner"})

PASSING_TAGS = frozenset({"resumed_at", "failure", "cause"})
"""Tags of one end that another end of the same trial may not have."""

STATUS = {
    "done": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "preempted": "KILLED",
    "cancelled": "KILLED",
}


def key(name: str) -> str:
    """A metric or parameter key that MLflow takes: refused characters become ``_``.

    >>> key("eval/f1@k=3")
    'eval/f1_k_3'
    """
    clean = posixpath.normpath(_REFUSED.sub("_", name).strip("/") or "_")
    clean = clean.replace("..", "_") if clean.startswith("..") else clean
    return _short(clean, KEY_CHARACTERS)


def value(text: str, limit: int) -> str:
    """`text` cut to `limit` characters, with a digest of the whole at the cut."""
    return _short(text, limit)


def _short(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[: limit - 12]}--{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def trial_tags(instance: str, study: str, trial: TrialRun, end: TrialEnd | None) -> dict[str, str]:
    """Every tag of a trial's run except the parent's; a factor never hides a tag of ours."""
    tags = {
        (f"factor.{name}" if name in _RESERVED or "." in name else name): str(level)
        for name, level in trial.factors.items()
        if level is not None
    }
    tags |= trial.tags
    tags |= {
        "study": study,
        "arm": trial.arm,
        "role": trial.role,
        "replicate": str(trial.replicate),
        "state": trial.state if end is None else end.state,
        INSTANCE_TAG: instance,
        TRIAL_TAG: trial.identity,
    }
    if trial.label:
        tags["label"] = trial.label
    if trial.reused:
        tags["reused"] = "true"
        if trial.owner:
            tags["owner"] = trial.owner
    if end is not None:
        tags |= end_tags(end)
    return {
        _short(name, KEY_CHARACTERS): _short(text, TAG_CHARACTERS) for name, text in tags.items()
    }


def end_tags(end: TrialEnd) -> dict[str, str]:
    """The tags that a trial's end adds."""
    tags = {**end.tags, "state": end.state, "attempts": str(end.attempts), END_TAG: end.mark}
    if end.resumed_at is not None:
        tags["resumed_at"] = str(end.resumed_at)
    if end.failure_kind is not None:
        tags["failure"] = end.failure_kind
    if end.failure_cause is not None:
        tags["cause"] = end.failure_cause
    return tags
