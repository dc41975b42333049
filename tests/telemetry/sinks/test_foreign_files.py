"""A file that MLflow has not made is refused, and stays as it is with all that lies beside it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from telemetry import MlflowSink
from telemetry.sinks import SinkError, SinkUriError, mlflow_schema
from telemetry.sinks.opening import check_place


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def text(path: Path) -> None:
    path.write_text("a text of somebody's own\n" * 40)


def tables(*statements: str) -> object:
    def make(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    return make


def in_wal_mode(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE letters (x)")


FOREIGN = {
    "text": text,
    "other tables": tables("CREATE TABLE letters (x)"),
    "experiments of their own": tables(
        "CREATE TABLE experiments (name)", "INSERT INTO experiments VALUES ('mine')"
    ),
    "another's migrations": tables(
        "CREATE TABLE alembic_version (version_num)", "CREATE TABLE orders (x)"
    ),
    "ahead": in_wal_mode,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_somebody_else_is_refused_and_not_touched(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    FOREIGN[kind](path)  # type: ignore[operator]
    before = files(tmp_path)
    uri = f"sqlite:///{path}"
    with pytest.raises(SinkUriError, match="is not an MLflow store; name another file"):
        check_place(uri)
    with pytest.raises(SinkError, match="is not an MLflow store; name another file"):
        MlflowSink(uri).prepare()
    assert files(tmp_path) == before


def test_a_database_that_is_open_keeps_its_write_ahead_log(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE letters (x)")
        connection.execute("INSERT INTO letters VALUES (1)")
        connection.commit()
        with pytest.raises(SinkUriError, match="is not an MLflow store"):
            check_place(f"sqlite:///{path}")
        assert connection.execute("SELECT count(*) FROM letters").fetchone() == (1,)
        assert path.with_name("theirs.db-wal").stat().st_size > 0


def test_only_a_homes_own_file_is_set_aside_when_it_is_no_database(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        mlflow_schema, "_migrate", lambda fresh: shutil.copy(empty_store, fresh) and None
    )
    path = tmp_path / "mlflow.db"
    text(path)
    before = path.read_bytes()
    path.with_name("mlflow.db-wal").write_bytes(b"what it had not taken in")
    with pytest.raises(SinkError):
        mlflow_schema.make_whole(path)
    mlflow_schema.make_whole(path, own=True)
    assert mlflow_schema.is_whole(path)
    assert path.with_name("mlflow.db.damaged-1").read_bytes() == before
    aside = path.with_name("mlflow.db.damaged-1-wal")
    assert aside.read_bytes() == b"what it had not taken in"


@pytest.mark.parametrize("form", ["sqlite:///{}/x.db", "jsonl:{}/out", "parquet:{}/out"])
def test_a_folder_that_is_missing_is_not_made(form: str, tmp_path: Path) -> None:
    with pytest.raises(SinkUriError, match="there is no folder"):
        check_place(form.format(tmp_path / "missing" / "deep"))
    assert not (tmp_path / "missing").exists()
    check_place(form.format(tmp_path))
