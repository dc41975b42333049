"""A node that falls silent: nothing tells its peers, and its tasks run elsewhere all the same."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]

PATIENCE_S = 150.0
ELSEWHERE_WITHIN_S = 45.0
"""What is promised to users; plain Ray takes minutes."""
LEFT_WITHIN_S = 90.0

DRIVER = """
import json, sys, time
from pathlib import Path
import ray
from cluster import ClusterRequest
from cluster.head import Head

home = Path(sys.argv[1])
head = Head(ClusterRequest("study-1", home, home / "studies" / "study-1"))
started = head.start()
print(json.dumps([started.address, str(started.token_path)]), flush=True)
while sum(node["Alive"] and "CPU" in node["Resources"] for node in ray.nodes()) < 2:
    time.sleep(0.2)

@ray.remote(num_cpus=1, max_retries=3)
def second():
    time.sleep(1)

ray.get([second.remote() for _ in range(2)])
print("ready", flush=True)
tasks = [second.remote() for _ in range(20)]
sys.stdin.readline()
cut = time.monotonic()
ray.get(tasks)
print(f"done {time.monotonic() - cut}", flush=True)
head.stop()
"""


def test_tasks_of_a_cut_node_run_elsewhere_and_both_sides_let_go(
    login: Lab, tmp_path: Path
) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert driver.stdin is not None
    assert driver.stdout is not None
    nodes = []
    try:
        address, token = json.loads(driver.stdout.readline())
        assert address.partition(":")[0] == login.address
        for number, name in enumerate(login.nodes[:2]):
            told: dict[str, object] = {"address": address, "token": token, "memory_gib": 1}
            told |= {"folder": str(tmp_path / "nodes"), "pilot": f"1_{number}"}
            words = [sys.executable, "-m", "tests.lab.joining", json.dumps(told)]
            nodes.append(login.start(name, words, tmp_path / f"{name}.log"))
        assert "ready\n" in driver.stdout
        time.sleep(2.5)  # in the middle of some tasks
        login.cut(login.nodes[0])
        driver.stdin.write("cut\n")
        driver.stdin.flush()
        done = next(line for line in driver.stdout if line.startswith("done "))
        assert float(done.split()[1]) < ELSEWHERE_WITHIN_S
        assert driver.wait(PATIENCE_S) == 0
        for node in nodes:  # the one by a dead head, the other by a head it does not hear
            assert node.wait(LEFT_WITHIN_S) == 0
    finally:
        driver.kill()
        driver.wait()
        for node in nodes:
            node.kill()
            node.wait()
