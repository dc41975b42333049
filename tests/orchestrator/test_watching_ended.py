"""What trials of seconds told of their hidden states is still there once they have ended."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator import Study
from orchestrator.home import Home
from orchestrator.watching import ChangeLines, Watcher
from orchestrator.watching.terminal import render_frame
from telemetry.rowlog import Row, RowLog
from tests.orchestrator.quick_study import arm, finish, quick_study
from tests.orchestrator.watching import held, study_of

COLLAPSED, NONFINITE = "health/collapsed", "health/nonfinite"


@pytest.fixture
def study(home: Home) -> Study:
    return study_of(home)


def rows(study: Study, name: str, **told: list[float]) -> None:
    """Rows as a fold leaves them, of every trial of an arm."""
    for trial in study.trials():
        if trial.arm == name:
            log = RowLog(study.home.trial(trial.identity))
            log.append(
                Row(f"health/{key}", step, 1000 + step, value)
                for key, values in told.items()
                for step, value in enumerate(values)
            )


def alerts(watcher: Watcher) -> list[str]:
    return [f"{one.level}: {one.text}" for one in watcher.look(whole=True).notices]


def test_alerts_of_trials_that_ended_are_counted_by_arm(study: Study) -> None:
    finish(study)
    rows(study, "better", collapsed=[0.0, 1.0, 1.0], nonfinite=[0.0, 0.0, 1.0])
    rows(study, "plain", collapsed=[0.0, 0.0], nonfinite=[0.0, 0.0], svd_ratio=[1.0, 1.0])
    counted = [
        "critical: 2 trials of better: hidden states were NaN or infinite",
        "warning: 2 trials of better: hidden states collapsed",
    ]
    watcher = Watcher(study)
    assert alerts(watcher) == counted
    assert alerts(watcher) == counted
    assert alerts(Watcher(study)) == counted  # as `watch --once` is asked long after


def test_what_a_running_trial_said_is_counted_once_it_has_ended(study: Study) -> None:
    watcher = Watcher(study)
    watcher.look()
    with held(study, "better") as one:
        one.emitter.metrics({COLLAPSED: 1.0, NONFINITE: 0.0}, step=3)
        one.emitter.close()
        assert alerts(watcher) == ["warning: better seed 0: hidden states collapse at step 3"]
        one.publish(f1=1.0)
    log = RowLog(study.home.trial(one.trial.identity))
    assert alerts(watcher) == []
    log.append([Row(COLLAPSED, 3, 1000, 1.0)])  # folded after the look
    lines = ChangeLines()
    frame = watcher.look(whole=True)
    assert [notice.text for notice in frame.notices] == [
        "1 trial of better: hidden states collapsed"
    ]
    assert not [line for line in lines.of(frame) if "collapsed" in line]  # others may follow


def test_a_study_without_a_rule_has_no_column_for_its_metric(home: Home, tmp_path: Path) -> None:
    bare = Study.load(quick_study(arm("a"), arm("b")), home=home.root)
    ruled = study_of(Home(tmp_path / "other"))
    shown = {}
    for name, one in (("bare", bare), ("ruled", ruled)):
        drawn = Console(file=StringIO(), width=100)
        drawn.print(render_frame(Watcher(one).look(), 100))
        shown[name] = drawn.file.getvalue()
    assert "mean" not in shown["bare"]
    assert "n/a" not in shown["bare"]
    assert "mean f1" in shown["ruled"]
