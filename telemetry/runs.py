"""What the orchestrator tells telemetry of a study and its trials: plain and frozen."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from telemetry.rowlog import Row

ROWS_TAG = "orrery.rows"
"""Tag of a trial's run whose row log was made anew, and may have another value for a step."""


class Overview(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a page about a study shows first and points at; what is empty is not known yet."""

    question: str = ""
    arms: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    """Names of those in which its trials differ."""
    measures: tuple[str, ...] = ()
    """Keys of metrics, the one that the study is judged by first."""
    files: tuple[str, ...] = ()
    """Names in its report folder."""


class StudyRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """A study instance, as a sink shows it: the parent of its trials' runs.

    `name` is the study's, `instance` is `name-hash`; `note` is Markdown. `folder`, if given, holds
    the lock and the notes of how far this instance was published. `origin` names where its files
    are: the same instance from another origin is shown apart.
    """

    name: str
    instance: str
    note: str = ""
    tags: dict[str, str] = {}
    params: dict[str, Any] = {}
    state: str = "running"
    """running, done, failed or cancelled."""
    started_ms: int | None = None
    ended_ms: int | None = None
    folder: str | None = None
    origin: str = ""
    figures: dict[str, float | None] = {}
    """What follows from all its trials, as `TrialEnd.figures`: None is "not estimated"."""
    figures_ms: int = 0
    """When the last of what they follow from was measured."""
    overview: Overview = Overview()

    @property
    def key(self) -> str:
        """What tells it from every other study in a store: the instance, and its origin."""
        return f"{self.instance}@{self.origin}" if self.origin else self.instance


class TrialRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trial of a study instance. `identity` is its hash, `folder` the trial's folder.

    `name` is the run's name (by default the arm and the replicate). `factors` become one tag each,
    `params` (nested allowed) one parameter per leaf. A `reused` trial was measured by the instance
    `owner`: it gets a light run, without step rows.
    """

    identity: str
    folder: str
    arm: str
    replicate: int
    label: str = ""
    role: str = "arm"
    name: str = ""
    factors: dict[str, str | int | float | bool | None] = {}
    params: dict[str, Any] = {}
    tags: dict[str, str] = {}
    state: str = "running"
    started_ms: int | None = None
    reused: bool = False
    owner: str | None = None

    @property
    def run_name(self) -> str:
        """What the run is called."""
        return self.name or f"{self.arm} · {self.replicate}"

    @property
    def path(self) -> Path:
        """The trial's folder."""
        return Path(self.folder)


class TrialEnd(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a trial ended. All of it must come from the outcome file, so that it is always the same.

    `state` is done, failed, preempted, cancelled or pruned. `ended_ms` is the time of the final
    rows; `outcome` is the outcome's number, and their step. `artifacts` is a folder to copy.
    """

    state: str
    ended_ms: int
    outcome: int = 0
    started_ms: int | None = None
    """When its first attempt began: a trial may be told to run before it does."""
    final: dict[str, float | None] = {}
    best: dict[str, float | None] = {}
    artifacts: str | None = None
    attempts: int = 1
    resumed_at: int | None = None
    """The step at which the last attempt continued, or None."""
    failure_kind: str | None = None
    failure_cause: str | None = None
    tags: dict[str, str] = {}
    figures: dict[str, float | None] = {}
    """Of what was measured on its model afterwards, `figures_ms` the time of the last of that."""
    figures_ms: int = 0
    series: dict[str, list[float | None]] = {}
    """Of the same, along something that was varied: the value at each place from 0. A value that
    was given once stays."""
    tables: str | None = None
    """A further folder to copy: what the figures were made from."""

    @property
    def folders(self) -> list[str]:
        """Those that are there of the folders to copy."""
        given = [folder for folder in (self.artifacts, self.tables) if folder]
        return [folder for folder in given if os.path.isdir(folder) and os.listdir(folder)]

    @property
    def mark(self) -> str:
        """What tells this end from another of the same trial, such as a second failure."""
        mark = f"{self.outcome}:{self.state}:{self.attempts}:{self.ended_ms}"
        return f"{mark}:{self.figures_ms}" if self.figures_ms else mark


def figure_rows(figures: Mapping[str, float | None], measured_ms: int) -> list[Row]:
    """Rows `final/…`, at the second in which the last of what they are made from was measured, so
    that newer ones come after older ones; none of what is None."""
    return [
        Row(f"final/{key}", measured_ms // 1000, measured_ms, float(value))
        for key, value in figures.items()
        if value is not None
    ]


def series_rows(series: Mapping[str, Sequence[float | None]], measured_ms: int) -> list[Row]:
    """Rows `final/…`, the place as the step; none of what is None."""
    return [
        Row(f"final/{key}", place, measured_ms, float(value))
        for key, values in series.items()
        for place, value in enumerate(values)
        if value is not None
    ]


def flattened(nested: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """The leaves of nested dicts under dotted names, as text; lists stay whole.

    >>> flattened({"lora": {"rank": 8}, "seed": None})
    {'lora.rank': '8', 'seed': 'None'}
    """
    flat: dict[str, str] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            flat.update(flattened(value, f"{name}."))
        else:
            flat[name] = value if isinstance(value, str) else str(value)
    return flat
