"""Studies of the quick workload: how tests make, run and look at them."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from rich.console import Console

from orchestrator import RunReport, Selection, Study
from orchestrator.engine.ticket import Ticket
from orchestrator.engine.worker import run_attempt
from orchestrator.home import Home
from orchestrator.records import Provenance
from tests.conftest import ROOT

QUICK = "tests.quick_workload:Quick"
FRESH = "tests.quick_workload:FreshQuick"
RANKED = "tests.quick_workload:RankedQuick"
FRESH_RANKED = "tests.quick_workload:FreshRankedQuick"
EVALUATED = "tests.quick_workload:EvaluatedQuick"
QUESTIONED = "tests.quick_workload:QuestionedQuick"

PATIENCE_S = 120.0
"""How long a test waits for what must happen; only a failure takes that long."""


def arm(name: str, role: str = "arm", **overrides: Any) -> dict[str, Any]:
    return {"name": name, "role": role, "overrides": overrides}


def configurations(*arms: Mapping[str, Any]) -> dict[str, Any]:
    """A `configurations` design; without arms, a baseline and one arm."""
    listed = arms or (arm("plain", "baseline"), arm("better", effect=5.0))
    return {"kind": "configurations", "arms": [dict(item) for item in listed]}


def quick_study(*arms: Mapping[str, Any], **parts: Any) -> dict[str, Any]:
    """A study of `Quick` as the mapping that its file would hold. It states no rule."""
    return {
        "name": "quick-study",
        "question": "Does it drift?",
        "workload": QUICK,
        "base": {"steps": 3},
        "seeds": [0, 1],
        "design": configurations(*arms),
        **parts,
    }


def rule(comparator: str = "plain") -> dict[str, Any]:
    """A decision rule for `quick_study`."""
    bands = [{"at_least": 1.0, "name": "small"}]
    return {"metric": "f1", "comparator": comparator, "bands": bands}


def run_study(mapping: Mapping[str, Any], home: Home, **options: Any) -> RunReport:
    """Runs a study in this process, with Ray's session."""
    return Study.load(mapping, home=home.root).run(console=Console(file=StringIO()), **options)


def text_of(mapping: Mapping[str, Any], home: Home, **options: Any) -> tuple[RunReport, str]:
    """As `run_study`, with what was told while it ran."""
    told = StringIO()
    console = Console(file=told, width=1000)
    report = Study.load(mapping, home=home.root).run(console=console, **options)
    return report, told.getvalue()


# -- trials without an engine ---------------------------------------------------------------------


def tickets(study: Study, selection: Selection = Selection()) -> list[Ticket]:  # noqa: B008
    """What an engine would be handed."""
    return [
        Ticket(
            home=str(study.home.root),
            study=study.instance,
            identity=item.trial.identity,
            label=item.trial.label,
            arm=item.trial.arm,
            replicate=item.trial.replicate,
            seed=item.trial.seed,
            workload=study.file.workload,
            config=item.trial.config.model_dump(mode="json"),
            document=dict(item.trial.document),
            observed=dict(item.trial.observed),
            outcome_number=item.outcome_number,
            provenance=Provenance(code_digest=study.code_digest),
            ranks=study.file.resources.ranks,
            afresh=item.afresh,
        )
        for item in study.plan(selection).to_run
    ]


def go_on(step: int, metrics: Mapping[str, float | None]) -> None:
    """A reporter that never stops a trial."""


def finish(study: Study, selection: Selection = Selection()) -> list[str]:  # noqa: B008
    """Runs every missing trial in this process, without Ray; their identities."""
    made = tickets(study, selection)
    for ticket in made:
        run_attempt(ticket, go_on)
    return [ticket.identity for ticket in made]


# -- what MLflow holds, read past MLflow ----------------------------------------------------------


@dataclass(frozen=True)
class MlflowRows:
    """The rows of an MLflow store in SQLite."""

    path: Path

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return list(connection.execute(query))

    def runs_per_trial(self) -> Counter[tuple[str, str]]:
        """How many runs each (study instance, trial) has."""
        return Counter(
            self.ask(
                "SELECT i.value, t.value FROM tags t JOIN tags i ON i.run_uuid = t.run_uuid "
                "WHERE t.key = 'orrery.trial' AND i.key = 'orrery.study_instance'"
            )
        )

    def doubled_rows(self) -> list[tuple[Any, ...]]:
        """(run, key, step) that is there more than once."""
        return self.ask(
            "SELECT run_uuid, key, step, count(*) FROM metrics GROUP BY 1, 2, 3 HAVING count(*) > 1"
        )

    def tags(self, key: str) -> dict[str, str]:
        """Trial → value of a tag, of the runs that have it."""
        return dict(
            self.ask(
                "SELECT t.value, x.value FROM tags t JOIN tags x ON x.run_uuid = t.run_uuid "
                f"WHERE t.key = 'orrery.trial' AND x.key = '{key}'"
            )
        )

    def steps(self, key: str) -> list[tuple[str, int]]:
        """(trial, step) of each row of a metric."""
        return self.ask(
            "SELECT t.value, m.step FROM metrics m JOIN tags t ON t.run_uuid = m.run_uuid "
            f"WHERE t.key = 'orrery.trial' AND m.key = '{key}' ORDER BY 1, 2"
        )


def mlflow_rows(home: Home) -> MlflowRows:
    return MlflowRows(home.root / "mlflow.db")


# -- what the workload wrote of its steps ---------------------------------------------------------


@dataclass(frozen=True)
class Computed:
    """A step that the workload computed."""

    identity: str
    attempt: int
    step: int
    pid: int


def computed(log: Path) -> list[Computed]:
    if not log.exists():
        return []
    lines = [line.split() for line in log.read_text().splitlines()]
    return [Computed(name, int(attempt), int(step), int(pid)) for name, attempt, step, pid in lines]


# -- processes ------------------------------------------------------------------------------------


def wait_until(
    holds: Callable[[], Any], what: str, patience_s: float = PATIENCE_S, every_s: float = 0.05
) -> Any:
    """The first true value of `holds`; fails if there is none in time."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(every_s)
    raise AssertionError(f"not within {patience_s:g} s: {what}")


def write_study(folder: Path, mapping: Mapping[str, Any]) -> Path:
    path = folder / f"{mapping['name']}.yaml"
    path.write_text(yaml.safe_dump(dict(mapping), sort_keys=False))
    return path


def command(*words: str | Path) -> list[str]:
    """The words of an `orrery` command for this Python."""
    start = "from orchestrator.cli import main; main()"
    return [sys.executable, "-c", start, *map(str, words)]


def environment(**changes: str) -> dict[str, str]:
    ours = ("RAY_", "TUNE_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return {**kept, "PYTHONPATH": str(ROOT), **changes}


def orrery(
    *words: str | Path, cwd: Path, patience_s: float = PATIENCE_S, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs `orrery` to its end in a process of its own."""
    return subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(**variables),
        timeout=patience_s,
    )


def orrery_here(
    *words: str | Path, cwd: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """As `orrery`, in this process, which has loaded what a new one would load for seconds: for
    what a command says and does, where it does not matter who runs it."""
    from orchestrator.cli import main

    encoding = variables.get("PYTHONIOENCODING", "utf-8")
    out, err = (TextIOWrapper(BytesIO(), encoding=encoding) for _ in range(2))
    code = 0
    with (
        chdir(cwd),
        patch.dict(os.environ, environment(**variables), clear=True),
        patch.object(sys, "argv", ["orrery", *map(str, words)]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
    told = [_text(stream, encoding) for stream in (out, err)]
    return subprocess.CompletedProcess(sys.argv, code, *told)


def _text(stream: TextIOWrapper, encoding: str) -> str:
    stream.flush()
    content = stream.detach()
    assert isinstance(content, BytesIO)
    return content.getvalue().decode(encoding)


@contextmanager
def driver(*words: str | Path, cwd: Path, **variables: str) -> Iterator[Driver]:
    """`orrery` in a process group of its own, as a shell starts it; killed at the end."""
    with (cwd / "stdout.txt").open("w") as out, (cwd / "stderr.txt").open("w") as err:
        process = subprocess.Popen(
            command(*words),
            stdout=out,
            stderr=err,
            cwd=cwd,
            env=environment(**variables),
            start_new_session=True,
            # a test run in the background ignores Ctrl-C, and its children would with it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        yield Driver(process, cwd)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@dataclass(frozen=True)
class Driver:
    """A running `orrery`, with what it has said so far."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def out(self) -> str:
        return (self.folder / "stdout.txt").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "stderr.txt").read_text()

    def wait_until(self, holds: Callable[[], Any], what: str) -> None:
        """As the function, and fails at once with what was said if the driver ends before."""
        wait_until(lambda: holds() or self.process.poll() is not None, what)
        code = self.process.poll()
        assert code is None or holds(), f"ended with {code} before {what}: {self.err}"

    def interrupt(self) -> None:
        """Ctrl-C: every process of the terminal's group is told."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self, patience_s: float = PATIENCE_S) -> int:
        """Waits for its exit code."""
        return self.process.wait(timeout=patience_s)


def processes_naming(text: str) -> Sequence[int]:
    """Pids of processes with `text` in their command line or environment, this one left out."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            words = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in words:
            found.append(int(folder.name))
    return found
