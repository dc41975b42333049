"""What the commands print where there is no terminal, no colour, or no Unicode."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator import Study
from orchestrator.cli.wrapping import labelled
from orchestrator.home import Home
from orchestrator.notebook import NotebookProgress
from orchestrator.progress import LiveProgress, PlainProgress, Tally, progress_for
from orchestrator.records import Failure
from tests.orchestrator.quick_study import (
    arm,
    finish,
    orrery_here,
    quick_study,
    rule,
    write_study,
)


def test_without_unicode_a_question_in_other_letters_is_told_all_the_same(
    tmp_path: Path, home: Home
) -> None:
    path = write_study(tmp_path, quick_study(question="Größer → besser?", verdict=rule()))
    done = orrery_here("plan", path, cwd=tmp_path, LC_ALL="C", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "Gr??er ? besser?" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout


def test_a_notebook_shows_plan_and_verdict_as_tables(home: Home) -> None:
    study = Study.load(quick_study(question="1 < 2?", verdict=rule()), home=home.root)
    assert "4 to run" in study.plan()._repr_html_()
    finish(study)
    shown = study.verdict()._repr_html_()
    assert "<p>1 &lt; 2?</p>" in shown
    assert '<th scope="row">better</th>' in shown
    assert study.verdict().answer in shown
    assert study.instance in study._repr_html_()


def test_progress_in_a_notebook_is_one_display_that_changes(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[dict[str, str]] = []

    class Handle:
        def update(self, bundle: dict[str, str], raw: bool) -> None:
            shown.append(bundle)

    def display(bundle: dict[str, str], raw: bool, display_id: bool) -> Handle:
        assert not shown
        shown.append(bundle)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    plan = Study.load(quick_study(verdict=rule()), home=home.root).plan()
    with NotebookProgress(Tally(plan, "f1")) as progress:
        for _ in range(1000):
            progress.reported("plain", "a", 1, {})
        progress.ended("plain", "a", "done", 51.5)
    assert 2 <= len(shown) < 100
    assert "0/4 trials" in shown[0]["text/plain"]
    assert "1/4 trials" in shown[-1]["text/html"]
    assert "51.50" in shown[-1]["text/html"]


def test_a_log_has_the_time_of_day_and_neither_colours_nor_cursor_moves(home: Home) -> None:
    out = io.StringIO()
    plan = Study.load(quick_study(verdict=rule()), home=home.root).plan()
    with progress_for(Console(file=out), plan, "f1") as progress:
        progress.note("2 trials at once")
        progress.ended("plain", "seed 1 (0a1b2c3d)", "done", 51.5)
    lines = out.getvalue().splitlines()
    assert [line[9:] for line in lines] == [
        "2 trials at once",
        "[1/4] done plain seed 1 (0a1b2c3d)  f1 51.50",
    ]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d", line[:8]) for line in lines)


def test_a_log_hears_of_long_trials_that_they_run(home: Home) -> None:
    out = io.StringIO()
    plan = Study.load(quick_study(), home=home.root).plan()
    with PlainProgress(Console(file=out), Tally(plan, None), silence_s=0.01) as progress:
        progress.started("plain", "seed 1 (0a1b2c3d)")
        progress.reported("plain", "seed 1 (0a1b2c3d)", 40, {})
        by_s = time.monotonic() + 30
        while "step 40" not in out.getvalue() and time.monotonic() < by_s:
            time.sleep(0.01)
    assert "[0/4] running: plain seed 1 (0a1b2c3d) step 40" in out.getvalue()


class Clock:
    """Stands in for the module `time` where an estimate reads it."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("orchestrator.progress.time", clock)
    return clock


def test_time_left_waits_for_two_arms_and_leaves_out_the_start_of_workers(
    home: Home, clock: Clock
) -> None:
    tally = Tally(Study.load(quick_study(), home=home.root).plan(), None)
    tally.start("plain", "1")  # starts the worker: 60 s
    clock.now_s = 60
    tally.finish("plain", "1", None)
    assert tally.time_left() == ""
    tally.start("plain", "2")
    clock.now_s = 70
    tally.finish("plain", "2", None)
    assert tally.time_left() == ""
    tally.start("better", "1")
    clock.now_s = 100
    tally.finish("better", "1", None)
    assert tally.time_left() == "about 30 s left"
    tally.start("better", "2")
    clock.now_s = 110
    assert tally.time_left() == "about 20 s left"
    tally.finish("better", "2", None)
    assert tally.time_left() == ""


def test_time_left_is_at_least_what_the_quickest_take_while_an_arm_is_unknown(
    home: Home, clock: Clock
) -> None:
    arms = [arm("plain"), *(arm(name, effect=float(i)) for i, name in enumerate("abc", 1))]
    tally = Tally(Study.load(quick_study(*arms), home=home.root).plan(), None)
    for name in ("plain", "a"):  # beside what they take, the start of a worker does not count
        tally.start(name, "1")
    clock.now_s = 200
    tally.finish("a", "1", None)
    clock.now_s = 400
    tally.finish("plain", "1", None)
    # 200 s of a, 400 s of plain, and 200 s each for two seeds of b and of c; two at once
    assert tally.time_left() == "at least 11 min left"


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_a_terminal_without_colours_gets_none(
    variable: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, {"NO_COLOR": "1", "TERM": "dumb"}[variable])
    out = io.StringIO()
    plan = Study.load(quick_study(verdict=rule()), home=home.root).plan()
    failure = Failure("unknown", "it broke [sic]")
    with LiveProgress(Console(file=out, force_terminal=True), Tally(plan, "f1")) as progress:
        progress.failed("plain", "seed 1 (0a1b2c3d)", failure, False)
    assert "failed (unknown): plain seed 1 (0a1b2c3d): it broke [sic]" in out.getvalue()
    assert "\x1b[31m" not in out.getvalue()


def test_a_list_stays_within_a_terminal_and_is_one_line_each_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "a question of many words " * 8
    assert "\n" not in labelled("  study", 10, text)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    lines = labelled("  study", 10, text).splitlines()
    assert len(lines) > 3
    assert all(len(line) <= 60 for line in lines)
    assert all(line.startswith(" " * 11) for line in lines[1:])
    name = "a.name.as.long.as.the.room.beside.no.label:" + "x" * 10
    assert labelled("  study", 10, name) == f"  study\n      {name}"


def test_help_is_wrapped_by_the_terminal_and_not_by_the_source() -> None:
    from orchestrator.cli.app import app

    helps = {command.name: command.help or "" for command in app.registered_commands}
    assert "With --on what is found at that place" in helps["doctor"]
    assert [name for name, text in helps.items() if "\n" in text.replace("\n\n", "")] == []
