"""Studies on a Ray cluster that is there already, from a node of it and through its Job API."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.ray_jobs import RayJobs
from cluster.slurm.records import JobRecords
from orchestrator.attempts import attempts
from orchestrator.home import Home
from orchestrator.ledger import read_trial
from tests.cluster.running_ray import RunningRay, running_ray
from tests.conftest import ROOT
from tests.orchestrator.quick_study import PATIENCE_S, quick_study

pytestmark = pytest.mark.slow

DASHBOARD = ("aiohttp_cors", "opencensus", "prometheus_client", "grpc", "smart_open")
needs_dashboard = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in DASHBOARD),
    reason="Ray's dashboard, which its Job API is part of, needs ray[default]",
)


@pytest.fixture(scope="module")
def theirs() -> Iterator[RunningRay]:
    with running_ray() as ray:
        yield ray


@pytest.fixture(scope="module")
def with_dashboard() -> Iterator[RunningRay]:
    with running_ray(dashboard=True) as ray:
        yield ray


def command(study: dict[str, Any], folder: Path, on: str) -> list[str]:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    words = [sys.executable, "-m", "orchestrator.cli", "run", str(path)]
    return [*words, "--home", str(folder / "home"), "--on", on]


def environment(ray: RunningRay) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | ray.environment


def ran(study: dict[str, Any], folder: Path, on: str, ray: RunningRay) -> Home:
    folder.mkdir()
    done = subprocess.run(
        command(study, folder, on),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(ray),
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Home(folder / "home")


def metrics(home: Home) -> dict[str, Any]:
    found = {}
    for identity in home.identities():
        outcome = read_trial(home, identity).outcome
        assert outcome is not None
        found[identity] = outcome.values()
    return found


def test_a_study_gives_the_same_metrics_on_a_cluster_as_here(
    theirs: RunningRay, tmp_path: Path
) -> None:
    there = ran(quick_study(), tmp_path / "there", f"ray:{theirs.address}", theirs)
    here = ran(quick_study(), tmp_path / "here", "local", theirs)
    assert len(metrics(here)) == 4
    assert metrics(there) == metrics(here)


@needs_dashboard
def test_a_study_runs_in_the_cluster_through_its_jobs_from_the_copied_sources(
    with_dashboard: RunningRay, tmp_path: Path
) -> None:
    there = ran(
        quick_study(), tmp_path / "there", f"ray:{with_dashboard.dashboard}", with_dashboard
    )
    here = ran(quick_study(), tmp_path / "here", "local", with_dashboard)
    assert metrics(there) == metrics(here)
    (folder,) = there.studies.iterdir()
    (record,) = JobRecords(folder).all()
    assert (record.kind, record.ended_as) == ("ray-job", "SUCCEEDED")
    assert record.address == with_dashboard.dashboard
    assert record.sources is not None
    assert (there.root / "sources" / record.sources / "orchestrator").is_dir()
    assert not list(there.root.glob(".seen-*"))


@needs_dashboard
def test_whoever_follows_lets_go_and_the_job_goes_on_until_it_is_stopped(
    with_dashboard: RunningRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(with_dashboard.token_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    study = quick_study(base={"steps": 10_000, "step_s": 0.1}, seeds=[0])
    words = command(study, tmp_path, f"ray:{with_dashboard.dashboard}")
    follower = subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment(with_dashboard)
    )
    home = Home(tmp_path / "home")
    deadline = time.monotonic() + PATIENCE_S
    while not any(attempts(home.trial(identity)) for identity in home.identities()):
        assert follower.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    follower.send_signal(signal.SIGTERM)
    _, said = follower.communicate(timeout=PATIENCE_S)
    assert follower.returncode == 130
    assert "the job goes on in the cluster" in said
    assert "orrery cancel" in said

    (folder,) = home.studies.iterdir()
    (record,) = JobRecords(folder).open()
    jobs = RayJobs(with_dashboard.dashboard)
    assert jobs.job(record.id).status == "RUNNING"
    jobs.stop(record.id)
    assert jobs.wait(record.id, PATIENCE_S).status == "STOPPED"
    assert "nothing is lost" in jobs.log(record.id)
    for identity in home.identities():
        assert all(tried.life() == "dead" for tried in attempts(home.trial(identity)))
