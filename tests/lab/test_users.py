"""Two users' studies on one node at once."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.proving import Case, queue_empties, went_well
from tests.lab.studies import pythonpath, steps_study
from tests.orchestrator.quick_study import environment

pytestmark = pytest.mark.lab

Cases = Callable[..., Case]
CODE = "from orchestrator.cli import main; main()"
MAY_RUN = (
    "import subprocess, sys;"
    "subprocess.run([sys.executable, '-c', 'import orchestrator, ray, mlflow, torch'], check=True)"
)
"""In a child, since that is what a driver and a pilot start."""
NOBODY = "nobody"


@dataclass(frozen=True)
class User:
    """Whose shell it is; with which Python, and what that needs to find ours."""

    before: Sequence[str] = ()
    python: str = sys.executable
    paths: Sequence[str] = ()

    def start(self, case: Case, out: Path, **variables: str) -> subprocess.Popen[bytes]:
        """Starts `orrery run --on slurm` on the case."""
        path = os.pathsep.join([pythonpath(), *self.paths])
        known = environment(**{**case.variables, **variables, "PYTHONPATH": path})
        words = [*self.before, self.python, "-c", CODE, *case.words("run", "--on", "slurm")]
        with out.open("w") as file:
            return subprocess.Popen(words, stdout=file, stderr=file, cwd=case.folder, env=known)


def another_user(lab: Lab) -> User:
    """A user who is not root and may run Python with Orrery on a node: this Python, or the
    system's of the same version with this one's packages."""
    ids = pwd.getpwnam(NOBODY)
    before = ["setpriv", f"--reuid={ids.pw_uid}", f"--regid={ids.pw_gid}", "--clear-groups"]
    packages = sysconfig.get_path("purelib")
    system = f"/usr/bin/python3.{sys.version_info.minor}"
    for python, paths in ((sys.executable, []), (system, [packages])):
        path = os.pathsep.join([pythonpath(), *paths])
        try:
            words = [*before, python, "-c", MAY_RUN]
            lab.run(lab.nodes[0], words, env={"PYTHONPATH": path})
            return User(before, python, paths)
        except LabError:
            continue
    pytest.skip(f"the user '{NOBODY}' may run no Python here that has what Orrery needs")


def both_run_well(lab: Lab, cases: Cases, users: Sequence[User], homes: Mapping[int, str]) -> None:
    """Runs a study for each user on one node at once; `homes`: owners of their folders."""
    here = {"nodelist": lab.nodes[0]}
    names = ("of-one-user", "of-another")
    made = [
        cases(steps_study(name, seeds=2, steps=8, step_s=1.0, slurm={"pilots": 1, "extra": here}))
        for name in names
    ]
    started = []
    try:
        for number, (case, user) in enumerate(zip(made, users, strict=True)):
            own = case.folder / "user-home"
            own.mkdir()
            if number in homes:
                owned_by(homes[number], case.folder)
            out = case.folder.parent / f"{case.folder.name}.txt"
            started.append((user.start(case, out, HOME=str(own)), out))
        for process, out in started:
            assert process.wait(240) == 0, out.read_text()
    finally:
        for process, _ in started:
            if process.poll() is None:
                process.kill()
            process.wait()
    for case in made:
        went_well(case)
        assert {line.node for line in case.lines()} == {lab.nodes[0]}
    one, another = ({line.job for line in case.lines()} for case in made)
    assert not one & another, "a trial ran in the other user's job"
    spans = [[line.at_s for line in case.lines()] for case in made]
    assert max(map(min, spans)) < min(map(max, spans)), "they did not run at the same time"
    queue_empties(made[0])


def owned_by(user: str, folder: Path) -> None:
    ids = pwd.getpwnam(user)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, ids.pw_uid, ids.pw_gid)


def test_two_studies_on_one_node_do_not_meet(lab: Lab, cases: Cases) -> None:
    """Each with a home of its own, of one user."""
    both_run_well(lab, cases, (User(), User()), {})


def test_two_users_on_one_node_do_not_meet(lab: Lab, cases: Cases) -> None:
    both_run_well(lab, cases, (User(), another_user(lab)), {1: NOBODY})
