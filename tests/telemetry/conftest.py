"""Fixtures of the telemetry tests: MLflow's schema is made once, each test gets a copy."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from telemetry import Emitter, MlflowSink, StudyRun, TrialEnd, TrialRun, spool_path


@pytest.fixture(scope="session")
def empty_store(mlflow_schema: Path) -> Path:
    """An MLflow database with its schema and nothing else."""
    return mlflow_schema


@dataclass(frozen=True)
class Store:
    """A real MLflow store in SQLite, read past MLflow."""

    path: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.path}"

    def rows(self) -> list[tuple[str, int, float, int]]:
        """(key, step, value, is_nan) of every metric row."""
        with closing(sqlite3.connect(self.path)) as connection:
            query = "SELECT key, step, value, is_nan FROM metrics ORDER BY key, step"
            return list(connection.execute(query))

    def runs(self) -> dict[str, str]:
        """Run name -> status; fails if a name was made twice."""
        with closing(sqlite3.connect(self.path)) as connection:
            found = list(connection.execute("SELECT name, status FROM runs"))
        assert len({name for name, _ in found}) == len(found), "a run was made twice"
        return dict(found)


@pytest.fixture
def new_store(empty_store: Path, tmp_path: Path) -> Callable[[str], Store]:
    """Makes a fresh copy of the empty store under a name."""
    return lambda name: Store(Path(shutil.copy(empty_store, tmp_path / f"{name}.db")))


@pytest.fixture
def store(new_store: Callable[[str], Store]) -> Store:
    return new_store("mlflow")


@pytest.fixture
def sink(store: Store, tmp_path: Path) -> MlflowSink:
    return MlflowSink(store.uri, artifact_root=str(tmp_path / "mlartifacts"))


@pytest.fixture
def study(tmp_path: Path) -> StudyRun:
    return StudyRun(
        "lora-sweep", "lora-sweep-1f2e", note="# Question\nDoes it?", folder=str(tmp_path / "study")
    )


@pytest.fixture
def trial(tmp_path: Path) -> TrialRun:
    folder = tmp_path / "trials" / "4c5415609b1d2e7f"
    folder.mkdir(parents=True)
    return TrialRun(
        "4c5415609b1d2e7f",
        str(folder),
        arm="r8",
        replicate=0,
        factors={"rank": 8, "arm": "x"},
        params={"lora": {"rank": 8}, "seed": 0},
    )


@pytest.fixture
def end() -> TrialEnd:
    return TrialEnd("done", 1_700_000_000_000, final={"f1": 61.5, "em": None}, best={"f1": 63.0})


@pytest.fixture
def emit() -> Iterator[Callable[..., Emitter]]:
    """Makes an emitter for a rank of an attempt of a trial; all are closed at the end."""
    made: list[Emitter] = []

    def make(trial: TrialRun, attempt: int = 0, rank: int = 0, **options: object) -> Emitter:
        path = spool_path(trial.path / f"attempt-{attempt:04d}", rank)
        made.append(
            Emitter(path, trial=trial.identity, attempt=attempt, rank=rank, **options)  # type: ignore[arg-type]
        )
        return made[-1]

    yield make
    for emitter in made:
        emitter.close()
