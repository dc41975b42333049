"""Servers for the slow tests: Postgres by hand, and MLflow's own before it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.orchestrator.quick_study import wait_until


@dataclass(frozen=True)
class Postgres:
    """A Postgres server of this test run, on loopback, with a superuser `orrery`."""

    port: int

    def uri(self, database: str) -> str:
        return f"postgresql+psycopg2://orrery@127.0.0.1:{self.port}/{database}"

    def connected(self, database: str) -> Any:
        import psycopg2

        return psycopg2.connect(self.uri(database).replace("+psycopg2", ""))

    def run(self, statement: str, database: str = "postgres") -> None:
        with closing(self.connected(database)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    def new_database(self, name: str) -> str:
        """Makes an empty database; its URI."""
        self.run(f'CREATE DATABASE "{name}"')
        return self.uri(name)

    def empty(self, database: str) -> None:
        """Removes every run and experiment but the first of an MLflow database."""
        tables = "metrics, latest_metrics, params, tags, runs, experiment_tags"
        self.run(f"TRUNCATE {tables} CASCADE", database)
        self.run("DELETE FROM experiments WHERE experiment_id <> 0", database)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Debian's Postgres, started by hand: initdb refuses root, so it runs as another user."""
    pytest.importorskip("psycopg2")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(programs[-1].parent) if programs else os.path.dirname(shutil.which("initdb") or "")
    if not found:
        pytest.skip("no Postgres here: apt-get install postgresql")
    user = None
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("Postgres does not run as root, and there is no user 'postgres'")
    folder = Path(tempfile.mkdtemp(prefix="orrery-postgres-"))
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()} if user else {}
    port = _free_port()
    try:
        subprocess.run(
            [f"{found}/initdb", "-D", "data", "-U", "orrery", "-A", "trust", "-N", "-E", "UTF8"],
            cwd=folder, check=True, stdout=subprocess.DEVNULL, **who,
        )  # fmt: skip
        command = [f"{found}/postgres", "-D", "data", "-h", "127.0.0.1", "-p", str(port)]
        command += ["-k", str(folder), "-c", "fsync=off"]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **who)
        try:
            wait_until(lambda: _answers(port), "Postgres answers")
            yield Postgres(port)
        finally:
            server.send_signal(signal.SIGINT)  # at once, whoever is connected
            server.wait(timeout=60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def mlflow_server() -> Callable[..., object]:
    """Starts `mlflow server` on a store: a context that gives its URI."""
    return _mlflow_server


@contextmanager
def _mlflow_server(store: str, artifacts: Path, more: Sequence[str] = ()) -> Iterator[str]:
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store]
    command += ["--artifacts-destination", artifacts.as_uri(), "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port), *more]
    artifacts.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (artifacts.parent / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        uri = f"http://127.0.0.1:{port}"
        wait_until(lambda: _healthy(uri), "MLflow's server answers")
        yield uri
    finally:
        server.terminate()
        server.wait(timeout=60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    import psycopg2

    try:
        psycopg2.connect(f"postgresql://orrery@127.0.0.1:{port}/postgres").close()
    except psycopg2.OperationalError:
        return False
    return True


def _healthy(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
