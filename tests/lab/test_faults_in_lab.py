"""What happens to machines while pilots work: cut off, killed, taken away, out of time."""

from __future__ import annotations

import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.attempts import attempts
from tests.lab.lab import Lab
from tests.lab.proving import Case, Line, queue_empties, went_well
from tests.lab.studies import steps_arm, steps_study
from tests.orchestrator.quick_study import command, environment, wait_until

pytestmark = pytest.mark.lab

Cases = Callable[..., Case]
ON_EACH_NODE = {"extra": {"exclusive": True}}
ELSEWHERE_WITHIN_S = 45.0
EVERY = 4
"""Steps between checkpoints."""
LONG_STEPS = 24
STEP_S = 1.5
SHORT = {"steps": 4, "step_s": STEP_S}


def long_and_short(name: str, steps: int = LONG_STEPS) -> dict[str, object]:
    """A trial of 36 s on one node, while the others pass from one of 6 s to the next."""
    return steps_study(
        name,
        steps_arm("long", "comparator", steps=steps, step_s=STEP_S, drift=0.5),
        *(steps_arm(f"short-{i}", **SHORT, drift=float(i)) for i in range(1, 8)),
        seeds=1,
        checkpoint_every=EVERY,
        slurm={"pilots": 3, **ON_EACH_NODE},
    )


@contextmanager
def running(case: Case, on: str = "slurm") -> Iterator[Running]:
    """`orrery run --on …` on the case, killed at the end of the block."""
    told = case.folder / "run.txt"
    with told.open("w") as out:
        process = subprocess.Popen(
            command(*case.words("run", "--on", on)),
            stdout=out,
            stderr=out,
            cwd=case.folder,
            env=environment(**case.variables),
        )
    try:
        yield Running(case, process, told)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


class Running:
    """A driver at work, and what it has said."""

    def __init__(self, case: Case, process: subprocess.Popen[bytes], told: Path) -> None:
        self.case, self.process, self.told = case, process, told

    def long_trial(self) -> Line:
        """The last step of the long trial, once it is past a checkpoint and others have ended."""

        def found() -> Line | None:
            assert self.process.poll() is None, self.told.read_text()
            lines = [line for line in self.case.lines() if line.step > EVERY + 1]
            return lines[-1] if lines and self.case.finished() else None

        return wait_until(found, "the long trial is under way", 150, 0.2)

    def ends_well(self, before: dict[str, bytes], patience_s: float = 240) -> None:
        code = self.process.wait(patience_s)
        assert code == 0, self.told.read_text()
        went_well(self.case, before)


def elsewhere_s(case: Case, lost: Line, since_s: float) -> float:
    """Seconds from `since_s` until the lost trial was claimed anew, on another node."""
    again = attempts(case.home.trial(lost.identity))[lost.attempt + 1]
    claim = again.claim()
    assert claim is not None
    nodes = {
        line.node
        for line in case.lines()
        if (line.identity, line.attempt) == (lost.identity, again.number)
    }
    assert nodes
    assert lost.node not in nodes
    return claim.claimed_at_s - since_s


def test_the_trials_of_a_node_that_is_cut_off_run_elsewhere_soon(lab: Lab, cases: Cases) -> None:
    # longer than the limit: what goes on where nobody hears it must not be done by itself
    case = cases(long_and_short("cut-off", steps=40))
    with running(case) as driver:
        lost = driver.long_trial()
        before, at_s = case.finished(), time.time()
        lab.cut(lost.node)
        driver.ends_well(before)
    assert elsewhere_s(case, lost, at_s) < ELSEWHERE_WITHIN_S
    lab.heal(lost.node)
    queue_empties(case, 120)


def test_the_trials_of_a_node_that_dies_run_elsewhere(lab: Lab, cases: Cases) -> None:
    case = cases(long_and_short("killed"))
    with running(case) as driver:
        lost = driver.long_trial()
        before, at_s = case.finished(), time.time()
        lab.kill(lost.node)
        driver.ends_well(before)
    assert elsewhere_s(case, lost, at_s) < ELSEWHERE_WITHIN_S
    lab.revive(lost.node)
    queue_empties(case, 120)


def test_a_preempted_pilot_loses_no_step(lab: Lab, cases: Cases) -> None:
    """It has five seconds of notice: its trials save, and go on elsewhere or later."""
    case = cases(long_and_short("preempted"))
    with running(case) as driver:
        lost = driver.long_trial()
        before = case.finished()
        urgent = ["-p", "urgent", "-w", lost.node, "--exclusive", "-o", "/dev/null"]
        case.ask("sbatch", *urgent, "--wrap=sleep 15")
        driver.ends_well(before)
    made = attempts(case.home.trial(lost.identity))
    assert len(made) > lost.attempt + 1, "the trial was not taken away"
    again = [line for line in case.lines() if line.attempt == lost.attempt + 1]
    first = min(line.step for line in again if line.identity == lost.identity)
    seen = [line for line in case.lines() if line.identity == lost.identity]
    last = max(line.step for line in seen if line.attempt == lost.attempt)
    assert first == last + 1, "it was told to leave, and did not save"
    queue_empties(case, 120)


def test_a_pilot_preempted_without_notice_repeats_one_interval_at_most(
    lab: Lab, cases: Cases
) -> None:
    study = long_and_short("abruptly")
    study["slurm"] = {**study["slurm"], "partition": "abrupt"}  # type: ignore[dict-item]
    case = cases(study)
    with running(case) as driver:
        lost = driver.long_trial()
        before = case.finished()
        urgent = ["-p", "urgent", "-w", lost.node, "--exclusive", "-o", "/dev/null"]
        case.ask("sbatch", *urgent, "--wrap=sleep 15")
        driver.ends_well(before)
    assert len(attempts(case.home.trial(lost.identity))) > lost.attempt + 1
    queue_empties(case, 120)


def test_a_controller_that_is_away_for_a_while_is_not_noticed(lab: Lab, cases: Cases) -> None:
    case = cases(long_and_short("no-controller"))
    with running(case) as driver:
        driver.long_trial()
        before = case.finished()
        lab.stop_controller()
        time.sleep(15)
        lab.start_controller()
        driver.ends_well(before)
    assert {len(made) for made in case.attempts().values()} == {1}, "a trial was begun anew"
    queue_empties(case, 120)


def test_a_time_limit_shorter_than_a_trial_is_no_failure(cases: Cases) -> None:
    """SLURM keeps limits to the minute; a job is told to leave 20 s before, so it works for 40 s at
    most. The trial takes 54: by pilots, and at the same time by an array."""

    def out_of_time(name: str) -> Case:
        study = steps_study(
            name,
            steps_arm("only", "comparator"),
            seeds=1,
            steps=18,
            step_s=3.0,
            checkpoint_every=EVERY,
            slurm={"pilots": 1, "time": "00:01:00", "signal_s": 20},
        )
        return cases(study)

    by_pilots, by_array = out_of_time("limited-pilot"), out_of_time("limited-task")
    with running(by_pilots) as pilots, running(by_array, "slurm-array") as array:
        pilots.ends_well({}, 420)
        array.ends_well({}, 420)
    for case in (by_pilots, by_array):
        assert len({line.attempt for line in case.lines()}) > 1
    queue_empties(by_pilots)


def test_a_trial_that_takes_its_node_down_fails_alone(lab: Lab, cases: Cases) -> None:
    study = steps_study(
        "poisoned",
        steps_arm("still", "comparator", drift=0.1),
        steps_arm("poison", poison=True),
        seeds=1,
        steps=4,
        step_s=0.5,
        slurm={"pilots": 2, **ON_EACH_NODE},
    )
    asked = lab.shared / "poisoned-nodes"
    script = lab.shared / "poison.sh"
    script.write_text(f'#!/bin/sh\necho "$1" >> {shlex.quote(str(asked))}\n')
    script.chmod(0o755)
    study["base"] = {**study["base"], "poison_script": str(script)}
    case = cases(study)
    with the_reaper(lab, asked) as taken:
        done = case.orrery("run", "--on", "slurm", patience_s=420)
    assert done.returncode == 1, f"{done.stdout}\n{done.stderr}"
    assert len(taken) == 3
    states = {item.trial.arm: item.record for item in case.study().plan().trials}
    assert states["still"].state == "done"
    assert states["poison"].state == "failed"
    failure = states["poison"].failure
    assert failure is not None
    assert failure.kind == "node_lost"
    assert "progress" in failure.cause
    queue_empties(case, 120)


@contextmanager
def the_reaper(lab: Lab, asked: Path) -> Iterator[list[str]]:
    """Takes the power of each node that is named in the file `asked`, and gives it back 5 s later:
    what a trial can do to its node, done from outside, as it would not outlive it."""
    taken: list[str] = []
    over = threading.Event()

    def reap() -> None:
        while not over.wait(0.2):
            named = asked.read_text().splitlines() if asked.exists() else []
            for node in named[len(taken) :]:
                lab.kill(node)
                time.sleep(5)
                lab.revive(node)
                taken.append(node)

    thread = threading.Thread(target=reap)
    thread.start()
    try:
        yield taken
    finally:
        over.set()
        thread.join()
