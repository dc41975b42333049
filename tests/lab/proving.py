"""A study in a lab: how it is run from the login node, and what must hold of it afterwards."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator import Study
from orchestrator.attempts import Attempt, attempts, outcomes
from orchestrator.home import Home
from orchestrator.records import Outcome
from tests.lab.studies import PLUGINS, pythonpath
from tests.orchestrator.quick_study import (
    command,
    environment,
    mlflow_rows,
    orrery,
    wait_until,
    write_study,
)

if TYPE_CHECKING:
    from tests.lab.lab import Lab
    from workloads.contract import Workload

LAB_PATIENCE_S = 240.0
"""How long a study in a lab may take on a busy machine; only a failure takes that long."""
COUNTED = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo")


class Line(msgspec.Struct, frozen=True):
    """A step that the workload computed, where and when."""

    identity: str
    attempt: int
    rank: int
    step: int
    from_step: int
    """The step of the checkpoint that this attempt went on from; 0: from the start."""
    at_s: float
    node: str
    job: str | None
    pid: int


@dataclass(frozen=True)
class Case:
    """A study in a home of its own, and the shell of a user of the lab."""

    folder: Path
    home: Home
    file: Path
    log: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def study(self) -> Study:
        return Study.load(self.file, home=self.home.root)

    def words(self, verb: str, *more: str | Path) -> list[str]:
        """The words of an `orrery` command on this study."""
        return [verb, str(self.file), "--home", str(self.home.root), *map(str, more)]

    def orrery(
        self, verb: str, *more: str | Path, patience_s: float = LAB_PATIENCE_S
    ) -> subprocess.CompletedProcess[str]:
        """`orrery VERB <the study> …` to its end."""
        words = self.words(verb, *more)
        return orrery(*words, cwd=self.folder, patience_s=patience_s, **self.variables)

    def run(self, on: str, *more: str, patience_s: float = LAB_PATIENCE_S) -> str:
        """Runs the study to its end, which has to be a good one; what was told."""
        done = self.orrery("run", "--on", on, *more, patience_s=patience_s)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def lines(self) -> list[Line]:
        """Every step computed so far, by any attempt on any node."""
        if not self.log.exists():
            return []
        whole = self.log.read_bytes().rpartition(b"\n")[0].splitlines()
        return [msgspec.json.decode(line, type=Line) for line in whole]

    def finished(self) -> dict[str, bytes]:
        """The outcomes so far, as they are on disk."""
        return {
            f"{path.parent.name}/{path.name}": path.read_bytes()
            for path in self.home.trials.glob("*/outcome-*")
        }

    def outcomes(self) -> dict[str, Outcome]:
        return outcomes_in(self.home)

    def numbers(self) -> dict[str, dict[str, float | str | None]]:
        return numbers_in(self.home, self.study().workload)

    def attempts(self) -> dict[str, list[Attempt]]:
        return {name: attempts(self.home.trial(name)) for name in self.home.identities()}

    def jobs(self) -> list[str]:
        """Ids of every job in the lab's queue that is named after this study."""
        said = self.ask("squeue", "-h", "-r", "-o", "%i %j")
        rows = [line.split(maxsplit=1) for line in said.splitlines()]
        instance = self.study().instance
        names = (f"orrery-{instance}", f"orrery-head-{instance}")
        return [row[0] for row in rows if row[1:] and row[1] in names]

    def ask(self, *words: str) -> str:
        """What a command says in this user's shell, once it answers."""
        done = subprocess.run(
            words, env=environment(**self.variables), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr}"
        return done.stdout


def outcomes_in(home: Home) -> dict[str, Outcome]:
    """The latest outcome of each trial that has one."""
    found = {name: outcomes(home.trial(name)) for name in home.identities()}
    return {name: made[-1] for name, made in found.items() if made}


def numbers_in(home: Home, workload: Workload[Any]) -> dict[str, dict[str, float | str | None]]:
    """Final metrics by trial id: what has to be the same wherever it ran, and so no times."""
    varying = {name for name, metric in workload.metrics.items() if not metric.reproducible}
    return {
        identity: {name: value for name, value in found.metrics.items() if name not in varying}
        for identity, found in outcomes_in(home).items()
    }


def case_of(
    folder: Path,
    schema: Path | None,
    mapping: Mapping[str, Any],
    lab: Lab | None = None,
    plugins: Path = PLUGINS,
) -> Case:
    """A home with the study in a fresh folder below `folder`, which has to be one that every node
    of the lab sees.

    `schema`: an MLflow database to start from, which saves the seconds of making one. `plugins`:
    the folder that holds the workload.
    """
    place = Path(tempfile.mkdtemp(prefix=f"{mapping['name']}-", dir=folder))
    home = Home.find(place / "home").writable()
    if schema is not None:
        (home.root / "mlflow.db").write_bytes(schema.read_bytes())
    log = place / "steps.jsonl"
    logged = {**mapping, "base": {**mapping["base"], "log": str(log)}}
    variables = {**(lab.env if lab else {}), "PYTHONPATH": pythonpath(plugins)}
    return Case(place, home, write_study(place, logged), log, variables)


# -- what must hold ---------------------------------------------------------------------------


def went_well(case: Case, before: Mapping[str, bytes] = {}) -> None:
    """All is done and nothing failed; what had finished was left alone; checkpoints were used;
    MLflow has each thing once."""
    plan = case.study().plan()
    assert plan.counts == {"done": len(plan.trials)}
    after = case.finished()
    assert {path: after.get(path) for path in before} == dict(before)
    for identity, made in case.attempts().items():
        ends = [end for attempt in made if (end := attempt.end()) is not None]
        failed = [end.failure for end in ends if end.state == "failed"]
        assert not failed, f"{identity} failed on its way: {failed}"
    check_repetitions(case)
    check_mlflow(case)


def check_repetitions(case: Case) -> None:
    """No step of a finished trial again, and after a loss at most one checkpoint interval."""
    every = case.study().file.base.get("checkpoint_every", 1)
    done = case.outcomes()
    by_attempt: dict[tuple[str, int], list[Line]] = defaultdict(list)
    for line in case.lines():
        by_attempt[line.identity, line.attempt].append(line)
    for (identity, number), lines in by_attempt.items():
        outcome = done[identity]
        late = [line.step for line in lines if line.attempt > outcome.attempt]
        assert not late, f"{identity} was done by attempt {outcome.attempt}, then repeated {late}"
        claim = Attempt(case.home.trial(identity) / f"attempt-{number:04d}").claim()
        assert claim is not None
        earlier = [
            line.step
            for (other, earlier_number), older in by_attempt.items()
            if other == identity and earlier_number < number
            for line in older
            if line.at_s < claim.claimed_at_s
        ]
        repeated = max(earlier, default=0) - lines[0].from_step
        assert repeated <= every, f"{identity} attempt {number} repeated {repeated} steps"
        assert lines[0].step == lines[0].from_step + 1


def check_mlflow(case: Case) -> None:
    """Each trial has one run, and each of its steps one row."""
    trials = case.study().plan().trials
    rows = mlflow_rows(case.home)
    runs = rows.runs_per_trial()
    assert len(runs) == len(trials)
    assert set(runs.values()) == {1}
    assert rows.doubled_rows() == []
    steps = {item.trial.identity: item.trial.config.model_dump()["steps"] for item in trials}
    expected = sorted((name, step) for name, n in steps.items() for step in range(1, n + 1))
    assert sorted(rows.steps("train/x")) == expected


def same_as_local(case: Case, local: Case) -> None:
    """The same trials with the same bits, and nothing left for this machine to run."""
    assert case.numbers() == local.numbers()
    assert len(case.numbers()) == len(case.study().plan().trials)
    computed = len(case.lines())
    done = case.orrery("run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ran"] == 0
    assert len(case.lines()) == computed


def queue_empties(case: Case, patience_s: float = 60.0) -> None:
    """No job of anybody stays in the queue: a lab's tests run one after the other."""
    wait_until(
        lambda: not case.ask("squeue", "-h", "-r").strip(),
        "no job is left in the queue",
        patience_s,
        1.0,
    )


# -- commands, counted ------------------------------------------------------------------------


@dataclass(frozen=True)
class CountedCommands:
    """SLURM's commands, each of which says that it was called before it is."""

    folder: Path

    def calls(self, name: str) -> list[list[str]]:
        """The words of every call so far."""
        log = self.folder / f"{name}.log"
        return [shlex.split(line) for line in log.read_text().splitlines()] if log.exists() else []

    def forget(self) -> None:
        for log in self.folder.glob("*.log"):
            log.unlink()


def counted_commands(folder: Path, variables: Mapping[str, str]) -> CountedCommands:
    """Puts wrappers into `folder`, to be first on PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in COUNTED:
        real = shutil.which(name, path=variables.get("PATH", os.environ["PATH"]))
        if real is None:
            continue
        wrapper = folder / name
        log = shlex.quote(str(folder / f"{name}.log"))
        wrapper.write_text(
            f'#!/bin/bash\nprintf \'%q \' {name} "$@" >> {log}; echo >> {log}\nexec {real} "$@"\n'
        )
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return CountedCommands(folder)


def shell_words(*words: str | Path) -> str:
    """An `orrery` command as a line of a shell."""
    return shlex.join(command(*words))
