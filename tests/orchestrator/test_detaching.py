"""`--detach`: a driver that goes on when the shell that started it has closed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster import place_named
from orchestrator import Study
from orchestrator.driving import driver_seat
from orchestrator.home import Home
from orchestrator.run_words import RunOptions, orrery_words, run_words
from tests.cluster.stand_in.controller import SlurmStandIn
from tests.orchestrator.quick_study import (
    environment,
    orrery,
    quick_study,
    rule,
    wait_until,
    write_study,
)
from tests.orchestrator.test_commands import said

__all__ = ["said"]  # the fixture

LOUD = '''
from typing import ClassVar

from tests.quick_workload import Quick, QuickConfig


class Loud(Quick):
    """Says when it starts."""

    name: ClassVar = "loud"
    sources: ClassVar = ("loud",)

    def run(self, config: QuickConfig, context):
        print("seed", context.seed, "says hello")
        return super().run(config, context)
'''


@pytest.mark.slow
def test_a_detached_driver_outlives_its_shell(tmp_path: Path, mlflow_home: Home) -> None:
    (tmp_path / "loud.py").write_text(LOUD)
    mapping = quick_study(
        verdict=rule(), workload="loud:Loud", seeds=[0], base={"steps": 4, "step_s": 0.6}
    )
    path = write_study(tmp_path, mapping)
    words = [*orrery_words(), "run", str(path), "--detach", "--json"]
    # a shell that leads a session and waits on, as a terminal's does until it is closed
    shell = subprocess.Popen(
        ["sh", "-c", '"$@"; sleep 600', "sh", *words],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
        text=True,
        start_new_session=True,
    )
    assert shell.stdout is not None
    lines = []
    for line in shell.stdout:
        lines.append(line)
        if line == "}\n":  # it is said; the shell waits on
            break
    told = json.loads("".join(lines))
    os.killpg(shell.pid, signal.SIGHUP)
    shell.wait(timeout=30)
    assert told["started"]
    assert os.getsid(told["pid"]) == told["pid"]

    status = json.loads(orrery("status", path, "--json", cwd=tmp_path).stdout)
    assert status["driver"]["pid"] == told["pid"]

    followed = orrery("logs", "better seed 0", "-f", cwd=tmp_path)
    assert followed.stdout == "seed 0 says hello\n"
    assert followed.stderr.endswith("attempt 0: done\n")
    driver = orrery("logs", path, "-f", cwd=tmp_path)
    assert "2 done; 2 ran now" in driver.stdout
    status = json.loads(orrery("status", path, "--json", cwd=tmp_path).stdout)
    assert (status["driver"], status["counts"]) == (None, {"done": 2})


def test_a_driver_that_cannot_begin_shows_its_words_and_its_code(
    tmp_path: Path, mlflow_home: Home
) -> None:
    path = write_study(tmp_path, quick_study(resources={"cpus": 100_000}))
    done = orrery("run", path, "--detach", cwd=tmp_path)
    assert done.returncode == 2
    assert "takes 100000 CPUs" in done.stderr
    assert done.stdout == ""


def test_what_is_driven_already_says_by_whom_and_starts_nothing(
    tmp_path: Path, mlflow_home: Home
) -> None:
    path = write_study(tmp_path, quick_study())
    study = Study.load(path, home=mlflow_home.root)
    with driver_seat(study):
        done = orrery("run", path, "--detach", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert (told["started"], told["pid"]) == (False, os.getpid())
    assert not Path(told["log"]).exists()


def test_a_wrong_study_is_refused_before_anything_starts(tmp_path: Path, home: Home) -> None:
    path = write_study(tmp_path, quick_study(base={"effect": 666}))
    done = orrery("run", path, "--detach", cwd=tmp_path)
    assert done.returncode == 2
    assert "effect 666 is refused" in done.stderr
    assert not list(home.studies.glob("*/driver.log"))


@pytest.mark.parametrize(
    "options",
    [
        RunOptions(),
        RunOptions(only=("plain", "better"), limit=2, same_code=True, to="jsonl:there"),
        RunOptions(again=True),
        RunOptions(again=("plain",)),
    ],
)
def test_the_words_of_a_run_are_read_back_as_the_same_run(
    options: RunOptions, tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.cli import main, running

    path = write_study(tmp_path, quick_study())
    study = Study.load(path, settings={"seeds": [3, 4], "steps": 5}, home=home.root)
    taken = []
    monkeypatch.setattr(running, "_run", lambda *given: taken.append(given))
    monkeypatch.setattr(sys, "argv", ["orrery", *run_words(study, place_named("local"), options)])
    with pytest.raises(SystemExit):
        main()
    ((read, on, read_options, _),) = taken
    assert (read.instance, read.home, on, read_options) == (
        study.instance,
        study.home,
        "local",
        options,
    )


def test_the_command_is_a_module(tmp_path: Path) -> None:
    (tmp_path / "telemetry.py").write_text("raise SystemExit('the wrong one')")
    done = subprocess.run(
        [*orrery_words(), "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.split()[0]) == (0, "orrery"), done.stderr


def test_a_detached_array_is_submitted_and_left(
    said: Any, tmp_path: Path, mlflow_home: Home, slurm_stand_in: SlurmStandIn
) -> None:
    path = write_study(tmp_path, quick_study(seeds=[0]))
    code, out, err = said("run", path, "--on", "slurm-array", "--detach", "--json")
    assert code == 0, err
    (job,) = json.loads(out)["jobs"]
    assert (job["kind"], job["tasks"]) == ("array", 2)
    study = Study.load(path, home=mlflow_home.root)
    wait_until(lambda: study.plan().counts == {"done": 2}, "the tasks have run")
    again = json.loads(said("run", path, "--on", "slurm-array", "--detach", "--json")[1])
    assert again["jobs"] == []
    assert slurm_stand_in.count("sbatch") == 1
    status = json.loads(said("status", path, "--json")[1])
    assert status["counts"] == {"done": 2}
    assert all(trial["mlflow_run_id"] for trial in status["trials"])
    (trial, *_) = status["trials"]
    assert said("logs", trial["id"])[0] == 0
