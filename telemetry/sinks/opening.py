"""A sink from the text that names it, as `orrery run --to` and ``$ORRERY_TRACKING_URI`` take it."""

from __future__ import annotations

import importlib.util
import re
import sqlite3
from pathlib import Path

from telemetry.sinks.jsonl_sink import JsonlSink
from telemetry.sinks.mlflow_schema import refuse_others
from telemetry.sinks.mlflow_sink import MlflowSink
from telemetry.sinks.mlflow_store import database_of, without_password
from telemetry.sinks.parquet_sink import ParquetSink
from telemetry.sinks.protocol import Sink, SinkError
from telemetry.sinks.wandb_sink import WandbSink

SINK_URIS = {
    "sqlite:///FILE": "MLflow, in a file",
    "http://HOST:PORT": "MLflow, a server (https too)",
    "postgresql://USER@HOST/DATABASE": "MLflow, straight into a database",
    "parquet:DIR": "metric rows as Parquet, runs as JSON",
    "jsonl:DIR": "metric rows as JSON lines, runs as JSON",
    "wandb:[ENTITY/]PROJECT": "Weights & Biases",
}
"""Every form that `open_sink` takes, and what it means."""

_MLFLOW = re.compile(r"(sqlite:///|https?://|postgresql(\+psycopg2)?://).")
_PROJECT = re.compile(r"(?:(?P<entity>[\w.-]+)/)?(?P<project>[\w.-]+)")


class SinkUriError(ValueError):
    """A text that names no sink, or one whose package is not installed."""


def open_sink(
    uri: str,
    *,
    artifact_root: str | None = None,
    folder: Path | str | None = None,
    own: bool = False,
) -> Sink:
    """The sink that `uri` names (see `SINK_URIS`). Opens nothing, imports nothing heavy.

    `artifact_root`: where an MLflow database that is written directly keeps artifacts. `folder`:
    where W&B keeps its files. `own`: a SQLite file is the home's own. Raises `SinkUriError`.

    >>> open_sink("jsonl:results").store_id().partition(":")[0]
    'jsonl'
    """
    if _MLFLOW.match(uri):
        if uri.startswith("postgresql"):
            _needs("psycopg2", "postgres", uri)
        return MlflowSink(uri, artifact_root=artifact_root, own=own)
    scheme, colon, rest = uri.partition(":")
    if colon and rest:
        if scheme == "jsonl":
            return JsonlSink(rest)
        if scheme == "parquet":
            return ParquetSink(rest)
        found = _PROJECT.fullmatch(rest)
        if scheme == "wandb" and found is not None:
            _needs("wandb", "wandb", uri)
            return WandbSink(found["project"], found["entity"], folder=folder)
    forms = "; ".join(f"{form} ({meaning})" for form, meaning in SINK_URIS.items())
    raise SinkUriError(f"'{without_password(uri)}' names no place for runs. Valid are: {forms}.")


def check_place(uri: str) -> None:
    """Raises `SinkUriError` if runs can't go to a file or folder: its parent is missing, or the
    file is there and is none of MLflow's. Makes and changes nothing."""
    scheme, _, rest = uri.partition(":")
    database = database_of(uri)
    if database is not None:
        place = database.absolute()
    elif scheme in ("jsonl", "parquet"):
        place = Path(rest).expanduser().absolute()
    else:
        return
    if not place.parent.is_dir():
        raise SinkUriError(f"'{uri}': there is no folder '{place.parent}'. Make it, or correct it.")
    if database is not None:
        try:
            refuse_others(database)
        except (SinkError, OSError, sqlite3.Error) as error:
            raise SinkUriError(f"'{uri}' cannot be used: {error}") from error


def _needs(module: str, extra: str, uri: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise SinkUriError(
            f"'{without_password(uri)}' needs a package that is not installed: "
            f"pip install 'orrery[{extra}]'"
        )
