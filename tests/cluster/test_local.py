"""The local cluster: a Ray of our own, that is nobody else's."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from cluster import ClusterError, LocalCluster, NodeSize, Resources, TrialSize
from cluster.local import usable_cpus
from cluster.ray_notices import silence_notices

SESSION_CPUS = 2


def test_how_many_trials_fit() -> None:
    offered = Resources((NodeSize(cpus=8, gpus=1),))
    assert offered.fits(TrialSize(cpus=2)) == 4
    assert offered.fits(TrialSize(cpus=1, gpus=0.25)) == 4
    assert offered.fits(TrialSize(cpus=3)) == 2
    assert offered.fits(TrialSize(cpus=9)) == 0
    assert Resources((NodeSize(cpus=8),)).fits(TrialSize(gpus=1)) == 0


def test_memory_limits_how_many_trials_fit() -> None:
    offered = Resources((NodeSize(cpus=8, memory_gib=10),))
    assert offered.fits(TrialSize()) == 8
    assert offered.fits(TrialSize(memory_gib=4)) == 2
    assert offered.fits(TrialSize(memory_gib=0.5)) == 8
    assert offered.fits(TrialSize(memory_gib=11)) == 0
    assert Resources((NodeSize(cpus=8),)).fits(TrialSize(memory_gib=1000)) == 8


def test_a_rank_fits_on_one_node_and_the_ranks_of_a_trial_may_lie_on_several() -> None:
    offered = Resources((NodeSize(cpus=3), NodeSize(cpus=3)))
    assert offered.fits(TrialSize(cpus=2)) == 2
    assert offered.fits(TrialSize(cpus=2, ranks=2)) == 1
    assert offered.fits(TrialSize(cpus=4)) == 0


def test_usable_cpus_respect_the_affinity() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no CPU affinity")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= usable_cpus() <= len(before)


def test_a_ray_that_this_process_has_started_is_used_and_left_running(
    ray_session: Resources,
) -> None:
    import ray

    before = ray.get_runtime_context().gcs_address
    with LocalCluster() as offered:
        assert offered == ray_session
        assert offered.cpus == SESSION_CPUS
        assert ray.get_runtime_context().gcs_address == before
    assert ray.is_initialized()
    assert ray_session.memory_gib == pytest.approx(ray.cluster_resources()["memory"] / 2**30)


INSIDE = """
import json, os, re, sys
import psutil
from cluster import LocalCluster
import ray
with LocalCluster(cpus=1) as offered:
    ours = psutil.Process().children(recursive=True)
    words = [" ".join(p.cmdline()) for p in ours]
    print(json.dumps({
        "cpus": offered.cpus,
        "address": ray.get_runtime_context().gcs_address,
        "folder": re.search(r"/tmp/orrery-[A-Za-z0-9_-]+", " ".join(words)).group(),
        "dashboards": [w for w in words if "dashboard.py" in w or "dashboard/dashboard" in w],
        "usage_stats": os.environ["RAY_USAGE_STATS_ENABLED"],
        "ran": ray.get(ray.remote(lambda: os.getpid()).remote()) != os.getpid(),
        "listening": sorted({
            connection.laddr.ip
            for process in (psutil.Process(), *psutil.Process().children(recursive=True))
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        }),
    }))
print(ray.is_initialized())
"""


def test_a_ray_is_our_own_and_listens_to_this_machine_alone(
    ray_session: Resources, tmp_path: Path
) -> None:
    import ray

    theirs = ray.get_runtime_context().gcs_address
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(INSIDE)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "RAY_ADDRESS": theirs, "PYTHONPATH": str(root)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said, running = done.stdout.strip().splitlines()[-2:]
    found: dict[str, Any] = json.loads(said)
    assert found["address"] != theirs
    assert found["address"].startswith("127.0.0.1:")
    assert found["cpus"] == 1
    assert all("--host=127.0.0.1" in words for words in found["dashboards"])
    assert all("--disable-frontend" in words for words in found["dashboards"])
    assert found["usage_stats"] == "0"
    assert found["ran"]
    assert found["listening"]
    assert {address.removeprefix("::ffff:") for address in found["listening"]} == {"127.0.0.1"}
    assert running == "False"
    assert not Path(found["folder"]).exists()
    assert ray.is_initialized()


def test_what_killed_drivers_have_left_is_removed_at_the_next_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import ray

    for name in ("orrery-ray-killed", "orrery-ray-alive", "orrery-ray-no-lock", "other-killed"):
        (tmp_path / name / "session").mkdir(parents=True)
    for name in ("orrery-ray-killed", "orrery-ray-alive", "other-killed"):
        (tmp_path / name / "in-use").touch()
    held = os.open(tmp_path / "orrery-ray-alive" / "in-use", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    monkeypatch.setattr("cluster.ray_folder._SOCKET_ROOT", tmp_path)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **options: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 1.0})
    with LocalCluster():
        pass
    os.close(held)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"orrery-ray-alive", "orrery-ray-no-lock", "other-killed"}


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(RuntimeError("no port"), ClusterError), (KeyboardInterrupt(), KeyboardInterrupt)],
    ids=["error", "interrupt"],
)
def test_a_ray_that_does_not_start_leaves_nothing_behind(
    raised: BaseException,
    expected: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    import ray

    def fails(**options: Any) -> None:
        assert Path(options["_temp_dir"]).is_dir()
        raise raised

    monkeypatch.setattr("cluster.ray_folder._SOCKET_ROOT", tmp_path)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", fails)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with pytest.raises(expected) as caught:
        LocalCluster().__enter__()
    if expected is ClusterError:
        assert "no port. See: orrery doctor" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_ray_prints_no_page_of_its_own_into_tables_or_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ray._private import worker

    monkeypatch.setattr(worker, "print_to_stdstream", worker.print_to_stdstream)
    silence_notices()
    notice = {"lines": ["A worker died or was killed"], "pid": "raylet", "is_err": False}
    worker.print_to_stdstream(notice, ignore_prefix=False)
    assert capsys.readouterr() == ("", "")
