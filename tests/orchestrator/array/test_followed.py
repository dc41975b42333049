"""What a driver takes from a task that ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.slurm.queue import EndedAs, JobView
from cluster.slurm.records import Job, JobRecord
from orchestrator.array import followed
from orchestrator.array.followed import Blind, Followed
from orchestrator.array.waves import Handed, SentTask, TaskFile, mark_started, new_wave, task_path
from orchestrator.home import Home


@pytest.fixture
def wave(home: Home, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(followed, "SETTLE_S", 0.0)
    folder = home.study("a-study")
    task = TaskFile(study_folder=str(folder), tickets=[])
    return new_wave(folder, [task, task])


def following(
    home: Home, wave: Path, tasks: int = 2, tell: Callable[[str], object] = print
) -> Followed:
    record = JobRecord(
        id="7",
        kind="array",
        name="orrery-a",
        submitted_at_s=0.0,
        host="h",
        tasks=tasks,
        folder="jobs",
    )
    made = Followed(home, tell=tell)
    for index in range(tasks):
        handed = Handed(f"trial{index}", f"token{index}", 0)
        task = SentTask(wave.parent.parent, wave.name, index, record, index, (handed,))
        made.add(task, {f"key{index}": handed})
    return made


def see(made: Followed, *views: JobView) -> None:
    made.take_views({Job(view.id, "orrery-a"): view for view in views})


@pytest.mark.parametrize("ended_as", ["failed", "completed", None])
def test_where_no_task_has_started_one_that_ends_says_that_the_home_is_not_seen(
    home: Home, wave: Path, ended_as: EndedAs | None
) -> None:
    told: list[str] = []
    made = following(home, wave, tell=told.append)
    lost = JobView("7_0", "ended", node="n1", ended_as=ended_as)
    see(made, lost, JobView("7_1", "queued"))
    assert made.read() == []
    assert len(told) == 1
    assert "job 7_0 ended on n1 and never started its work" in told[0]
    see(made, lost, JobView("7_1", "ended", node="n2", ended_as=ended_as))
    with pytest.raises(Blind) as blind:
        made.read()
    assert blind.value.nodes == ["n1", "n2"]


def test_a_single_task_that_never_started_says_so_at_once(home: Home, wave: Path) -> None:
    made = following(home, wave, tasks=1)
    see(made, JobView("7_0", "ended", node="n1", ended_as="failed"))
    with pytest.raises(Blind):
        made.read()


def test_tasks_that_one_node_loses_are_lost_once_another_has_started(
    home: Home, wave: Path
) -> None:
    made = following(home, wave)
    lost = JobView("7_0", "ended", node="bad", ended_as="failed")
    see(made, lost, JobView("7_1", "running", node="good"))
    assert made.read() == []
    mark_started(task_path(wave, 1), "7_1")
    (news,) = made.read()
    assert (news.key, news.kind) == ("key0", "failed")
    assert "on bad" in news.lost


@pytest.mark.parametrize("ended_as", ["failed", "completed", None])
def test_a_node_that_fails_alone_loses_its_task_and_no_other(
    home: Home, wave: Path, ended_as: EndedAs | None
) -> None:
    made = following(home, wave)
    mark_started(task_path(wave, 0), "7_0")
    see(
        made,
        JobView("7_0", "running", node="n1"),
        JobView("7_1", "ended", node="n2", ended_as=ended_as),
    )
    (news,) = made.read()
    assert (news.key, news.kind) == ("key1", "failed")
    assert "its job 7_1 ended" in news.lost
    assert "on n2" in news.lost
    assert list(made.tasks) == ["7_0"]
