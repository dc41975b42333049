"""MLflow's database is made whole or not at all."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from telemetry import MlflowSink
from telemetry.sinks import mlflow_schema


def test_a_database_that_is_whole_is_left_alone(empty_store: Path, tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    shutil.copy(empty_store, database)
    before = database.stat().st_ino
    mlflow_schema.make_whole(database)
    assert database.stat().st_ino == before
    assert mlflow_schema.is_whole(database)


def test_one_that_was_half_made_is_set_aside_and_made_anew(
    empty_store: Path, tmp_path: Path
) -> None:
    database = tmp_path / "mlflow.db"
    shutil.copy(empty_store, database)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE _alembic_tmp_experiments (x)")
    assert not mlflow_schema.is_whole(database)
    MlflowSink(f"sqlite:///{database}").prepare()
    assert mlflow_schema.is_whole(database)
    assert (tmp_path / "mlflow.db.damaged-1").exists()


@pytest.mark.parametrize(("local", "mode"), [(True, "wal"), (False, "delete")])
def test_it_is_written_ahead_on_a_local_disk_and_never_on_a_network_one(
    local: bool, mode: str, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "mlflow.db"
    shutil.copy(empty_store, database)
    with closing(sqlite3.connect(database)) as connection:  # as if made on the other kind
        connection.execute(f"PRAGMA journal_mode={'delete' if local else 'wal'}")
    monkeypatch.setattr(mlflow_schema, "is_local", lambda path: local)
    MlflowSink(f"sqlite:///{database}").prepare()
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == (mode,)


def test_an_interrupted_migration_leaves_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "mlflow.db"

    def interrupted(fresh: Path) -> None:
        fresh.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(mlflow_schema, "_migrate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mlflow_schema.make_whole(database)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(b"not a database, but long enough to look at" * 10)
    assert not mlflow_schema.is_whole(database)
