"""What a watcher sees of a study: from its files alone, and only what is new of them."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from orchestrator import Study
from orchestrator.driving import driver_seat
from orchestrator.engine.worker import AttemptFailed, run_attempt
from orchestrator.home import Home
from orchestrator.planning import Selection
from orchestrator.records import Failure, FailureKind, State
from orchestrator.search_list import Learned, Proposal, SearchList
from orchestrator.searching import proposal_arm
from orchestrator.watching import ChangeLines, Watcher
from telemetry import archive_events
from telemetry.contracts import (
    DenseTrace,
)
from tests.orchestrator.quick_study import (
    EVALUATED,
    arm,
    finish,
    go_on,
    quick_study,
    rule,
    run_study,
    tickets,
    wait_until,
    write_study,
)
from tests.orchestrator.watching import (
    Held,
    claim,
    drive_and_die,
    held,
    publish,
    study_of,
)


@pytest.fixture
def study(home: Home) -> Study:
    return study_of(home)


# -- a study before, while and after it runs -------------------------------------------------------


def test_before_anything_ran_everything_is_planned_and_nothing_is_known(study: Study) -> None:
    frame = Watcher(study).look()
    assert (frame.state, frame.counts, frame.driver) == ("planned", {"planned": 4}, None)
    assert [(a.arm, a.planned, a.done, a.mean, a.difference) for a in frame.arms] == [
        ("plain", 2, 0, None, None),
        ("better", 2, 0, None, None),
    ]
    assert (frame.elapsed_s, frame.left_s, frame.answer, frame.over) == (None, None, None, False)


def test_arms_stand_against_the_baseline_and_a_tick_is_no_label(study: Study) -> None:
    finish(study, Selection(only=("plain",)))
    finish(study, Selection(only=("better",), limit=1))
    plain, better = Watcher(study).look().arms
    assert (plain.done, plain.difference, plain.ahead) == (2, None, False)
    assert (better.done, better.planned) == (1, 2)
    assert better.mean is not None
    assert plain.mean is not None
    assert better.difference == pytest.approx(better.mean - plain.mean)
    assert better.ahead


def test_a_control_never_gets_a_tick(home: Home) -> None:
    study = study_of(home, arm("plain", "baseline"), arm("upper", "control", effect=50.0))
    finish(study)
    upper = Watcher(study).look().arms[1]
    assert upper.difference is not None
    assert upper.difference > 40
    assert not upper.ahead


def test_where_less_is_better_a_fall_is_ahead(home: Home) -> None:
    lower = {**rule(), "direction": "lower"}
    study = study_of(home, arm("plain", "baseline"), arm("a", effect=-5.0), verdict=lower)
    finish(study)
    assert Watcher(study).look().arms[1].ahead


def test_a_study_that_is_over_has_its_verdicts_answer(study: Study) -> None:
    finish(study)
    frame = Watcher(study).look()
    assert (frame.state, frame.over) == ("done", True)
    assert frame.answer == study.verdict().answer


def test_while_the_driver_lives_a_study_is_not_over(study: Study) -> None:
    finish(study)
    watcher = Watcher(study)
    with driver_seat(study):
        frame = watcher.look()
        assert (frame.state, frame.over, frame.answer) == ("finishing", False, None)
        assert frame.driver is not None
        assert frame.elapsed_s is not None
    assert watcher.look().state == "done"


def test_a_study_whose_driver_died_is_stopped_and_says_how_to_go_on(
    home: Home, tmp_path: Path
) -> None:
    path = write_study(tmp_path, quick_study(verdict=rule()))
    drive_and_die(path, home)
    frame = Watcher(Study.load(path, home=home.root)).look()
    assert (frame.state, frame.driver, frame.over) == ("stopped", None, False)
    assert frame.resume == f"orrery run {path}"


def test_failed_trials_are_told_with_their_cause_and_end_the_study(home: Home) -> None:
    study = study_of(home, arm("plain", "baseline"), arm("bad", fault="raise"), seeds=[0])
    watcher = Watcher(study)
    for ticket in tickets(study):
        try:
            run_attempt(ticket, go_on)
        except AttemptFailed:
            assert ticket.arm == "bad"
    frame = watcher.look()
    assert (frame.state, frame.counts) == ("failed", {"done": 1, "failed": 1})
    (notice,) = frame.notices
    assert notice.text == "bad seed 0 failed: user_error: ValueError: the walk fell off"
    assert [(c.arm, c.state, c.cause) for c in frame.changes] == [
        ("plain", "done", None),
        ("bad", "failed", "user_error: ValueError: the walk fell off"),
    ]


def test_arms_that_share_a_trial_both_count_it(home: Home) -> None:
    study = study_of(home, arm("plain", "baseline"), arm("same", effect=0.0), seeds=[0])
    watcher = Watcher(study)
    finish(study)
    frame = watcher.look()
    assert [(a.arm, a.done) for a in frame.arms] == [("plain", 1), ("same", 1)]
    assert len(frame.changes) == 1


def test_a_result_that_was_observed_less_widely_is_still_missing(home: Home) -> None:
    finish(study_of(home, seeds=[0]))
    wider = study_of(home, seeds=[0], base={"steps": 3, "questions": 50})
    watcher = Watcher(wider)
    assert watcher.look().counts == {"planned": 2}
    finish(wider)
    assert watcher.look().counts == {"done": 2}


def test_what_a_flagged_trial_says_of_itself_stands_beside_its_flags(home: Home) -> None:
    study = study_of(home, arm("plain", "baseline"), seeds=[0])
    with held(study, "plain") as one:
        publish(one.attempt, one.trial, flags=["diverged"], notes=["the loss was lost"])
    assert [notice.text for notice in Watcher(study).look().notices] == [
        "plain seed 0: diverged (the loss was lost)"
    ]


def test_a_retry_is_seen(home: Home) -> None:
    study = study_of(home, arm("plain", "baseline", fault="raise", fault_times=1), seeds=[0])
    (ticket,) = tickets(study)
    with pytest.raises(AttemptFailed):
        run_attempt(ticket, go_on)
    watcher = Watcher(study)
    assert watcher.look().counts == {"failed": 1}
    finish(study, Selection(retry=True))
    frame = watcher.look()
    assert frame.counts == {"done": 1}
    assert frame.notices == ()


def test_files_that_cannot_be_read_are_an_alert_and_not_the_end(study: Study) -> None:
    watcher = Watcher(study)
    watcher.look()
    finish(study, Selection(limit=1))
    (folder,) = study.home.trials.iterdir()
    (folder / "outcome-0000.json").write_text("{")
    (notice,) = watcher.look().notices
    assert (notice.kind, notice.level) == ("damaged", "critical")
    assert "outcome-0000.json" in notice.text


@pytest.mark.usefixtures("ray_session")
def test_a_whole_run_is_seen_from_beside_it(mlflow_home: Home) -> None:
    mapping = quick_study(
        verdict=rule(), seeds=[0], base={"steps": 6, "step_s": 0.2}, workload=EVALUATED
    )
    watcher = Watcher(Study.load(mapping, home=mlflow_home.root))
    seen = [watcher.look()]

    def watch() -> None:
        wait_until(lambda: seen.append(watcher.look()) or seen[-1].over, "the end of the study")

    beside = Thread(target=watch)
    beside.start()
    report = run_study(mapping, mlflow_home)
    beside.join()
    running = [trial for frame in seen for trial in frame.running]
    assert {"planned", "running", "done"} <= {frame.state for frame in seen}
    assert {trial.arm for trial in running} == {"plain", "better"}
    assert any(0 < (trial.step or 0) < 6 and trial.loss_name == "train/x" for trial in running)
    assert report.verdict is not None
    assert seen[-1].answer == report.verdict.answer
    states = [(c.arm, c.state) for frame in seen for c in frame.changes]
    assert Counter(states) == Counter(
        (name, state) for name in ("plain", "better") for state in ("running", "done")
    )


def test_the_proposals_of_a_search_are_one_row_and_appear_as_they_are_made(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.watching.watcher.REPLAN_EVERY_S", 0.0)
    design = {
        "kind": "search",
        "space": {"effect": {"uniform": [0.0, 1.0]}},
        "budget": 2,
        "metric": "train/x",
        "arms": [arm("plain", "baseline")],
    }
    study = study_of(home, design=design, seeds=[0])
    assert study.searching is not None
    watcher = Watcher(study)
    assert watcher.look().planned == 3
    record = SearchList(study.folder)
    study.folder.mkdir(parents=True)
    for ordinal in (0, 1):
        point = {"effect": 0.5 + 0.1 * ordinal}
        (trial,) = study.maker.trials([proposal_arm(study.searching, ordinal, point)], ())
        record.append(Proposal(ordinal, point, identity=trial.identity))
        finish(study)
        record.append(Learned(ordinal, 1.0))
    frame = watcher.look()
    rows = {a.arm: (a.done, a.planned, a.mean is None) for a in frame.arms}
    assert rows == {"plain": (1, 1, False), "(proposals)": (2, 2, True), "winner": (0, 1, True)}
    assert (frame.planned, frame.over) == (4, False)
    finish(study)
    frame = watcher.look()
    assert [(c.arm, c.state) for c in frame.changes] == [("winner", "done")]
    assert frame.over


# -- what running trials say -----------------------------------------------------------------------


def test_a_running_trial_shows_where_it_is_and_what_it_measured(study: Study) -> None:
    watcher = Watcher(study)
    with held(study, "plain") as trial:
        for step in (1, 2, 3):
            trial.emitter.metrics({"train/loss": 4.0 - step, "eval/f1": None}, step=step, epoch=1.5)
        frame = watcher.look()
        trial.emitter.metrics({"eval/f1": 0.0, "sys/cpu_percent": 50.0}, step=3)
        (later,) = watcher.look().running
    (now,) = frame.running
    assert (frame.state, frame.driver) == ("running", None)  # another study's process runs it
    assert (now.arm, now.step, now.epoch, now.attempt) == ("plain", 3, 1.5, 0)
    assert (now.loss, now.loss_curve) == (1.0, (3.0, 2.0, 1.0))
    assert (now.eval, now.cpu_percent, now.rss_mib) == (None, None, None)
    assert (later.eval_name, later.eval) == ("eval/f1", 0.0)  # 0 was measured
    assert later.cpu_percent == 50.0


def test_ranks_are_counted_their_use_is_added_up_and_the_slowest_is_named(study: Study) -> None:
    with held(study, "plain", ranks=3) as trial:
        for step in (1, 2):
            for rank, emitter in enumerate(trial.ranks):
                if step == 1 or rank != 2:
                    emitter.metrics({"train/loss": 10.0 * rank + step}, step=step)
        for emitter in trial.ranks:
            emitter.metrics({"sys/cpu_percent": 90.0, "sys/memory_rss_mib": 100.0}, step=30)
        (now,) = Watcher(study).look().running
    assert (now.ranks, now.slowest_rank, now.slowest_behind_steps) == (3, 2, 1)
    assert (now.loss, now.step) == (2.0, 2)  # of rank 0
    assert (now.cpu_percent, now.rss_mib) == (270.0, 300.0)


def test_nan_on_any_rank_is_an_alert_that_stays_when_the_trial_is_done(study: Study) -> None:
    watcher = Watcher(study)
    with held(study, "plain", ranks=2) as trial:
        trial.ranks[1].metrics({"train/loss": math.nan}, step=7)
        (notice,) = watcher.look().notices
        trial.publish(f1=1.0)
    assert notice.text == "plain seed 0: train/loss is nan on rank 1 at step 7"
    frame = watcher.look()
    assert frame.counts["done"] == 1
    assert [(n.level, n.kind) for n in frame.notices] == [("critical", "nonfinite")]


def test_a_dense_trace_is_told_with_its_trigger(study: Study) -> None:
    with held(study, "plain") as trial:
        trial.emitter.snapshot(
            DenseTrace(trigger_reason="loss_spike:3.2x", window_start_epoch=2, window_end_epoch=5)
        )
        (notice,) = Watcher(study).look().notices
    assert notice.text == "plain seed 0: dense trace from epoch 2: loss_spike:3.2x"


def test_a_torn_line_waits_until_it_is_whole_and_is_counted_once_it_never_will_be(
    study: Study,
) -> None:
    watcher = Watcher(study)
    with held(study, "plain") as trial:
        trial.emitter.metrics({"train/loss": 1.0}, step=1)
        with trial.spool().open("ab") as spool:
            spool.write(b'{"v":2,"trial":"x","att')
        assert watcher.look().notices == ()
        with trial.spool().open("ab") as spool:
            spool.write(b"\n")
        trial.emitter.metrics({"train/loss": 0.5}, step=2)
        frame = watcher.look()
    assert frame.running[0].loss == 0.5
    assert [n.text for n in frame.notices] == [
        "plain seed 0: 1 torn or unreadable lines in its spools"
    ]


def test_a_late_watcher_reads_spools_whole_if_it_looks_once(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.watching.spools.AT_ONCE_BYTES", 500)
    with held(study, "plain") as trial:
        for step in range(100):
            trial.emitter.metrics({"train/loss": 1.0}, step=step)
        watcher = Watcher(study)
        (first,) = watcher.look().running
        assert first.step is not None
        assert first.step < 50
        assert watcher.look(whole=True).running[0].step == 99


def test_what_a_trial_said_last_is_read_when_it_ends_however_late_the_watcher_is(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.watching.spools.AT_ONCE_BYTES", 500)
    watcher = Watcher(study)
    with held(study, "plain") as trial:
        for step in range(100):
            trial.emitter.metrics({"train/loss": math.nan if step == 99 else 1.0}, step=step)
        assert watcher.look().notices == ()
        trial.publish(f1=1.0)
    assert [n.text for n in watcher.look().notices] == [
        "plain seed 0: train/loss is nan at step 99"
    ]


def test_what_a_trial_said_last_is_read_from_the_archive_if_its_spools_are_gone(
    study: Study,
) -> None:
    watcher = Watcher(study)
    with held(study, "plain", ranks=2) as trial:
        for rank in trial.ranks:
            rank.metrics({"train/loss": math.inf}, step=0)
        assert len(watcher.look().notices) == 1
        trial.ranks[1].metrics({"train/grad_norm": math.nan}, step=1)
        trial.publish(f1=1.0)
    archive_events(study.home.trial(trial.trial.identity), remove_spools=True)
    assert not trial.spool().exists()
    assert [n.text for n in watcher.look().notices] == [
        "plain seed 0: train/grad_norm is nan on rank 1 at step 1",
        "plain seed 0: train/loss is inf at step 0",
    ]


def test_the_gravest_alerts_are_kept_and_stay_in_their_order(study: Study) -> None:
    watcher = Watcher(study)
    with held(study, "plain") as trial:
        trial.emitter.metrics({"train/loss": math.nan}, step=0)
        for step in range(60):
            trial.emitter.trace("attention", {}, step=step, reason="entropy")
        first = watcher.look(whole=True).notices
        assert len(first) == 50
        assert [n.level for n in first[:2]] == ["critical", "info"]
        assert first[1].text == "plain seed 0: dense trace at step 59: entropy"
        assert watcher.look().notices == first
        trial.emitter.trace("attention", {}, step=60, reason="entropy")
        assert watcher.look().notices[1].text == "plain seed 0: dense trace at step 60: entropy"


# -- cost ------------------------------------------------------------------------------------------

_counted: Counter[str] | None = None
_hooked = False


@contextmanager
def reads_below(root: Path) -> Iterator[Counter[str]]:
    """Counts files that are opened and folders that are listed below `root`."""
    global _counted, _hooked

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if _counted is None or event not in ("open", "os.listdir", "os.scandir"):
            return
        if str(arguments[0]).startswith(str(root)):
            _counted[event] += 1

    if not _hooked:  # a hook cannot be taken away again
        sys.addaudithook(hook)
        _hooked = True
    _counted = found = Counter[str]()
    try:
        yield found
    finally:
        _counted = None


def test_a_look_reads_what_is_new_and_nothing_else_of_thousands_of_trials(home: Home) -> None:
    study = study_of(home, seeds=list(range(1000)))
    done = study.trials()[:300]
    for trial in done:
        publish(claim(study, trial), trial, f1=50.0)
    watcher = Watcher(study)
    wait_until(lambda: watcher.look() and not watcher._files._unsettled, "folders to settle")
    running = [held(study, "better", seed) for seed in (1, 2, 3)]
    trials = [context.__enter__() for context in running]
    wait_until(lambda: watcher.look() and not watcher._files._unsettled, "folders to settle")
    with reads_below(home.root) as nothing_new:
        frame = watcher.look()
    assert frame.counts == {"done": 300, "planned": 1697, "running": 3}
    trials[0].emitter.metrics({"train/loss": 1.0}, step=1)
    with reads_below(home.root) as one_spoke:
        watcher.look()
    publish(trials[1].attempt, trials[1].trial, f1=50.0)
    with reads_below(home.root) as one_ended:
        assert watcher.look().counts["done"] == 301
    for context in running:
        context.__exit__(None, None, None)
    assert one_spoke["open"] - nothing_new["open"] == 1
    assert nothing_new.total() <= 30  # of what runs, and the driver's seat
    assert one_ended.total() <= 60


# -- attempts that were lost -----------------------------------------------------------------------


def lose(trial: Held, state: State, kind: FailureKind, cause: str) -> None:
    trial.attempt.finish(state, Failure(kind, cause))


def test_a_lost_attempt_is_an_alert_that_stays_while_the_trial_goes_on(study: Study) -> None:
    watcher, lines = Watcher(study), ChangeLines()
    with held(study, "plain") as trial:
        list(lines.of(watcher.look()))
        lose(trial, "preempted", "node_lost", "the worker died: RankLost: rank 1 of 2 died")
    lost = watcher.look()
    told = "plain seed 0: attempt 0 lost: the worker died: RankLost: rank 1 of 2 died"
    assert [(n.level, n.kind, n.text) for n in lost.notices] == [("warning", "lost", told)]
    # the line of the change says it already
    assert not [line for line in lines.of(lost) if line.startswith("warning")]
    with held(study, "plain") as again:
        first = again.trial.identity[:8]
        frame = watcher.look()
        assert f"started plain seed 0, attempt 1 ({first})" in list(lines.of(frame))
        assert [n.text for n in frame.notices] == [f"{told}; tried again"]
        assert [n.text for n in Watcher(study).look().notices] == [f"{told}; tried again"]
        again.publish(f1=1.0)
    assert [n.text for n in watcher.look().notices] == [f"{told}; tried again"]
    assert Watcher(study).look().notices == ()  # it is done: what was lost took nothing away


def test_an_attempt_that_failed_and_was_tried_again_is_an_alert(study: Study) -> None:
    watcher = Watcher(study)
    watcher.look()
    with held(study, "plain") as trial:
        lose(trial, "failed", "out_of_memory", "no room")
    assert [n.kind for n in watcher.look().notices] == ["failed"]
    with held(study, "plain"):
        assert [n.text for n in watcher.look().notices] == [
            "plain seed 0: attempt 0 failed (out_of_memory): no room; tried again"
        ]
