"""`orrery publish` of trials with a damaged row log: made anew from events, or named as lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.home import Home
from orchestrator.restoring import publish_home
from telemetry.filesystem import locked
from tests.orchestrator.test_publishing import content, lose_the_store, orrery, ran


def garbled(log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:2], b"\x00garbage\xff\n", *lines[3:]]))


def emptied(log: Path) -> None:
    log.write_bytes(b"")


def shortened(log: Path) -> None:
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))


@pytest.mark.parametrize("damage", [garbled, emptied, shortened])
def test_a_damaged_row_log_is_made_anew_from_events(
    mlflow_home: Home, damage: Callable[[Path], None]
) -> None:
    study = ran(mlflow_home)
    before = content(mlflow_home)
    identity = study.trials()[0].identity
    log = mlflow_home.trial(identity) / "rows.jsonl"
    damage(log)
    damaged = log.read_bytes()
    lose_the_store(mlflow_home)
    (result,) = publish_home(mlflow_home)
    assert not result.left
    assert "made anew from events" in result.mended[identity]
    assert log.with_name("rows.jsonl.damaged-1").read_bytes() == damaged
    assert content(mlflow_home) == before
    (result,) = publish_home(mlflow_home)
    assert not result.mended
    assert content(mlflow_home) == before


def test_a_trial_whose_rows_and_events_are_gone_is_named(mlflow_home: Home) -> None:
    study = ran(mlflow_home)
    lost = study.trials()[0].identity
    for name in ("rows.jsonl", "events.parquet"):
        (mlflow_home.trial(lost) / name).unlink()
    for _ in range(2):
        (result,) = publish_home(mlflow_home)
        assert list(result.left or {}) == [lost]
        assert "events are gone" in (result.left or {})[lost]
    assert orrery("publish")[0] == 1


def test_a_study_that_another_process_writes_is_waited_for_and_named(mlflow_home: Home) -> None:
    study = ran(mlflow_home)
    told: list[str] = []
    with locked(study.folder / "publish.lock"):
        (result,) = publish_home(mlflow_home, wait_s=0.0, waiting=told.append)
    assert "another orrery run or publish" in (result.left or {})[study.instance]
    with locked(study.folder / "publish.lock"):
        holder = iter(publish_home(mlflow_home, wait_s=1.0, waiting=told.append))
        next(holder)
    assert told == [study.instance]


def test_a_home_that_is_not_there_is_refused(tmp_path: Path) -> None:
    from orchestrator.errors import UsageError

    with pytest.raises(UsageError, match="There is no home in"):
        list(publish_home(Home.find(tmp_path / "typo")))
    assert not (tmp_path / "typo").exists()
