"""What is kept of a model's points while they are measured, and what a full disk costs."""

from __future__ import annotations

import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from orchestrator.evaluation.actor import PointWorker
from orchestrator.evaluation.published import keep_figures
from orchestrator.evaluation.stage import _Keeping, _work
from orchestrator.evaluation.work import SubjectWork
from orchestrator.home import Home
from orchestrator.plan_file import write_plan
from orchestrator.publishing import publish, state_of
from orchestrator.reporting import report_study
from orchestrator.restoring import publish_home
from orchestrator.study import Study
from tests.orchestrator.evaluation.games import game_study, measure_here, store_of
from tests.orchestrator.quick_study import finish


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can grow: what writes is told so."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def measure_all(keeping: _Keeping, work: SubjectWork) -> None:
    worker = PointWorker()
    opened = worker.open(work.spec, *worker.pack(work.spec))
    assert opened.examples is not None
    work.opened(opened.examples)
    while (piece := work.take(1)) is not None:
        keeping.keep(work, work.measured(piece, worker.measure(work.points(piece))))


def keeping_of(study: Study, told: list[str]) -> tuple[_Keeping, SubjectWork]:
    (plan,) = study.plan().subjects
    work = _work(study, plan)
    return _Keeping(study, [work], told.append, lambda done, total, per_s: None, None), work


def test_a_full_disk_costs_what_was_not_written_and_the_next_run_measures_it(home: Home) -> None:
    study = game_study(home)
    finish(study)
    told: list[str] = []
    keeping, work = keeping_of(study, told)
    with keeping:
        assert keeping.begin(work)
        measure_all(keeping, work)
        with full_disk():
            keeping.end(work)
    assert (keeping.measured, keeping.failed) == (0, 0)
    assert "cannot be written" in work.why
    assert any("points are left" in line for line in told)
    (subject,) = study.plan().subjects
    assert (subject.state, len(subject.missing)) == ("open", 8)
    assert not store_of(study, subject).is_held
    assert list(store_of(study, subject).folder.glob("part-*")) == []
    assert measure_here(study) == 8


def test_a_folder_that_cannot_be_written_gives_the_model_up(home: Home) -> None:
    study = game_study(home)
    finish(study)
    keeping, work = keeping_of(study, [])
    with keeping, full_disk():
        assert keeping.begin(work)
        assert work.left == 0
        keeping.end(work)
    assert "its folder cannot be used" in work.why
    assert not store_of(study, study.plan().subjects[0]).is_held


@pytest.mark.parametrize("workload_gone", [False, True])
def test_a_lost_store_gets_figures_and_tables_of_points_back(
    mlflow_home: Home, workload_gone: bool
) -> None:
    study = game_study(mlflow_home, seeds=[0, 1])
    write_plan(study, study.plan())
    finish(study)
    measure_here(study)
    plan = study.plan()
    report = report_study(study, plan)
    keep_figures(study, plan)
    publish(study, plan, report.verdict, state_of(plan), report.folder, findings=report.findings)
    before = figures_in(mlflow_home)
    assert len(before) > 2
    tables = sorted(path.name for path in mlflow_home.mlflow_artifacts.rglob("removal-*"))
    assert tables.count("removal-points.csv") == 2
    for path in mlflow_home.root.glob("mlflow.db*"):
        path.unlink()
    shutil.rmtree(mlflow_home.mlflow_artifacts)
    if workload_gone:
        file = study.folder / "study.yaml"
        file.write_text(file.read_text().replace(study.file.workload, "no_such_game:Game"))
    (result,) = publish_home(mlflow_home)
    assert not result.left
    assert (result.from_files is not None) == workload_gone
    assert figures_in(mlflow_home) == before
    assert sorted(p.name for p in mlflow_home.mlflow_artifacts.rglob("removal-*")) == tables


def figures_in(home: Home) -> list[tuple[str, int, float]]:
    path: Path = home.root / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT key, timestamp, value FROM metrics WHERE key LIKE 'final/removal/%'"
        return sorted(connection.execute(query))
