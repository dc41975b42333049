"""What a person or a machine does to a driver: it is interrupted, killed, started twice."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator import Study
from orchestrator.attempts import Attempt, attempts, latest_checkpoint, outcomes
from orchestrator.engine.worker import run_attempt
from orchestrator.home import Home
from orchestrator.records import Failure
from tests.orchestrator.quick_study import (
    PATIENCE_S,
    Driver,
    arm,
    command,
    computed,
    driver,
    environment,
    finish,
    go_on,
    mlflow_rows,
    orrery,
    processes_naming,
    quick_study,
    rule,
    tickets,
    wait_until,
    write_study,
)

PLACES = 2
STEPS = 4


@dataclass(frozen=True)
class Case:
    """A study slow enough to be disturbed, in a home of its own."""

    folder: Path
    home: Home
    file: Path
    log: Path

    def study(self) -> Study:
        return Study.load(self.file, home=self.home.root)

    def words(self) -> list[str]:
        return ["run", str(self.file), "--home", str(self.home.root)]

    def finished(self) -> dict[str, bytes]:
        """The outcomes so far, as they are on disk."""
        return {
            path.parent.name: path.read_bytes() for path in self.home.trials.glob("*/outcome-*")
        }

    def under_way(self) -> bool:
        """One trial is done and another is in the middle."""
        done = self.finished()
        steps = Counter(c.identity for c in computed(self.log))
        return bool(done) and any(
            1 < count < STEPS and identity not in done for identity, count in steps.items()
        )

    def place(self, name: str) -> Path:
        """A folder for what a driver says."""
        folder = self.folder / name
        folder.mkdir()
        return folder


@pytest.fixture
def case(tmp_path: Path, mlflow_home: Home) -> Case:
    log = tmp_path / "steps.log"
    mapping = quick_study(
        verdict=rule(),
        seeds=[0, 1, 2],
        base={"steps": STEPS, "step_s": 0.4, "log": str(log)},
        resources={"max_concurrent": PLACES},
    )
    return Case(tmp_path, mlflow_home, write_study(tmp_path, mapping), log)


def ray_folder(running: Driver) -> str:
    """The temporary folder of a driver's Ray, by its processes' command lines."""
    for child in psutil.Process(running.process.pid).children(recursive=True):
        try:
            found = re.search(r"/tmp/orrery-[A-Za-z0-9_-]+", " ".join(child.cmdline()))
        except psutil.Error:
            continue
        if found:
            return found.group()
    raise AssertionError("the driver has no Ray")


def went_well(case: Case, before: dict[str, bytes]) -> None:
    """Everything is done; what had finished was left alone; MLflow has each thing once."""
    plan = case.study().plan()
    assert plan.counts == {"done": 6}
    after = case.finished()
    assert {identity: after[identity] for identity in before} == before
    times = Counter((c.identity, c.step) for c in computed(case.log))
    assert {step for _, step in times} == set(range(1, STEPS + 1))
    repeated = {key: count for key, count in times.items() if count > 1}
    assert len(repeated) <= PLACES, "more was computed again than was in flight"
    assert not {identity for identity, _ in repeated} & set(before)

    rows = mlflow_rows(case.home)
    assert len(rows.runs_per_trial()) == 6
    assert set(rows.runs_per_trial().values()) == {1}
    assert rows.doubled_rows() == []
    assert len(rows.steps("train/x")) == 6 * STEPS
    assert set(rows.tags("state").values()) == {"done"}


@pytest.mark.slow
def test_ctrl_c_leaves_everything_resumable(case: Case) -> None:
    with driver(*case.words(), cwd=case.place("first")) as first:
        first.wait_until(case.under_way, "the study is under way")
        temporary = ray_folder(first)
        before = case.finished()
        first.interrupt()
        assert first.end() == 130
    assert "Traceback" not in first.err
    assert not Path(temporary).exists()
    wait_until(lambda: not processes_naming(temporary), "Ray's processes are gone")

    (line,) = [line for line in first.err.splitlines() if "Go on with: " in line]
    words = shlex.split(line.partition("Go on with: ")[2])
    assert words[0] == "orrery"
    again = orrery(*words[1:], cwd=case.folder)
    assert again.returncode == 0, again.stderr
    assert "better" in again.stdout  # the verdict
    went_well(case, before)


def test_ctrl_c_while_ray_starts_leaves_nothing_behind(case: Case) -> None:
    with driver(*case.words(), cwd=case.place("first")) as first:
        seat = case.study().folder / "driver" / "attempt-0000"
        first.wait_until((seat / "claim.json").exists, "the driver has its seat")
        first.interrupt()
        assert first.end() == 130
    assert "Traceback" not in first.err + first.out
    wait_until(lambda: not processes_naming(str(case.home.root)), "its processes are gone")
    assert Attempt(seat).life() == "dead"
    assert case.study().plan().counts == {"planned": 6}


def test_a_killed_driver_leaves_no_process_and_whoever_follows_takes_over(case: Case) -> None:
    """In a shell whose RAY_ADDRESS names a cluster that is not ours; a third driver follows."""
    nonsense = {"RAY_ADDRESS": "192.0.2.1:6379"}
    with driver(*case.words(), cwd=case.place("first"), **nonsense) as first:
        first.wait_until(case.under_way, "the study is under way")
        temporary = ray_folder(first)
        with driver(*case.words(), cwd=case.place("second"), **nonsense) as second:
            second.wait_until(lambda: "following it" in second.err, "the second driver follows")
            before = case.finished()
            first.process.kill()
            first.end()
            seat = case.study().folder / "driver" / "attempt-0001" / "claim.json"
            second.wait_until(seat.exists, "the second driver takes over")
            with driver(*case.words(), cwd=case.place("third"), **nonsense) as third:
                assert third.end() == 0, third.err
            assert second.end() == 0, second.err
    assert f"process {first.process.pid} on" in second.err
    assert f"process {second.process.pid} on" in third.err
    assert "; 0 ran now" in third.err
    assert third.out == second.out  # the same verdict
    went_well(case, before)
    wait_until(lambda: not processes_naming(temporary), "the first one's processes are gone")
    shutil.rmtree(temporary, ignore_errors=True)


# -- a zombie worker ------------------------------------------------------------------------------


def test_a_worker_that_wakes_after_it_was_superseded_commits_nothing(
    home: Home, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    mapping = quick_study(
        arm("a"), seeds=[0], base={"steps": 6, "step_s": 0.3, "log": str(log)}, name="sleepy"
    )
    file = write_study(tmp_path, mapping)
    (ticket,) = tickets(Study.load(file, home=home.root))
    folder = home.trial(ticket.identity)
    code = textwrap.dedent(
        f"""
        from orchestrator import Study
        from orchestrator.errors import BusyError
        from orchestrator.engine.worker import run_attempt
        from tests.orchestrator.quick_study import go_on, tickets
        (ticket,) = tickets(Study.load({str(file)!r}, home={str(home.root)!r}))
        try:
            print(run_attempt(ticket, go_on))
        except BusyError:
            print("superseded")
        """
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment()
    )
    try:
        wait_until(lambda: latest_checkpoint(folder), "the worker saves a checkpoint")
        os.kill(worker.pid, signal.SIGSTOP)
        slept_at = latest_checkpoint(folder)
        assert slept_at is not None
        # a host that does not answer is taken for dead by somebody who knows that it is
        Attempt(folder / "attempt-0000").finish("preempted", Failure("node_lost", "unplugged"))
        assert run_attempt(ticket, go_on) == "done"
        left = sorted((folder / "attempt-0000" / "checkpoint").glob("step-*"))
        (outcome,) = outcomes(folder)
        os.kill(worker.pid, signal.SIGCONT)
        said, _ = worker.communicate(timeout=PATIENCE_S)
    finally:
        worker.kill()
        worker.wait()
    assert said.strip() == "superseded"
    assert outcomes(folder) == [outcome]
    assert outcome.attempt == 1
    assert sorted((folder / "attempt-0000" / "checkpoint").glob("step-*")) == left
    assert [attempt.number for attempt in attempts(folder)] == [0, 1]
    end = Attempt(folder / "attempt-0000").end()
    assert end is not None
    assert end.state == "preempted"


# -- places that cannot be used -------------------------------------------------------------------


def test_a_home_on_a_file_system_that_is_read_only_is_one_line(tmp_path: Path) -> None:
    home = Home.find(tmp_path / "home").writable()
    finish(Study.load(quick_study(arm("a")), home=home.root))
    path = write_study(tmp_path, quick_study(verdict=rule()))
    inside = " ".join(map(shlex.quote, command("run", path, "--home", home.root)))
    mount = f"mount --bind {home.root} {home.root} && mount -o remount,ro,bind {home.root}"
    probe = (
        subprocess.run(["unshare", "--mount", "sh", "-c", mount], capture_output=True, check=False)
        if shutil.which("unshare")
        else None
    )
    if probe is None or probe.returncode:
        pytest.skip("this process may not mount: a read-only file system can't be made")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{mount} && exec {inside}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
        timeout=PATIENCE_S,
    )
    assert done.returncode == 2
    assert "cannot be written (Read-only file system)" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_what_is_known_can_be_looked_at_in_a_home_that_is_read_only(tmp_path: Path) -> None:
    home = Home.find(tmp_path / "home").writable()
    path = write_study(tmp_path, quick_study())
    finish(Study.load(path, home=home.root))
    shutil.rmtree(home.studies)
    for folder in (home.trials, home.root):
        folder.chmod(0o555)
    try:
        done: Any = orrery("plan", path, "--home", home.root, cwd=tmp_path)
    finally:
        for folder in (home.root, home.trials):
            folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "known 4" in done.stdout
