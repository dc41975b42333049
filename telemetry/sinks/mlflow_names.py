"""What MLflow accepts as keys and values, and how ours are brought into that form."""

from __future__ import annotations

import hashlib
import posixpath
import re

from telemetry.runs import StudyRun, TrialEnd, TrialRun

# mlflow/utils/validation.py (3.17): MAX_ENTITY_KEY_LENGTH, MAX_PARAM_VAL_LENGTH, MAX_TAG_VAL_LENGTH
KEY_CHARACTERS = 250
PARAM_CHARACTERS = 6000
TAG_CHARACTERS = 8000
EXPERIMENT_TAG_CHARACTERS = 5000
"""MAX_EXPERIMENT_TAG_VAL_LENGTH of the same."""

INSTANCE_TAG = "orrery.study_instance"
ORIGIN_TAG = "orrery.origin"
"""`StudyRun.origin`: two homes that run the same study into one store keep apart by it."""
TRIAL_TAG = "orrery.trial"
END_TAG = "orrery.end"
"""`TrialEnd.mark`; the end stands whole in the store once the run's status is final too."""
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"
KIND_TAG = "mlflow.experimentKind"
MODEL_TRAINING = "custom_model_development"
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
    """A metric, parameter or tag key that MLflow takes. Different names give different keys.

    Refused characters become ``_``; a name that had to be changed ends with a digest of the whole.

    >>> key("eval/f1")
    'eval/f1'
    >>> key("eval/f1@3")
    'eval/f1_3-d5e875'
    """
    clean = posixpath.normpath(_REFUSED.sub("_", name).strip("/") or "_")
    clean = "_" + clean.lstrip(".") if clean.startswith("..") or clean == "." else clean
    if clean == name and len(name) <= KEY_CHARACTERS:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{clean[: KEY_CHARACTERS - len(digest) - 1]}-{digest}"


def value(text: str, limit: int) -> str:
    """`text` cut to `limit` characters, with a digest of the whole at the cut.

    NUL, which Postgres refuses, is replaced.
    """
    text = text.replace("\0", "\ufffd")
    if len(text) <= limit:
        return text
    return f"{text[: limit - 12]}--{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def trial_tags(study: StudyRun, trial: TrialRun, end: TrialEnd | None) -> dict[str, str]:
    """Every tag of a trial's run except the parent's; a factor never hides a tag of ours."""
    tags = {
        factor_tag(name): str(level) for name, level in trial.factors.items() if level is not None
    }
    tags |= trial.tags
    tags |= {
        "study": study.name,
        "arm": trial.arm,
        "role": trial.role,
        "replicate": str(trial.replicate),
        "state": trial.state if end is None else end.state,
        INSTANCE_TAG: study.instance,
        TRIAL_TAG: trial.identity,
    }
    if study.origin:
        tags[ORIGIN_TAG] = study.origin
    if trial.label:
        tags["label"] = trial.label
    if trial.reused:
        tags["reused"] = "true"
        if trial.owner:
            tags["owner"] = trial.owner
    if end is not None:
        tags |= end_tags(end)
    return sendable(tags)


def factor_tag(name: str) -> str:
    """The tag of a factor."""
    return f"factor.{name}" if name in _RESERVED or "." in name else name


def sendable(tags: dict[str, str]) -> dict[str, str]:
    """Tags as MLflow takes them."""
    return {key(name): value(text, TAG_CHARACTERS) for name, text in tags.items()}


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


def experiment_tags(study: StudyRun) -> dict[str, str]:
    """Tags of a study's experiment; its note is what the list of experiments says of it."""
    tags = {KIND_TAG: MODEL_TRAINING}
    if study.overview.question:
        tags[NOTE_TAG] = value(study.overview.question, EXPERIMENT_TAG_CHARACTERS)
    return tags


def study_tags(study: StudyRun) -> dict[str, str]:
    """Every tag of a study's run, its note among them."""
    tags = {
        **study.tags,
        "study": study.name,
        "state": study.state,
        INSTANCE_TAG: study.instance,
    }
    if study.origin:
        tags[ORIGIN_TAG] = study.origin
    if study.note:
        tags[NOTE_TAG] = study.note
    return sendable(tags)
