"""The lab itself: that it is a SLURM of several hosts, and that it fails as those do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.lab import network
from tests.lab.errors import LabError
from tests.lab.lab import Lab, sweep
from tests.lab.state import folder_of, load, names

pytestmark = pytest.mark.lab
PATIENCE_S = 90


def eventually(reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S} s"
        time.sleep(0.2)


def submit(lab: Lab, script: str, *options: str, user: str | None = None) -> str:
    """Submit a script; gives the job's id."""
    words = ["sbatch", "--parsable", f"--chdir={lab.shared}", *options, "--wrap", script]
    return lab.ask(words, user=user).strip()


def state_of(lab: Lab, job: str) -> str:
    said = lab.ask(["scontrol", "show", "job", "--oneliner", job])
    return next(word for word in said.split() if word.startswith("JobState=")).split("=")[1]


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def ticking(file: Path) -> str:
    """A script that says each 0.2 s that it lives."""
    return f"while :; do hostname >> {file}; sleep 0.2; done"


def test_jobs_run_on_hosts_of_their_own_that_share_folders(lab: Lab, tmp_path: Path) -> None:
    for folder in (lab.shared, tmp_path):
        said = folder / "said-%n"
        script = "hostname; touch /tmp/of-a-node"
        job = submit(lab, f"srun --output={said} sh -c '{script}'", "--nodes=3", "--wait")
        assert state_of(lab, job) == "COMPLETED"
        told = {path.read_text().splitlines()[0] for path in folder.glob("said-*")}
        assert told == set(lab.nodes)
    for name in lab.nodes:
        assert "of-a-node" in lab.run(name, ["ls", "/tmp"])
    assert not Path("/tmp/of-a-node").exists(), "a node's /tmp is its own"


def test_a_node_has_its_own_processes_and_address(lab: Lab) -> None:
    first, second = lab.nodes[:2]
    sleeper = lab.start(first, ["sleep", "1234"], lab.shared / "log")
    try:
        eventually(lambda: "sleep 1234" in lab.run(first, ["ps", "-eo", "args"]), "it runs")
        assert "sleep 1234" not in lab.run(second, ["ps", "-eo", "args"])
    finally:
        sleeper.kill()
        sleeper.wait()
    eventually(lambda: "sleep 1234" not in lab.run(first, ["ps", "-eo", "args"]), "it has ended")
    own = lab.run(first, [sys.executable, "-c", OWN_ADDRESS])
    assert own.strip() == lab.address_of(first)


OWN_ADDRESS = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.connect(("8.8.8.8", 80))
    print(asking.getsockname()[0])
"""


def test_jobs_of_two_users_run_on_one_node_at_once(lab: Lab) -> None:
    node = lab.nodes[0]
    files = {user: lab.shared / f"ticks-of-{user}" for user in ("root", "games")}
    for user, file in files.items():
        submit(lab, f"id -un >> {file}; {ticking(file)}", f"--nodelist={node}", user=user)
    eventually(lambda: all(len(lines(file)) > 3 for file in files.values()), "both run")
    for user, file in files.items():
        assert set(lines(file)) == {user, node}


def test_a_cut_node_lives_on_in_silence_and_is_found_again(lab: Lab) -> None:
    node = lab.nodes[0]
    ticks = lab.shared / "ticks"
    with listening(lab, node) as listener:
        assert reach(lab.address_of(node)), "it answers at first"
        job = submit(lab, ticking(ticks), f"--nodelist={node}", "--no-requeue")
        eventually(lambda: len(lines(ticks)) > 3, "it runs")
        lab.cut(node)
        so_far = len(lines(ticks))
        assert not reach(lab.address_of(node)), "no answer, and no word that there is none"
        eventually(lambda: len(lines(ticks)) > so_far + 3, "the job lives on")
        assert lab.condition(node) == "cut"
        eventually(lambda: lab.node_states()[node] == "down", "SLURM gives it up")
        assert state_of(lab, job) == "NODE_FAIL"
        lab.heal(node)
        assert reach(lab.address_of(node))
        assert listener.poll() is None, "what ran there was told nothing"
    eventually(lambda: lab.node_states()[node] == "idle", "SLURM has it back")
    ended = len(lines(ticks))
    assert lab.condition(node) == "on"
    eventually(lambda: "sleep 0.2" not in lab.run(node, ["ps", "-eo", "args"]), "its job is ended")
    assert len(lines(ticks)) >= ended


def test_a_killed_node_is_silent_and_its_job_runs_again_when_it_is_back(lab: Lab) -> None:
    node = lab.nodes[1]
    ticks = lab.shared / "ticks-of-the-killed"
    job = submit(lab, f"echo started >> {ticks}; sleep 300", f"--nodelist={node}", "--requeue")
    eventually(lambda: len(lines(ticks)) == 1, "it runs")
    lab.run(node, ["touch", "/tmp/in-memory"])
    lab.kill(node)
    assert lab.condition(node) == "off"
    assert not reach(lab.address_of(node)), "no power, no refusal"
    with pytest.raises(LabError, match=f"revive {node}"):
        lab.run(node, ["true"])
    lab.revive(node)
    assert "in-memory" not in lab.run(node, ["ls", "/tmp"])
    eventually(lambda: len(lines(ticks)) == 2, "it runs again")
    assert state_of(lab, job) == "RUNNING"


@pytest.mark.parametrize("partition", ["normal", "abrupt"])
def test_an_urgent_job_sends_others_back_to_the_queue(lab: Lab, partition: str) -> None:
    node = lab.nodes[2]
    told = lab.shared / f"told-in-{partition}"
    script = f"trap 'echo TERM >> {told}' TERM; echo started >> {told}; sleep 300 & wait; wait"
    whole = [f"--nodelist={node}", "--exclusive"]
    job = submit(lab, script, f"--partition={partition}", *whole)
    eventually(lambda: lines(told) == ["started"], "it runs")
    urgent = submit(lab, "sleep 1", "--partition=urgent", *whole)
    eventually(lambda: state_of(lab, urgent) == "COMPLETED", "the urgent job has run")
    eventually(lambda: lines(told) == ["started", "TERM", "started"], "the other runs again")
    assert state_of(lab, job) == "RUNNING"


def test_jobs_survive_the_controller(lab: Lab) -> None:
    ticks = lab.shared / "ticks-meanwhile"
    running = submit(lab, ticking(ticks))
    held = submit(lab, "true", "--hold")
    eventually(lambda: len(lines(ticks)) > 3, "it runs")
    lab.stop_controller()
    so_far = len(lines(ticks))
    with pytest.raises(LabError, match="squeue"):
        lab.ask(["squeue"])
    eventually(lambda: len(lines(ticks)) > so_far + 3, "it runs without a controller")
    lab.start_controller()
    assert (state_of(lab, running), state_of(lab, held)) == ("RUNNING", "PENDING")


def test_a_hidden_folder_is_empty_on_that_node_alone(lab: Lab) -> None:
    folder = lab.shared / "seen"
    folder.mkdir()
    (folder / "file").touch()
    lab.hide(lab.nodes[0], folder)
    assert lab.run(lab.nodes[0], ["ls", str(folder)]) == ""
    assert lab.run(lab.nodes[1], ["ls", str(folder)]) == "file\n"
    lab.show(lab.nodes[0], folder)
    assert lab.run(lab.nodes[0], ["ls", str(folder)]) == "file\n"


def test_there_is_no_accounting_and_a_bad_request_is_refused(lab: Lab) -> None:
    with pytest.raises(LabError, match="accounting storage is disabled"):
        lab.ask(["sacct"])
    with pytest.raises(LabError, match="invalid partition specified: absent"):
        submit(lab, "true", "--partition=absent")
    with pytest.raises(LabError, match="time limit is invalid"):
        submit(lab, "true", "--partition=brief", "--time=2")


def test_a_lab_that_is_taken_down_leaves_nothing(lab: Lab) -> None:
    other = Lab(f"other-{os.getpid()}", nodes=1).up()
    try:
        state = load(other.name)
        assert state is not None
        assert other.address != lab.address
        submit(other, "sleep 1000")
        eventually(lambda: "R" in other.ask(["squeue", "-h", "-o", "%t"]), "its job runs")
        assert not lab.ask(["squeue", "-h"]), "labs do not see each other"
        processes = [*state.processes.values()]
        inside = psutil.Process(state.processes["n1"].pid).children(recursive=True)
        assert any(process.name() == "slurmd" for process in inside)
    finally:
        other.down()
    assert not any(process.runs() for process in processes)
    assert not any(process.is_running() for process in inside)
    assert f"orl{state.network}" not in network.ip("-o", "link", "show")
    assert not folder_of(other.name).exists()


def test_the_lab_of_a_killed_owner_is_taken_down_by_the_next(lab: Lab) -> None:
    name = f"orphan-{os.getpid()}"
    script = (
        f"from tests.lab.lab import Lab; Lab({name!r}, 1).up(owned=True); print('up', flush=True)"
    )
    words = [sys.executable, "-c", f"{script}; input()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        sweep()
        assert name in names(), "its owner lives"
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    sweep()
    assert name not in names()
    assert lab.name in names()


@contextmanager
def listening(lab: Lab, node: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server on the node, for as long as the block."""
    words = lab.words_on(node, [sys.executable, "-c", SERVER])
    with subprocess.Popen(words, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        yield server
        server.kill()


PORT = 7777
SERVER = f"""
import socket
server = socket.create_server(("", {PORT}))
print("up", flush=True)
while True:
    server.accept()
"""


def reach(address: str) -> bool:
    """Whether a server answers there. Anything between yes and silence raises."""
    try:
        socket.create_connection((address, PORT), timeout=2).close()
    except TimeoutError:
        return False
    return True
