"""The store behind an MLflow URI: how it is opened, made, named, and what its errors mean."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from telemetry.filesystem import locked
from telemetry.sinks.mlflow_schema import (
    has_no_schema,
    make_whole,
    read_only,
    refuse_others,
    set_journal,
    uri_of,
)
from telemetry.sinks.protocol import RunGoneError, SinkError, SinkUnavailableError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgresql+psycopg2://")
_SCHEMA_LOCK = 0x0FFE11
"""The advisory lock that whoever makes the schema in a Postgres database holds."""
_FIRST_MADE = "SELECT MIN(creation_time) FROM experiments"
_REFUSALS = frozenset(
    {
        "BAD_REQUEST",
        "CUSTOMER_UNAUTHORIZED",
        "INVALID_PARAMETER_VALUE",
        "NOT_IMPLEMENTED",
        "PERMISSION_DENIED",
        "RESOURCE_ALREADY_EXISTS",
        "UNAUTHENTICATED",
    }
)


class MlflowStore:
    """A tracking store by its URI: SQLite, Postgres, or a server. Opens nothing by itself.

    Every method raises `SinkUnavailableError` or `SinkError`.
    """

    def __init__(self, uri: str, *, own: bool = False) -> None:
        """`own`: the file is a home's own, under a name that no one else writes."""
        self.uri, self.own = uri, own
        self._made: MlflowClient | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri, "own": self.own, "_made": None}

    def prepare(self) -> None:
        """Makes the schema of a database (seconds, the first time); WAL for one on a local disk."""
        with translated():
            database = database_of(self.uri)
            if database is None:
                if self.uri.startswith(_POSTGRES) and self._made_at() == "none":
                    self._make_postgres_schema()
                self.client().search_experiments(max_results=1)
                return
            refuse_others(database, own=self.own)
            database.parent.mkdir(parents=True, exist_ok=True)
            with locked(database.with_name(f"{database.name}.lock")):
                make_whole(database, own=self.own)
                set_journal(database)
                self._let_go_of_connections()
                self.client().search_experiments(max_results=1)

    def store_id(self) -> str:
        """The URI without a password, and when the store's first experiment was made."""
        return f"{without_password(self.uri)}#{self._made_at()}"

    def client(self) -> MlflowClient:
        """MLflow's client. Imports MLflow, and opens a database, the first time."""
        if self._made is None:
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
            os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
            if self.uri.startswith("http"):  # `RetryingSink` waits, not MLflow
                os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
                os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
            from mlflow import MlflowClient

            for chatty in ("mlflow.store.db.utils", "alembic"):
                logging.getLogger(chatty).setLevel(logging.WARNING)
            with self._alone_with_the_schema():
                self._made = MlflowClient(with_driver(self.uri))
        return self._made

    def _let_go_of_connections(self) -> None:
        """MLflow keeps a database open for the whole process, even when its file was removed and
        made anew: what is written then goes nowhere."""
        engine = getattr(self.client()._tracking_client.store, "engine", None)
        if engine is not None:
            engine.dispose()

    def copy_artifacts(self, artifact_uri: str, folder: str, under: str = "") -> None:
        """Copies the content of `folder` to a run's `artifact_uri`, below `under`.

        MLflow's own `log_artifacts` asks the store for the run first.
        """
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        place = get_artifact_repository(artifact_uri, tracking_uri=self.uri)
        place.log_artifacts(folder, under or None)

    def _made_at(self) -> Any:
        database = database_of(self.uri)
        if database is not None:
            with translated():
                return _made_at(database)
        with translated():
            if not self.uri.startswith(_POSTGRES):
                return self.client().get_experiment("0").creation_time
            import psycopg2.errors

            with closing(_connected(self.uri)) as connection, connection.cursor() as cursor:
                try:
                    cursor.execute(_FIRST_MADE)
                    return cursor.fetchone()[0]
                except psycopg2.errors.UndefinedTable:
                    return "none"

    def _make_postgres_schema(self) -> None:
        """MLflow does it on opening, but only once in a process: the database may be new since."""
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        self.client()
        with self._alone_with_the_schema():
            SqlAlchemyStore(with_driver(self.uri), "mlartifacts")

    @contextmanager
    def _alone_with_the_schema(self) -> Iterator[None]:
        """Opening a new Postgres database makes its schema: one process at a time."""
        if not self.uri.startswith(_POSTGRES):
            yield
            return
        with closing(_connected(self.uri)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (_SCHEMA_LOCK,))
            yield  # the lock ends with the connection


def _made_at(database: Path) -> Any:
    """When the first experiment of a file was made, in ms; ``none`` if it has no schema yet."""
    if not database.exists():
        return "none"
    try:
        with closing(read_only(database)) as connection:
            return connection.execute(_FIRST_MADE).fetchone()[0]
    except sqlite3.Error as error:
        if has_no_schema(error):
            return "none"
        raise


def database_of(uri: str) -> Path | None:
    """The file of a ``sqlite:///`` URI, as it is named: a ``?`` in a folder begins no query.

    >>> database_of("sqlite:////what?/mlflow.db?timeout=5")
    PosixPath('/what?/mlflow.db')
    """
    if not uri.startswith(_SQLITE):
        return None
    path, found, query = uri[len(_SQLITE) :].rpartition("?")
    return Path(path if found and "=" in query and "/" not in query else path + found + query)


def with_driver(uri: str) -> str:
    """The URI as MLflow takes it, which hands it to SQLAlchemy.

    That takes ``postgresql://`` for another driver than the one of our extra, and may unquote the
    path of a file. Raises `SinkError` for a file that it can't open.
    """
    database = database_of(uri)
    if database is not None:
        return uri_of(database, uri[len(_SQLITE) + len(str(database)) :])
    plain, named = _POSTGRES
    return uri.replace(plain, named, 1) if uri.startswith(plain) else uri


def _connected(uri: str) -> Any:
    import psycopg2

    return psycopg2.connect(_POSTGRES[0] + uri.partition("://")[2])


def without_password(uri: str) -> str:
    """The URI as it may be shown and written down.

    >>> without_password("postgresql://me:secret@host/runs")
    'postgresql://me@host/runs'
    """
    scheme, found, rest = uri.partition("://")
    user, at, place = rest.rpartition("@")
    return f"{scheme}{found}{user.partition(':')[0]}{at}{place}"


@contextmanager
def translated() -> Iterator[None]:
    """MLflow's errors as ours: refused for good, run gone, or (all else) absent for now."""
    try:
        yield
    except (SinkError, ImportError):
        raise
    except Exception as error:
        code = str(getattr(error, "error_code", ""))
        text = f"MLflow: {error}"
        if code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND") or "'active' state" in text:
            raise RunGoneError(text) from error
        if code in _REFUSALS or isinstance(error, (TypeError, ValueError, AttributeError)):
            raise SinkError(text) from error
        raise SinkUnavailableError(text) from error
