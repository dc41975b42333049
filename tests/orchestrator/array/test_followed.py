"""What a driver takes from a task that ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.slurm.queue import EndedAs, JobView
from cluster.slurm.records import JobRecord
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


def following(home: Home, wave: Path) -> Followed:
    record = JobRecord(
        id="7", kind="array", name="orrery-a", submitted_at_s=0.0, host="h", tasks=2, folder="jobs"
    )
    made = Followed(home)
    for index in (0, 1):
        handed = Handed(f"trial{index}", f"token{index}", 0)
        task = SentTask(wave.parent.parent, wave.name, index, record, index, (handed,))
        made.add(task, {f"key{index}": handed})
    return made


@pytest.mark.parametrize("ended_as", ["failed", "completed", None])
def test_where_no_task_has_started_one_that_ends_says_that_the_home_is_not_seen(
    home: Home, wave: Path, ended_as: EndedAs | None
) -> None:
    made = following(home, wave)
    made.take_views({"7_0": JobView("7_0", "ended", node="n1", ended_as=ended_as)})
    with pytest.raises(Blind):
        made.read()


@pytest.mark.parametrize("ended_as", ["failed", "completed", None])
def test_a_node_that_fails_alone_loses_its_task_and_no_other(
    home: Home, wave: Path, ended_as: EndedAs | None
) -> None:
    made = following(home, wave)
    mark_started(task_path(wave, 0), "7_0")
    made.take_views(
        {
            "7_0": JobView("7_0", "running", node="n1"),
            "7_1": JobView("7_1", "ended", node="n2", ended_as=ended_as),
        }
    )
    (news,) = made.read()
    assert (news.key, news.kind) == ("key1", "failed")
    assert "its job 7_1 ended" in news.lost
    assert "on n2" in news.lost
    assert list(made.tasks) == ["7_0"]
