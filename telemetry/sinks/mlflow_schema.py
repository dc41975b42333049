"""MLflow's SQLite schema, made whole or not at all.

MLflow migrates an empty database in some forty steps, for seconds. A process that dies among them
leaves one that MLflow can neither use nor mend. So a new database is made under another name and
renamed when it is complete, and one that is found half made is set aside: it is only a view. A
file that MLflow has not begun is somebody else's, and is refused.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from telemetry.filesystem import is_local
from telemetry.sinks.protocol import SinkError

logger = logging.getLogger(__name__)

_IN_USE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_HEADER = b"SQLite format 3\0"
_TEMPORARY = "_alembic_tmp_"
_OF_EXPERIMENTS = frozenset({"experiment_id", "artifact_location", "lifecycle_stage"})
"""Columns that MLflow's table of experiments has from its first migration on."""


def make_whole(database: Path, *, own: bool = False) -> None:
    """Makes the database if it is missing or half made. The caller holds the store's lock.

    Raises what MLflow raises if it cannot be made; then nothing is left behind. Raises
    `sqlite3.Error` if it is there and cannot be looked at, `SinkError` if it is none of MLflow's:
    then it stays as it is. `own` as in `refuse_others`.
    """
    if database.exists():
        refuse_others(database, own=own)
        if is_whole(database):
            return
        aside = _set_aside(database)
        logger.warning("%s was half made; set aside as %s and made anew", database, aside.name)
    fresh = database.with_name(f"{database.name}.new")
    _remove(fresh)
    try:
        _migrate(fresh)
        os.replace(fresh, database)
    finally:
        _remove(fresh)


def refuse_others(database: Path, *, own: bool = False) -> None:
    """Raises `SinkError` if the file is there and MLflow has not begun it. It changes no file.

    An empty file, or a database without tables, is nobody's. `own`: no one but us writes under
    this name, so a file that is no database at all is one of ours that was damaged. Raises
    `sqlite3.Error` if it cannot be looked at now.
    """
    if not database.exists():
        return
    try:
        if _is_mlflows(database):
            return
    except sqlite3.Error as error:
        if _code(error) in _IN_USE:
            return
        if _code(error) not in _DAMAGED:
            raise
        if own:
            return
    raise SinkError(f"'{database}' is not an MLflow store; name another file.")


def _is_mlflows(database: Path) -> bool:
    """Whether MLflow has made the tables, or begun to: with no other's among those, then."""
    if database.is_file() and database.stat().st_size == 0:
        return True
    with closing(_untouched(database)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = {name for (name,) in found if not name.startswith("sqlite_")}
        if not tables:
            return True
        named = connection.execute(
            "SELECT name FROM pragma_table_info(?)",
            ("experiments" if "experiments" in tables else f"{_TEMPORARY}experiments",),
        )
        begun = {name for (name,) in named} >= _OF_EXPERIMENTS
    if begun and "alembic_version" in tables and is_whole(database):
        return True
    if not begun and tables != {"alembic_version"}:
        return False
    return {name.removeprefix(_TEMPORARY) for name in tables} <= _mlflows_tables()


def _untouched(database: Path) -> sqlite3.Connection:
    """As `read_only`. That would put two files beside a database in WAL mode that nobody has open;
    one without a log may be read as it lies. Raises `sqlite3.DatabaseError` for no database."""
    try:
        with database.open("rb") as file:
            head = file.read(20)
    except OSError:
        return read_only(database)  # says so in SQLite's own way
    ahead = head.startswith(_HEADER) and head[18:20] == b"\2\2"
    if ahead and not database.with_name(f"{database.name}-wal").exists():
        return sqlite3.connect(f"{database.absolute().as_uri()}?immutable=1", uri=True)
    return read_only(database)


def _mlflows_tables() -> set[str]:
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.model_registry.dbmodels import models as registered  # noqa: F401
    from mlflow.store.tracking.dbmodels import models as tracked  # noqa: F401

    return {"alembic_version", *Base.metadata.tables}


def is_whole(database: Path) -> bool:
    """Whether every migration it needs has been applied: cheap, it opens no MLflow.

    The last thing MLflow does to a new store is to make its experiment 0. A database of an older
    MLflow counts as whole: MLflow migrates it, or says how. So does one that is in use. Raises
    `sqlite3.Error` if it cannot be looked at now (no right to, too many open files, a bad disk).
    """
    try:
        with closing(read_only(database)) as connection:
            if connection.execute("SELECT 1 FROM experiments LIMIT 1").fetchone() is None:
                return False
            left = "SELECT 1 FROM sqlite_master WHERE name LIKE '\\_alembic\\_tmp%' ESCAPE '\\'"
            return connection.execute(left).fetchone() is None
    except sqlite3.Error as error:
        if has_no_schema(error):
            return False
        if _code(error) in _IN_USE:
            return True
        raise


def read_only(database: Path) -> sqlite3.Connection:
    """A connection that makes no file and changes none."""
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)


def has_no_schema(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is no database, or lacks tables: nothing else does."""
    return _code(error) in _DAMAGED or "no such table" in str(error)


def _code(error: sqlite3.Error) -> int | None:
    """The primary part of SQLite's result code; None for an error of the module itself."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def uri_of(database: Path, query: str = "") -> str:
    """The URI by which MLflow opens a database: some versions of SQLAlchemy unquote it, others do
    not. Raises `SinkError` if there is none."""
    from sqlalchemy.engine import make_url

    for path in (str(database), quote(str(database))):
        if make_url(f"sqlite:///{path}").database == str(database):
            return f"sqlite:///{path}{query}"
    raise SinkError(
        f"'{database}' has a character that MLflow cannot open in a path. Move the home, or "
        "publish to another place."
    )


def set_journal(database: Path) -> None:
    """Write-ahead logging on a local disk: readers do not hold up the writer, nor it them.

    Elsewhere a rollback journal: the other needs memory that all its readers share, which a network
    file system does not give. While another process has the database open, it stays as it is.
    """
    mode = "WAL" if is_local(database.parent) else "DELETE"
    with closing(sqlite3.connect(database)) as connection:
        (now,) = connection.execute("PRAGMA journal_mode").fetchone()
        if now.upper() != mode:
            try:
                connection.execute(f"PRAGMA journal_mode={mode}")
            except sqlite3.OperationalError as error:
                logger.warning("%s keeps its journal mode %s: %s", database, now, error)


def _migrate(database: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for chatty in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    store = SqlAlchemyStore(uri_of(database), str(database.parent / "mlartifacts"))
    store.engine.dispose()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # so that one file is all of it


def _set_aside(database: Path) -> Path:
    number = 1
    while (aside := database.with_name(f"{database.name}.damaged-{number}")).exists():
        number += 1
    os.replace(database, aside)
    for suffix in ("-wal", "-shm", "-journal"):  # what it has not taken in yet goes with it
        with suppress(FileNotFoundError):
            os.replace(database.with_name(database.name + suffix), f"{aside}{suffix}")
    return aside


def _remove(database: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
