"""MLflow for a team: a server before Postgres, and Postgres written directly."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from telemetry import MlflowSink, Row, StudyRun, TrialEnd, TrialRun
from telemetry.sinks import Sink
from tests.telemetry.sinks.conftest import Postgres
from tests.telemetry.sinks.test_contract import MlflowContract

pytestmark = pytest.mark.slow

Server = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def direct(postgres: Postgres) -> str:
    """The URI of a database with MLflow's schema."""
    uri = postgres.new_database("direct")
    MlflowSink(uri).prepare()
    return uri


@pytest.fixture(scope="module")
def behind_server(
    postgres: Postgres, mlflow_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URI of a server before a database."""
    folder = tmp_path_factory.mktemp("server")
    with mlflow_server(postgres.new_database("served"), folder / "artifacts") as uri:
        yield uri


class TestPostgresDirectly(MlflowContract):
    @pytest.fixture(autouse=True)
    def _emptied(self, postgres: Postgres, direct: str, empty_store: Path) -> None:
        postgres.empty("direct")
        self.direct, self.empty_store = direct, empty_store

    def uri(self, folder: Path) -> str:
        return f"sqlite:///{self.empty_store}" if folder.name == "other" else self.direct

    def make_sink(self, folder: Path) -> Sink:
        uri = self.uri(folder).replace("+psycopg2", "")  # the plain form is the user's
        return MlflowSink(uri, artifact_root=(folder / "mlartifacts").as_uri())


class TestServerBeforePostgres(MlflowContract):
    @pytest.fixture(autouse=True)
    def _emptied(self, postgres: Postgres, behind_server: str, empty_store: Path) -> None:
        postgres.empty("served")
        self.served, self.empty_store = behind_server, empty_store

    def uri(self, folder: Path) -> str:
        return f"sqlite:///{self.empty_store}" if folder.name == "other" else self.served

    def make_sink(self, folder: Path) -> Sink:
        return MlflowSink(self.uri(folder), artifact_root=(folder / "not-for-servers").as_uri())


PREPARE = "import sys; from telemetry import MlflowSink; MlflowSink(sys.argv[1]).prepare()"


def test_two_that_start_at_once_make_one_schema(postgres: Postgres) -> None:
    uri = postgres.new_database("at-once")
    started = [
        subprocess.Popen([sys.executable, "-c", PREPARE, uri], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in started:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert MlflowSink(uri).store_id().rpartition("#")[2].isdigit()


WRITE = """
import sys
from telemetry import *
name = sys.argv[2]
sink, study = MlflowSink(sys.argv[1]), StudyRun(sys.argv[3], f"{name}-77", origin=name)
sink.prepare()
for number in range(5):
    trial = TrialRun(f"{name}{number}", "/nowhere", arm="a", replicate=number)
    for start in range(0, 300, 100):
        rows = [Row("loss", step, 5 + step, step / 3) for step in range(start, start + 100)]
        sink.write_trial(study, trial, rows)
    sink.write_trial(study, trial, [], TrialEnd("done", 9))
"""


@pytest.mark.parametrize("studies", [("one", "two"), ("same", "same")])
def test_a_team_writes_at_once_and_every_row_is_there_once(
    postgres: Postgres, behind_server: str, studies: tuple[str, str]
) -> None:
    postgres.empty("served")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, behind_server, name, study],
            stderr=subprocess.PIPE, text=True,
        )
        for name, study in zip(("ada", "bob"), studies, strict=True)
    ]  # fmt: skip
    for writer in writers:
        _, said = writer.communicate(timeout=300)
        assert writer.returncode == 0, said
    counted = (
        "SELECT (SELECT count(*) FROM metrics), "
        "(SELECT count(DISTINCT (run_uuid, key, step)) FROM metrics), "
        "(SELECT count(*) FROM runs), (SELECT count(*) FROM experiments)"
    )
    with closing(postgres.connected("served")) as connection, connection.cursor() as cursor:
        cursor.execute(counted)
        assert cursor.fetchone() == (3000, 3000, 12, 1 + len(set(studies)))


def test_a_database_that_was_emptied_counts_as_another_store(postgres: Postgres) -> None:
    uri = postgres.new_database("again")
    assert MlflowSink(uri).store_id().endswith("#none")
    sink = MlflowSink(uri)
    sink.prepare()
    first = sink.store_id()
    study = StudyRun("s", "s-1")
    trial = TrialRun("t", "/nowhere", arm="a", replicate=0)
    sink.write_trial(study, trial, [Row("a", 1, 5, 0.5)], TrialEnd("done", 9))
    postgres.run('DROP DATABASE "again" WITH (FORCE)')
    postgres.new_database("again")
    again = MlflowSink(uri)
    assert again.store_id().endswith("#none")
    again.prepare()
    assert again.store_id() != first
