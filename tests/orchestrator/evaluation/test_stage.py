"""The pool with real workers: what dies, raises, or does not open, and what another run has."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from orchestrator.evaluation.stage import Evaluated
from orchestrator.evaluation.store import MOST_PARTS
from orchestrator.evaluation.tables import PointTable, point_table
from orchestrator.home import Home
from orchestrator.planning import Selection
from orchestrator.study import Study
from tests.orchestrator.evaluation.games import (
    fault,
    game_mapping,
    game_study,
    measure,
    store_of,
    worth,
)
from tests.orchestrator.quick_study import (
    driver,
    finish,
    mlflow_rows,
    run_study,
    wait_until,
    write_study,
)

pytestmark = pytest.mark.usefixtures("ray_session")


def tables(study: Study) -> dict[str, PointTable]:
    return {trial.arm: point_table(study, trial) for trial in study.trials()}


def names(table: PointTable, index: int) -> str:
    return "+".join(sorted(table.on[index])) or "none"


def test_each_point_is_measured_once_by_warm_workers(home: Home, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    study = game_study(home, {"whole": {"players": 6, "log": str(log)}}, seeds=[0, 1])
    finish(study)
    assert measure(study) == Evaluated(measured=128)
    lines = [line.split() for line in log.read_text().splitlines()]
    assert set(Counter((seed, on) for _, seed, on in lines).values()) == {1}
    assert len(lines) == 128
    assert len({pid for pid, _, _ in lines}) <= 2
    for trial in study.trials():
        table = point_table(study, trial)
        assert table.values["accuracy"] == pytest.approx([worth(trial, on) for on in table.on])
        assert len(store_of(study, study.plan().subjects[0]).parts()) <= MOST_PARTS
    assert measure(study) == Evaluated()
    assert len(log.read_text().splitlines()) == 128


@pytest.mark.slow
def test_faults_stay_with_the_points_and_the_subjects_they_are_of(
    home: Home, tmp_path: Path
) -> None:
    def faulty(players: int, name: str, point: str = "") -> dict[str, Any]:
        return {"players": players, "faults": fault(tmp_path / name, name, point)}

    study = game_study(
        home,
        {
            "sound": {"players": 3},
            "kills": faulty(4, "kill", "p0+p2"),
            "raises": faulty(5, "raise", "p1"),
            "shut": faulty(2, "open"),
            "nan": faulty(1, "nan", "p0"),
        },
    )
    finish(study)
    came = measure(study)
    assert list(came.left) == ["shut seed 0"]
    assert "the subject does not open" in came.left["shut seed 0"]
    assert (came.measured, came.failed) == (8 + 15 + 31 + 1, 3)
    found = tables(study)
    assert found["sound"].complete
    ((killed, why),) = found["kills"].errors.items()
    assert names(found["kills"], killed) == "p0+p2"
    assert why.startswith("its worker died 2 times")
    ((raised, why),) = found["raises"].errors.items()
    assert (names(found["raises"], raised), why) == ("p1", "KeyError: 'raised beyond a point'")
    assert found["shut"].missing == (0, 1, 2, 3)
    assert found["nan"].errors == {1: "'accuracy' is nan"}
    # what failed is not tried again by itself, but when that is asked for
    assert [s.state for s in study.plan().subjects] == ["done", "done", "done", "open", "done"]
    for path in tmp_path.glob("*/*"):
        if path.parent.name in ("kill", "raise", "open", "nan"):
            path.unlink()
    assert measure(study, Selection(retry=True)) == Evaluated(measured=7)
    assert all(table.complete for table in tables(study).values())


def test_a_point_that_hangs_is_given_up_at_the_time_limit_and_told(
    home: Home, tmp_path: Path
) -> None:
    faults = fault(tmp_path / "faults", "hang", "p0")
    arms = {"whole": {"players": 2, "faults": faults}}
    study = game_study(home, arms, resources={"time_limit_s": 5})
    finish(study)
    told: list[str] = []
    assert measure(study, tell=told.append) == Evaluated(measured=3, failed=1)
    ((index, why),) = tables(study)["whole"].errors.items()
    assert names(tables(study)["whole"], index) == "p0"
    assert "longer than the limit of 5 s (resources.time_limit_s)" in why
    assert any('{"on":["p0"]} failed: took longer' in line for line in told)


@pytest.mark.slow
def test_a_model_that_hangs_while_it_opens_is_given_up_at_the_time_limit(
    home: Home, tmp_path: Path
) -> None:
    arms = {"whole": {"faults": fault(tmp_path / "faults", "opening_hangs")}}
    study = game_study(home, arms, resources={"time_limit_s": 1.5})
    finish(study)
    assert "opening it took longer than" in measure(study).left["whole seed 0"]


def test_two_studies_that_share_a_subject_measure_it_once(home: Home, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    arms = {"whole": {"players": 3, "log": str(log), "work_s": 0.02}}
    first = game_study(home, arms)
    finish(first)
    (subject,) = first.plan().subjects
    other = game_study(home, arms, {"order": 1}, name="other-game")
    held = store_of(first, subject).claim(first.instance, "")  # a run that has just begun
    came: list[Evaluated] = []
    waiting = threading.Thread(target=lambda: came.append(measure(other)))
    waiting.start()
    wait_until(lambda: not came, "it waits")
    store_of(first, subject).release(held)
    assert measure(first).measured + wait_until(lambda: came, "the other ends")[0].measured == 8
    waiting.join()
    assert len(log.read_text().splitlines()) == 8


@pytest.mark.slow
def test_an_interrupt_keeps_what_was_measured(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.evaluation import pool

    log = tmp_path / "log.txt"
    study = game_study(home, {"whole": {"players": 5, "log": str(log)}})
    finish(study)
    taken, take = [], pool.Pool._take

    def interrupted(self: Any, worker: Any, keeper: Any) -> None:
        take(self, worker, keeper)
        taken.append(keeper.measured)
        if keeper.measured:
            raise KeyboardInterrupt

    monkeypatch.setattr(pool.Pool, "_take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(study)
    monkeypatch.undo()
    (subject,) = study.plan().subjects
    assert subject.known == taken[-1] > 0
    assert store_of(study, subject).is_open
    assert not store_of(study, subject).is_held
    assert measure(study).measured == 32 - taken[-1]
    assert not store_of(study, subject).is_open


@pytest.mark.slow
def test_a_run_trains_measures_and_publishes_one_run_a_model(mlflow_home: Home) -> None:
    mapping = game_study(mlflow_home, seeds=[0, 1]).file.model_dump(mode="json")
    report = run_study(mapping, mlflow_home)
    assert (report.ran, report.measured, report.exit_code) == (2, 16, 0)
    rows = mlflow_rows(mlflow_home)
    assert set(rows.runs_per_trial().values()) == {1}
    assert len(rows.steps("final/removal/total")) == 2
    assert rows.doubled_rows() == []
    assert len(list(mlflow_home.mlflow_artifacts.rglob("removal-points.csv"))) == 2
    before = rows.ask("SELECT count(*) FROM metrics")
    again = run_study(mapping, mlflow_home)
    assert (again.ran, again.measured, again.exit_code) == (0, 0, 0)
    assert rows.ask("SELECT count(*) FROM metrics") == before


@pytest.mark.slow
def test_a_driver_that_is_killed_loses_no_whole_file(home: Home, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    arms = {"whole": {"players": 8, "log": str(log), "work_s": 0.06}}
    mapping = game_mapping(arms, {"full": True})
    study = Study.load(mapping, home=home.root)
    finish(study)
    path = write_study(tmp_path, mapping)
    files = home.root / "subjects"
    with driver("run", path, "--home", home.root, cwd=tmp_path) as running:
        running.wait_until(lambda: list(files.rglob("part-*.parquet")), "a file of points is there")
        running.process.kill()
        running.process.wait()
    (subject,) = study.plan().subjects
    assert 0 < subject.known < 256
    kept = {names(point_table(study, subject.trial), i) for i in range(256)} - {
        names(point_table(study, subject.trial), i)
        for i in point_table(study, subject.trial).missing
    }
    before = len(log.read_text().splitlines())
    assert measure(study).measured == 256 - subject.known
    again = {line.split()[2] for line in log.read_text().splitlines()[before:]}
    assert point_table(study, subject.trial).complete
    assert len(again & kept) <= 32  # a worker of the killed driver may have written its last lines
