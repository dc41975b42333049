"""A run goes on until nothing is missing; one process drives a study, others follow it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from orchestrator import RunReport, Selection, Study, cancelling
from orchestrator.attempts import attempts
from orchestrator.driver import Passed
from orchestrator.driving import driver_seat, follow
from orchestrator.errors import BusyError
from orchestrator.home import Home
from orchestrator.reporting import StudyReport
from orchestrator.running import _all_passes
from tests.orchestrator.quick_study import finish, quick_study

Pass = Callable[[Study, Selection], Passed]


@pytest.fixture
def study(home: Home) -> Study:
    return Study.load(quick_study(), home=home.root)


# -- passes ---------------------------------------------------------------------------------------


@pytest.fixture
def passes(study: Study, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Carries out a study by passes that are given: (what it came to, selection of each)."""

    def carry_out(*given: Pass, **selected: Any) -> tuple[Passed, list[Selection]]:
        asked: list[Selection] = []

        def one(study: Study, selection: Selection, *more: Any) -> Passed:
            asked.append(selection)
            return given[min(len(asked), len(given)) - 1](study, selection)

        monkeypatch.setattr("orchestrator.running._pass", one)
        whole = _all_passes(study, Selection(**selected), None, None)  # type: ignore[arg-type]
        return whole, asked

    return carry_out


def one_trial(study: Study, selection: Selection) -> Passed:
    return Passed(ran=len(finish(study, replace(selection, limit=1))))


def every_trial(study: Study, selection: Selection) -> Passed:
    return Passed(ran=len(finish(study, selection)))


def nothing(study: Study, selection: Selection) -> Passed:
    return Passed()


def following(study: Study, selection: Selection) -> Passed:
    return Passed(followed=True)


def interrupted(study: Study, selection: Selection) -> Passed:
    return replace(one_trial(study, selection), interrupted=True)


def test_passes_go_on_until_nothing_is_missing(study: Study, passes: Any) -> None:
    whole, asked = passes(one_trial)
    assert (whole.ran, len(asked)) == (4, 4)
    assert study.plan().counts == {"done": 4}


def test_a_pass_that_runs_nothing_is_the_last(study: Study, passes: Any) -> None:
    whole, asked = passes(one_trial, nothing)
    assert (whole.ran, len(asked)) == (1, 2)


def test_a_limit_is_one_pass(passes: Any) -> None:
    whole, asked = passes(every_trial, limit=2)
    assert (whole.ran, len(asked)) == (2, 1)


def test_who_followed_goes_on_with_what_the_other_driver_left(study: Study, passes: Any) -> None:
    whole, asked = passes(following, following, every_trial)
    assert (whole.ran, len(asked)) == (4, 3)


def cancelled(study: Study, selection: Selection) -> Passed:
    return replace(one_trial(study, selection), cancelled=True)


def test_a_cancelled_study_has_no_further_pass(passes: Any) -> None:
    whole, asked = passes(one_trial, cancelled)
    assert (whole.ran, whole.cancelled, len(asked)) == (2, True, 2)


def test_an_interrupt_ends_the_passes(passes: Any) -> None:
    whole, asked = passes(one_trial, interrupted)
    assert (whole.ran, whole.interrupted, len(asked)) == (2, True, 2)


def test_what_is_wanted_again_is_run_again_once(study: Study, passes: Any) -> None:
    finish(study, Selection(only=("plain",)))
    whole, asked = passes(one_trial, again=True)
    assert [selection.again for selection in asked] == [True, False, False][: len(asked)]
    assert whole.ran == len(asked)
    assert study.plan().counts == {"done": 4}


# -- exit codes -----------------------------------------------------------------------------------


def exit_code(
    study: Study, limited: bool = False, interrupted: bool = False, cancelled: bool = False
) -> int:
    report = StudyReport(study.folder / "report", None, ())
    told = RunReport(study, study.plan(), report, 0, interrupted, limited, 0.0, {}, cancelled)
    return told.exit_code


def test_trials_that_are_missing_are_no_success_unless_so_many_were_asked_for(
    study: Study,
) -> None:
    assert (exit_code(study), exit_code(study, limited=True)) == (1, 0)
    finish(study)
    assert (exit_code(study), exit_code(study, interrupted=True)) == (0, 130)
    assert exit_code(study, cancelled=True) == 130


def test_a_trial_that_was_cancelled_alone_is_no_success(study: Study) -> None:
    first, *_ = study.plan().to_run
    cancelling.ask(study.folder, first.trial.identity)
    finish(study)
    assert study.plan().counts == {"cancelled": 1, "done": 3}
    assert exit_code(study) == 1


# -- drivers --------------------------------------------------------------------------------------


def console() -> tuple[Console, StringIO]:
    told = StringIO()
    return Console(file=told, width=200), told


def test_a_study_has_one_driver_at_a_time(study: Study) -> None:
    with driver_seat(study), pytest.raises(BusyError), driver_seat(study):
        pass
    with driver_seat(study):
        pass
    ends = [seat.end() for seat in attempts(study.folder / "driver")]
    assert [end and end.state for end in ends] == ["done", "done"]


def test_a_driver_that_fails_leaves_its_seat(study: Study) -> None:
    with pytest.raises(ValueError, match="x"), driver_seat(study):
        raise ValueError("x")
    with driver_seat(study):
        pass


def test_who_follows_tells_how_it_goes_until_the_driver_ends(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat = driver_seat(study)
    slept = []

    def other_driver(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            finish(study, Selection(limit=1))
        if len(slept) == 3:
            seat.__exit__(None, None, None)

    out, told = console()
    seat.__enter__()
    monkeypatch.setattr("orchestrator.driving.time", SimpleNamespace(sleep=other_driver))
    assert follow(study, out) is False
    first, *lines = told.getvalue().splitlines()
    assert "runs this study already: following it" in first
    assert [line.partition(" in ")[0] for line in lines] == [
        "running: 0/4 done",
        "done plain seed 0",
    ]


def test_who_follows_can_be_interrupted_and_leaves_the_driver_alone(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_c(seconds: float) -> None:
        raise KeyboardInterrupt

    with driver_seat(study):
        monkeypatch.setattr("orchestrator.driving.time", SimpleNamespace(sleep=ctrl_c))
        assert follow(study, console()[0]) is True
        (seat,) = attempts(study.folder / "driver")
        assert seat.life() == "alive"


def test_without_a_driver_there_is_nothing_to_follow(study: Study) -> None:
    assert follow(study, console()[0]) is False
