"""How a watched study is shown: in terminals of any width, as a log, for machines, in MLflow."""

from __future__ import annotations

import json
import math
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from fcntl import ioctl
from io import StringIO
from pathlib import Path
from threading import Thread

import pytest
from rich.console import Console

from orchestrator import Study
from orchestrator.home import Home
from orchestrator.planning import Plan, Selection
from orchestrator.publishing import study_run
from orchestrator.watching import ChangeLines, Watcher
from orchestrator.watching.note import LiveNote, so_far
from orchestrator.watching.sparkline import sparkline
from orchestrator.watching.terminal import render_frame
from telemetry.contracts import HostBaseline, HostSnapshot, SlotSnapshot
from tests.orchestrator.quick_study import (
    arm,
    command,
    driver,
    environment,
    finish,
    mlflow_rows,
    orrery,
    orrery_here,
    quick_study,
    rule,
    run_study,
    wait_until,
    write_study,
)
from tests.orchestrator.test_light_start import command as orrery_command
from tests.orchestrator.test_light_start import loaded_by
from tests.orchestrator.watching import held, study_of


def drawn(watcher: Watcher, width: int = 100, height: int | None = None) -> str:
    console = Console(file=StringIO(), width=width, force_terminal=False)
    console.print(render_frame(watcher.look(), width, height))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.fixture
def half_done(home: Home) -> Iterator[Watcher]:
    """Arms of long names, two done, one that runs on two ranks and has gone wrong."""
    study = study_of(
        home,
        arm("plain", "baseline"),
        arm("an-arm-with-quite-a-long-name", effect=5.0),
        arm("upper", "control", effect=50.0),
    )
    finish(study, Selection(only=("plain", "upper")))
    finish(study, Selection(only=("an-arm-with-quite-a-long-name",), limit=1))
    with held(study, "an-arm-with-quite-a-long-name", seed=1, ranks=2) as trial:
        for step in range(40):
            trial.emitter.metrics({"train/loss": 1 / (step + 1)}, step=step)
        trial.emitter.metrics({"eval/f1": 51.5}, step=40)
        trial.emitter.metrics({"sys/cpu_percent": 97.0, "sys/memory_rss_mib": 512.0}, step=10)
        trial.ranks[1].metrics({"train/loss": math.nan}, step=12)
        yield Watcher(study)


# -- in a terminal ---------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_frame_fits_its_width_and_keeps_what_matters(half_done: Watcher, width: int) -> None:
    text = drawn(half_done, width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    text = " ".join(text.split())  # long cells and alerts are wrapped
    for part in (
        "running",
        "5/6 done",
        "1 running",
        "▁",
        "51.5",
        "train/loss is nan",
        "comparator",
    ):
        assert part in text
    assert ("97 %, 512 MiB" in text) == (width >= 80)


def test_every_live_tick_is_said_to_be_no_verdict(half_done: Watcher) -> None:
    ticked = [line for line in drawn(half_done).splitlines() if "✓" in line]
    assert len(ticked) == 1  # the arm that is ahead; controls are never ranked
    assert "✓ not a verdict" in ticked[0]


def test_a_frame_of_many_arms_fits_a_low_terminal_and_says_what_is_left_out(home: Home) -> None:
    arms = [arm("plain", "baseline"), *(arm(f"a{i}", effect=float(i + 1)) for i in range(60))]
    study = study_of(home, *arms, seeds=[0])
    text = drawn(Watcher(study), 80, height=24)
    assert len(text.splitlines()) <= 24
    assert "more arms" in text
    assert "plain" in text


@pytest.mark.parametrize("failing", [0, 3])
@pytest.mark.parametrize("running", [1, 4])
@pytest.mark.parametrize(("width", "height"), [(60, 15), (80, 24), (60, 24), (120, 20)])
def test_a_low_terminal_shows_what_runs_and_alerts_before_arms(
    home: Home, width: int, height: int, running: int, failing: int
) -> None:
    names = ["plain", *(f"arm-number-{i}" for i in range(18))]
    roles = ["baseline"] + 18 * ["arm"]
    arms = [arm(*each, effect=float(i)) for i, each in enumerate(zip(names, roles, strict=True))]
    mapping = {**quick_study(*arms, verdict=rule(), seeds=[0]), "question": "Does it drift? " * 9}
    study = Study.load(mapping, home=home.root)
    with ExitStack() as stack:
        for number, name in enumerate(names[:running]):
            trial = stack.enter_context(held(study, name))
            trial.emitter.metrics({"train/loss": 0.25}, step=3)
            if number < failing:
                trial.emitter.metrics({"train/loss": math.nan}, step=4)
        text = drawn(Watcher(study), width, height)
    assert len(text.splitlines()) <= height
    for part in ("0/19 done", "Running", "plain seed 0", "Alerts", "arms (--once shows all)"):
        assert part in text
    assert ("train/loss is nan" in text) == (failing > 0)
    if running == 1:
        assert ("vs plain" in text) == (height > 15)


def test_a_low_terminal_gives_up_growth_before_what_runs_and_says_so(home: Home) -> None:
    study = study_of(home)
    with held(study, "better") as grown:
        grown.emitter.snapshot(HostSnapshot(epoch=2, val_accuracy=60.0), step=2)
        grown.emitter.snapshot(SlotSnapshot(slot_id="mid", stage="BLENDING"), step=2)
        low, high = drawn(Watcher(study), 80, 13), drawn(Watcher(study), 80, 40)
    assert "param ratio" in high
    assert "param ratio" not in low
    assert "… growth (--once shows it)" in low
    assert "better seed 0" in low
    assert len(low.splitlines()) <= 13


def test_growth_says_where_its_baseline_comes_from(home: Home) -> None:
    with held(study_of(home), "better") as grown:
        emitter = grown.emitter
        host = HostSnapshot(epoch=47, val_accuracy=67.2, host_params=100, total_params=123)
        emitter.snapshot(HostBaseline(final_host_only_accuracy=62.3))
        emitter.snapshot(host, step=47)
        emitter.snapshot(
            SlotSnapshot(
                slot_id="late", stage="FOSSILIZED", blueprint_id="norm", seed_params=100,
                counterfactual_contribution=0.9,
            ),
            step=47,
        )  # fmt: skip
        text = drawn(Watcher(study_of(home)))
    assert "accuracy     67.2 % (+4.9 against the baseline) ✓ not a verdict" in text
    assert "baseline     the final accuracy of this trial's own host-only run" in text
    assert "param ratio  1.23× host params" in text
    assert "efficiency   0.88× accuracy per parameter\n" in text  # no tick: it did not pay
    assert "late: +0.9 (norm, 100 params)  efficiency 90.00 ★" in text


@pytest.mark.parametrize(
    ("values", "width", "line"),
    [
        ([], 5, ""),
        ([3.0], 5, "▁"),
        ([1.0, 1.0], 5, "▁▁"),
        ([0.0, 7.0], 5, "▁█"),
        ([0.0, math.nan, math.inf, 7.0], 5, "▁××█"),
        ([math.nan], 5, "×"),
        (list(map(float, range(100))), 3, "▁▅█"),
    ],
)
def test_a_sparkline_goes_from_the_first_value_to_the_last(
    values: list[float], width: int, line: str
) -> None:
    assert sparkline(values, width) == line


def test_the_live_frame_is_drawn_in_a_terminal_and_ctrl_c_leaves_quietly(
    home: Home, tmp_path: Path
) -> None:
    path = write_study(tmp_path, quick_study(verdict=rule()))
    inner, outer = pty.openpty()
    ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
    process = subprocess.Popen(
        command("watch", path), stdin=outer, stdout=outer, stderr=outer, cwd=tmp_path,
        env=environment(TERM="xterm"), start_new_session=True,
        preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(outer)
    seen = b""
    deadline = time.monotonic() + 60
    while b"Alerts" not in seen and time.monotonic() < deadline:
        if select.select([inner], [], [], 1.0)[0]:
            seen += os.read(inner, 65536)
    os.write(inner, b"\x03")
    try:
        while select.select([inner], [], [], 30.0)[0] and (more := os.read(inner, 65536)):
            seen += more
    except OSError:  # the other end has left
        pass
    assert process.wait(30) == 130
    os.close(inner)
    text = seen.decode()
    assert "Arms so far" in text
    assert "0/4 done" in text
    assert "Traceback" not in text


# -- as a log --------------------------------------------------------------------------------------


def test_lines_are_a_summary_first_then_one_per_change(home: Home) -> None:
    study = study_of(home)
    watcher, lines = Watcher(study), ChangeLines()
    assert list(lines.of(watcher.look())) == ["planned: 0/4 done"]
    assert list(lines.of(watcher.look())) == []
    with held(study, "plain") as trial:
        identity = trial.trial.identity[:8]
        started = list(lines.of(watcher.look()))
        trial.emitter.metrics({"train/loss": math.inf}, step=3)
        alert = list(lines.of(watcher.look()))
        trial.publish(f1=50.0)
    ended = list(lines.of(watcher.look()))
    finish(study)
    over = list(lines.of(watcher.look()))
    assert started == [f"started plain seed 0 ({identity})", "running: 0/4 done, 1 running"]
    assert alert == ["critical: plain seed 0: train/loss is inf at step 3"]
    assert ended == ["done plain seed 0: f1 50.0 in 10 s", "stopped: 1/4 done"]
    assert [line.partition(":")[0] for line in over] == [
        "done plain seed 1",
        "done better seed 0",
        "done better seed 1",
        "done",
    ]


def test_a_summary_is_repeated_after_its_time_and_is_no_verdict(home: Home) -> None:
    study = study_of(home, seeds=[0])
    watcher, lines = Watcher(study), ChangeLines(summary_s=0.0)
    finish(study, Selection(only=("plain",)))
    with held(study, "better"):
        list(lines.of(watcher.look()))
        assert list(lines.of(watcher.look())) == ["running: 1/2 done, 1 running; about 0 s left"]


def test_a_pipe_gets_lines_until_the_study_is_over_and_the_answer_last(
    home: Home, tmp_path: Path
) -> None:
    path = write_study(tmp_path, quick_study(verdict=rule()))
    study = Study.load(path, home=home.root)
    with driver("watch", path, "--interval", "0.1", cwd=tmp_path) as watching:
        watching.wait_until(lambda: "planned: 0/4 done" in watching.out, "its first line")
        finish(study)
        assert watching.end() == 0
        *lines, answer = watching.out.splitlines()
        assert watching.err == ""
    assert answer == study.verdict().answer
    assert lines[-1][9:] == "done: 4/4 done"
    assert sum("done better seed" in line for line in lines) == 2


# -- for machines ----------------------------------------------------------------------------------


def test_once_as_json_is_exactly_one_object_and_unmeasured_is_null(
    half_done: Watcher, tmp_path: Path
) -> None:
    done = orrery_here("watch", "quick-study", "--once", "--json", cwd=tmp_path)
    assert done.returncode == 2  # a study of a mapping has run under no name
    assert "quick-study" in done.stderr
    frame = json.loads(json.dumps(half_done.look().to_json(), allow_nan=False))
    assert (frame["state"], frame["not_a_verdict"], frame["answer"]) == ("running", True, None)
    (trial,) = frame["running"]
    assert (trial["eval"], trial["cpu_percent"], trial["slowest_rank"]) == (51.5, 97.0, 1)
    assert frame["elapsed_s"] is None


def test_json_is_an_object_a_line_until_the_study_is_over(home: Home, tmp_path: Path) -> None:
    path = write_study(tmp_path, quick_study(verdict=rule(), seeds=[0]))
    with driver("watch", path, "--json", "--interval", "0.1", cwd=tmp_path) as watching:
        watching.wait_until(lambda: watching.out.count("\n") >= 2, "two objects")
        finish(Study.load(path, home=home.root))
        assert watching.end() == 0
        frames = [json.loads(line) for line in watching.out.splitlines()]
    assert [frames[0]["state"], frames[-1]["state"]] == ["planned", "done"]
    assert frames[-1]["answer"]
    assert frames[-1]["not_a_verdict"] is False


def test_looking_once_prints_one_frame_and_loads_nothing_heavy(home: Home, tmp_path: Path) -> None:
    path = write_study(tmp_path, quick_study(verdict=rule()))
    words = ("watch", str(path), "--once")
    assert loaded_by(orrery_command(*words), tmp_path) == []
    finish(Study.load(path, home=home.root))
    assert loaded_by(orrery_command(*words), tmp_path) == []
    done = orrery(*words, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.count("4/4 done") == 1
    assert "Verdict: " in done.stdout


def test_a_study_that_is_not_there_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    done = orrery_here("watch", "lora-sweeps", cwd=tmp_path)
    assert done.returncode == 2
    assert "lora-sweep" in done.stderr


# -- in MLflow's note ------------------------------------------------------------------------------


def test_the_note_tells_arms_and_alerts_until_there_is_a_verdict(home: Home) -> None:
    study = study_of(home, arm("plain", "baseline"), arm("bad", fault="input"))
    finish(study, Selection(only=("plain",)))
    plan = study.plan()
    note = study_run(study, plan, None, "running", ["bad seed 0: f1 is nan"], _noon()).note
    assert "**Question.** Does it drift?" in note
    assert "**Arms so far** (not a verdict, 2026-01-02 12:00 UTC)" in note
    assert "| plain | 2/2 | 0 | " in note
    assert "- bad seed 0: f1 is nan" in note
    finish(study_of(home, seeds=[0]))
    judged = study_of(home, seeds=[0])
    assert "so far" not in study_run(judged, judged.plan(), judged.verdict(), "done").note


def test_a_note_without_a_clock_says_the_same_twice(home: Home) -> None:
    study = study_of(home)
    finish(study, Selection(only=("better",)))
    notes = {study_run(study, study.plan(), None, "running").note for _ in range(2)}
    assert len(notes) == 1
    assert "✓ not a verdict" not in notes.pop()  # nothing to compare with yet


def test_a_live_note_is_told_when_something_changed_and_only_then(home: Home) -> None:
    study = study_of(home, seeds=[0])
    told: list[tuple[dict[str, int], list[str]]] = []

    def tell(plan: Plan, news: object, as_of: datetime) -> None:
        told.append((plan.counts, list(news)))  # type: ignore[call-overload]

    with LiveNote(study.plan(), tell, every_s=0.01) as note:
        time.sleep(0.1)
        assert told == []
        finish(study, Selection(limit=1))
        first = study.plan().trials[0]
        note.update(first)
        wait_until(lambda: told, "the note")
        time.sleep(0.1)
        assert told == [({"done": 1, "planned": 1}, [])]
        note.reported("x", "better seed 0", 4, {"train/x": math.nan, "f1": None})
        wait_until(lambda: len(told) == 2, "the note")
    assert told[1][1] == ["better seed 0: train/x is nan at step 4"]


def test_a_note_that_cannot_be_told_disturbs_nothing(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    study = study_of(home, seeds=[0])

    def refuse(plan: Plan, news: object, as_of: datetime) -> None:
        raise OSError("no such place")

    plan = study.plan()
    with LiveNote(plan, refuse, every_s=0.01) as note:
        note.update(plan.trials[0])
        wait_until(lambda: "no such place" in caplog.text, "the warning")
        assert note._thread.is_alive()


def test_a_long_note_is_cut_and_says_so(home: Home) -> None:
    arms = [arm("plain", "baseline"), *(arm(f"a{i}", effect=float(i + 1)) for i in range(60))]
    study = study_of(home, *arms, seeds=[0])
    finish(study, Selection(limit=1))
    text = "\n".join(so_far(study.file.verdict, study.plan().trials, [f"n{i}" for i in range(15)]))
    assert "… and 11 more" in text
    assert "- … and 5 more" in text


@pytest.mark.usefixtures("ray_session")
def test_while_a_study_runs_its_mlflow_run_has_the_arms_so_far(
    mlflow_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.watching.note.LiveNote.__init__.__defaults__", (0.2,))
    mapping = quick_study(verdict=rule(), seeds=[0], base={"steps": 8, "step_s": 0.3})
    mapping["resources"] = {"cpus": 1, "max_concurrent": 1}
    query = "SELECT value FROM tags WHERE key = 'mlflow.note.content'"
    found: list[str] = []

    def look() -> None:
        def note() -> bool:
            found[:] = [text for (text,) in mlflow_rows(mlflow_home).ask(query)]
            return any("Arms so far" in text for text in found)

        wait_until(note, "the arms in the note")

    beside = Thread(target=look)
    beside.start()
    run_study(mapping, mlflow_home)
    beside.join()
    (live,) = [text for text in found if "Arms so far" in text]
    assert "(not a verdict, " in live
    assert "| plain | 1/1 | 0 | " in live
    (last,) = [text for (text,) in mlflow_rows(mlflow_home).ask(query) if "Question" in text]
    assert "**Verdict.**" in last
    assert "so far" not in last


def _noon() -> datetime:
    return datetime(2026, 1, 2, 12, tzinfo=UTC)
