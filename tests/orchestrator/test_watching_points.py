"""A watch after training: how far the points of the models are."""

from __future__ import annotations

import dataclasses
from io import StringIO

from rich.console import Console

from orchestrator.driving import driver_seat
from orchestrator.home import Home
from orchestrator.watching import ChangeLines, Watcher
from orchestrator.watching.frame import PointsSoFar
from orchestrator.watching.terminal import render_frame
from tests.orchestrator.evaluation.games import game_study, measure_here
from tests.orchestrator.quick_study import finish
from tests.orchestrator.watching import study_of


def test_points_are_counted_while_the_driver_measures_them(home: Home) -> None:
    study = game_study(home, seeds=[0, 1])
    watcher = Watcher(study)
    assert watcher.look().points == PointsSoFar(asked=16, measured=0, failed=0)
    finish(study)
    with driver_seat(study):
        assert watcher.look(whole=True).state == "measuring points"
        measure_here(study)
        frame = watcher.look(whole=True)
    assert (frame.state, frame.points) == ("finishing", PointsSoFar(16, 16, 0))
    assert frame.to_json()["points"] == {"asked": 16, "measured": 16, "failed": 0}
    assert Watcher(study_of(home)).look().points is None


def test_a_study_that_is_over_without_its_points_names_the_command_that_goes_on(
    home: Home,
) -> None:
    study = game_study(home)
    finish(study)
    frame = Watcher(study).look()
    assert frame.state == "done"
    out = StringIO()
    Console(file=out, width=1000).print(render_frame(frame, 1000))
    assert "[0/8] points" in out.getvalue()
    assert f"go on with: {frame.resume}" in out.getvalue()


def test_a_log_has_a_line_at_every_tenth_of_the_points(home: Home) -> None:
    study = game_study(home)
    finish(study)
    frame = dataclasses.replace(Watcher(study).look(), state="finishing", changes=())
    lines = ChangeLines(summary_s=3600)
    told = [
        line
        for done in range(101)
        for line in lines.of(dataclasses.replace(frame, points=PointsSoFar(100, done, 0)))
    ]
    assert len(told) == 11
    assert told[-1] == "finishing: 1/1 done; [100/100] points"
