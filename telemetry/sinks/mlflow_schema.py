"""MLflow's SQLite schema, made whole or not at all.

MLflow migrates an empty database in some forty steps, for seconds. A process that dies among them
leaves one that MLflow can neither use nor mend. So a new database is made under another name and
renamed when it is complete, and one that is found half made is set aside: it is only a view.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from telemetry.filesystem import is_local
from telemetry.sinks.protocol import SinkError

logger = logging.getLogger(__name__)

_IN_USE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def make_whole(database: Path) -> None:
    """Makes the database if it is missing or half made. The caller holds the store's lock.

    Raises what MLflow raises if it cannot be made; then nothing is left behind. Raises
    `sqlite3.Error` if it is there and cannot be looked at: then it stays as it is.
    """
    if database.exists():
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
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    return aside


def _remove(database: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
