"""Fixtures that all tests share: one Ray for the session, a home with MLflow's schema, data."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.stand_in.fixtures import slurm_stand_in as slurm_stand_in

if TYPE_CHECKING:
    from cluster import Resources
    from orchestrator.home import Home

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
SESSION_CPUS = 2

os.environ["HF_HUB_OFFLINE"] = "1"
for name in ("ORRERY_HOME", "ORRERY_TRACKING_URI", "RAY_ADDRESS"):
    os.environ.pop(name, None)

# A shell without job control starts what it puts into the background deaf to Ctrl-C, and so would
# be every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[Resources]:
    """A Ray of this process, that every study run in this process uses and leaves running."""
    from cluster import LocalCluster

    with LocalCluster(cpus=SESSION_CPUS) as offered:
        yield offered


@pytest.fixture(scope="session")
def mlflow_schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its schema and nothing else: making one takes seconds."""
    from telemetry import MlflowSink

    path = tmp_path_factory.mktemp("schema") / "mlflow.db"
    MlflowSink(f"sqlite:///{path}").prepare()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home of this test, which is also `$ORRERY_HOME`."""
    from orchestrator.home import Home

    place = Home.find(tmp_path / "home").writable()
    monkeypatch.setenv("ORRERY_HOME", str(place.root))
    return place


@pytest.fixture
def mlflow_home(home: Home, mlflow_schema: Path) -> Home:
    """A home whose MLflow has its schema already."""
    shutil.copy(mlflow_schema, home.root / "mlflow.db")
    return home


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real models and data beside the checkout; skips where they are not."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the folder '{SHARED_DATA}' with real models and data")
    return SHARED_DATA
