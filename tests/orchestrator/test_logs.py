"""`orrery logs`: what a trial printed, as it is and as it grows."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Study
from orchestrator.attempts import HeldAttempt, attempts, claim_attempt
from orchestrator.home import Home
from orchestrator.jobs_shown import Workers
from orchestrator.log_files import driver_log, earlier_part, log_path
from orchestrator.log_reading import GrowingFile, TrialLogs
from orchestrator.plan_file import write_plan
from orchestrator.records import Failure
from tests.orchestrator.quick_study import finish, quick_study, wait_until, write_study
from tests.orchestrator.test_commands import said

__all__ = ["said"]  # the fixture


@pytest.fixture
def study(tmp_path: Path, home: Home) -> Study:
    """Planned in its home; nothing of it has run."""
    made = Study.load(write_study(tmp_path, quick_study(seeds=[0])), home=home.root)
    write_plan(made, made.plan())
    return made


def identity_of(study: Study) -> str:
    return study.trials()[0].identity


def begun(study: Study, text: str | None) -> HeldAttempt:
    """An attempt of this process at the first trial, that has printed `text` if any."""
    folder = study.home.trial(identity_of(study))
    held = claim_attempt(folder, outcome_number=0, study=study.instance)
    if text is not None:
        prints(held, text)
    return held


def prints(held: HeldAttempt, text: str, rank: int = 0) -> None:
    path = log_path(held.folder, rank)
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as log:
        log.write(text)


def test_the_newest_attempt_s_log_is_printed(said: Any, study: Study) -> None:
    begun(study, "first\n").finish("preempted")
    prints(begun(study, "second\n"), "of rank 1\n", rank=1)
    name = identity_of(study)[:8]
    assert said("logs", name) == (0, "second\n", "")
    assert said("logs", name, "--attempt", "0")[1] == "first\n"
    assert said("logs", name, "--rank", "1")[1] == "of rank 1\n"
    code, out, _ = said("logs", "plain seed 0", "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["state"], told["attempt"], told["rank"]) == ("running", 1, 0)
    assert told["text"] == Path(told["path"]).read_text() == "second\n"


def test_a_trial_without_a_log_says_in_what_state_it_is(said: Any, study: Study) -> None:
    name = identity_of(study)[:8]
    assert said("logs", name) == (0, "", f"{name}: planned: no attempt has begun\n")
    held = begun(study, None)
    assert said("logs", name) == (0, "", f"{name}: running: attempt 0 has no log\n")
    assert json.loads(said("logs", name, "--json")[1])["text"] is None
    held.finish("failed", Failure("user_error", "no"))
    assert "failed" in said("logs", name)[2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--rank", "3"], "has no rank 3; there are logs of: 0"),
        (["--attempt", "7"], "has no attempt 7; there are: 0"),
        (["-f", "--json"], "leave one out"),
    ],
)
def test_what_is_not_there_is_refused(said: Any, study: Study, words: list[str], told: str) -> None:
    begun(study, "said\n")
    code, _, err = said("logs", identity_of(study)[:8], *words)
    assert code == 2
    assert told in err


def test_a_name_that_is_neither_trial_nor_study_is_refused(said: Any, home: Home) -> None:
    code, _, err = said("logs", "nonsense")
    assert code == 2
    assert "No trial 'nonsense'" in err
    assert len(err.splitlines()) == 1


def test_following_goes_on_across_attempts_until_the_trial_ends(study: Study) -> None:
    held = begun(study, "step 1\n")
    told, notes = bytearray(), list[str]()
    trial = TrialLogs(study.home, identity_of(study), Workers([study.folder]))
    following = threading.Thread(target=trial.follow, args=(None, told.extend, notes.append))
    with_driver = claim_attempt(study.folder / "driver", outcome_number=0, study=study.instance)
    following.start()
    wait_until(lambda: b"step 1" in told, "the first step is told")
    prints(held, "step 2\n")
    held.finish("preempted")
    again = begun(study, "step 3\n")
    wait_until(lambda: b"step 3" in told, "the second attempt is told")
    prints(again, "step 4\n")
    again.finish("pruned")
    with_driver.finish("done")
    following.join(30)
    assert not following.is_alive()
    assert told.decode() == "step 1\nstep 2\nstep 3\nstep 4\n"
    assert notes[0] == "-- attempt 1"
    assert notes[-1].endswith("attempt 1: pruned")


def test_following_ends_when_nobody_works_on_the_trial(said: Any, study: Study) -> None:
    name = identity_of(study)[:8]
    begun(study, "the last line\n").finish("preempted", Failure("node_lost", "gone"))
    code, out, err = said("logs", name, "-f")
    assert (code, out) == (0, "the last line\n")
    assert "preempted: node_lost: gone" in err


def test_following_a_trial_that_nobody_will_start_says_so(said: Any, study: Study) -> None:
    code, out, err = said("logs", identity_of(study)[:8], "-f")
    assert (code, out) == (0, "")
    assert "planned, and nobody runs its study" in err


def test_a_log_that_is_begun_anew_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "rank-0000.txt"
    file = GrowingFile(path)
    assert list(file.read()) == []  # not there yet
    path.write_text("one\n")
    assert b"".join(file.read()) == b"one\n"
    with path.open("a") as log:
        log.write("two\n")
    path.rename(earlier_part(path))
    path.write_text("three\n")
    assert b"".join(file.read()) == b"two\nthree\n"
    file.close()


def test_the_log_of_a_study_is_its_driver_s(said: Any, study: Study) -> None:
    name = study.name
    code, _, err = said("logs", name)
    assert code == 0
    assert "no log of a detached driver: nobody drives it" in err
    driver_log(study.folder).write_text("starting Ray …\n")
    assert said("logs", name)[1] == "starting Ray …\n"
    assert said("logs", name, "-f")[1] == "starting Ray …\n"  # nobody drives it: it ends
    assert json.loads(said("logs", name, "--json")[1])["text"] == "starting Ray …\n"


def test_trace_names_the_log(said: Any, study: Study) -> None:
    (name,) = finish(study)[:1]
    assert json.loads(said("trace", name, "--json")[1])["log"] is None  # it ran in this process
    (attempt,) = attempts(study.home.trial(name))
    log_path(attempt.folder).parent.mkdir()
    log_path(attempt.folder).write_text("said\n")
    assert f"orrery logs {name[:8]}" in said("trace", name)[1]
