"""MLflow's database is made whole or not at all."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from telemetry import MlflowSink, StudyRun
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


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%41b", "a b"])
def test_a_home_of_any_name_keeps_its_database(
    name: str, empty_store: Path, tmp_path: Path
) -> None:
    database = tmp_path / name / "mlflow.db"
    database.parent.mkdir()
    shutil.copy(empty_store, database)
    sink = MlflowSink(f"sqlite:///{database}")
    before, made = database.stat().st_ino, sink.store_id()
    assert not made.endswith("#none")
    sink.prepare()
    sink.write_study(StudyRun("sweep", "sweep-1"))
    assert sink.store_id() == made
    assert database.stat().st_ino == before
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)


def test_a_database_that_cannot_be_looked_at_is_not_set_aside(
    empty_store: Path, tmp_path: Path
) -> None:
    """The process is out of file descriptors."""
    database = tmp_path / "mlflow.db"
    shutil.copy(empty_store, database)
    code = """
import os, resource, sqlite3, sys
from pathlib import Path
from telemetry.sinks import mlflow_schema
from telemetry import MlflowSink, SinkUnavailableError
database, sink = Path(sys.argv[1]), MlflowSink("sqlite:///" + sys.argv[1])
sink.store_id()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for look, refusal in (
    (lambda: mlflow_schema.make_whole(database), sqlite3.OperationalError),
    (sink.store_id, SinkUnavailableError),
):
    try:
        look()
    except refusal:
        continue
    os._exit(3)
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", code, str(database)])
    assert done.returncode == 0
    assert not list(tmp_path.glob("*damaged*"))
    assert mlflow_schema.is_whole(database)


def test_a_store_that_was_never_made_is_named_so(tmp_path: Path) -> None:
    assert MlflowSink(f"sqlite:///{tmp_path / 'mlflow.db'}").store_id().endswith("#none")
    (tmp_path / "mlflow.db").write_bytes(b"not a database, but long enough to look at" * 10)
    assert MlflowSink(f"sqlite:///{tmp_path / 'mlflow.db'}").store_id().endswith("#none")
