"""`orrery report` in its forms: a page, tables, and what it refuses."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from orchestrator import Study
from orchestrator.cli.app import app
from orchestrator.errors import UsageError
from orchestrator.home import Home
from orchestrator.judging import evidence
from orchestrator.reporting import report_study
from tests.orchestrator.quick_study import QUESTIONED, finish, quick_study, rule


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    folder = tmp_path_factory.mktemp("reported")
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(quick_study(workload=QUESTIONED, verdict=rule())))
    study = Study.load(path, home=Home.find(folder / "home").root)
    finish(study)
    return study, path


def said(done: tuple[Study, Path], *words: str) -> str:
    study, path = done
    told = CliRunner().invoke(app, ["report", str(path), "--home", str(study.home.root), *words])
    if told.exception is not None and not isinstance(told.exception, SystemExit):
        raise told.exception
    assert told.exit_code == 0
    return told.stdout


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_scores_are_what_the_verdict_was_made_from(done: tuple[Study, Path]) -> None:
    study, _ = done
    told = rows(said(done, "--csv", "scores"))
    metric = study.file.verdict.metric if study.file.verdict else ""
    assert list(told[0])[:6] == ["arm", "seed", "split", "unit", "cluster", metric]
    told = [row for row in told if row["split"] == "test"]
    for arm in evidence(study, study.plan()):
        for one in arm.replicates:
            mine = [r for r in told if (r["arm"], r["seed"]) == (arm.arm, str(one.seed))]
            assert [float(r[metric]) for r in mine] == pytest.approx(list(one.scores or ()))
            assert [r["unit"] for r in mine] == list(one.units or ())


def test_tables_are_those_of_the_report(done: tuple[Study, Path]) -> None:
    folder = report_study(done[0], done[0].plan()).folder
    assert said(done, "--csv") == said(done, "--csv", "arms") == (folder / "report.csv").read_text()
    assert said(done, "--csv", "trials") == (folder / "trials.csv").read_text()


def test_the_page_is_in_the_studys_folder_and_leads_to_its_trials(
    done: tuple[Study, Path],
) -> None:
    study, _ = done
    path = Path(said(done, "--html").strip())
    assert path == study.folder / "report.html"
    page = path.read_text(encoding="utf-8")
    for item in study.plan().trials:
        assert f'href="../../trials/{item.trial.identity}/"' in page
    assert 'href="report/report.csv"' in page


def test_the_page_goes_where_it_is_told(done: tuple[Study, Path], tmp_path: Path) -> None:
    wanted = tmp_path / "deep" / "page.html"
    assert said(done, "--html", "--out", str(wanted)).strip() == str(wanted)
    assert wanted.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--html", "--csv"], "--html and --csv"),
        (["--csv", "--json"], "--csv and --json"),
        (["--csv", "scoers"], "Did you mean 'scores'"),
        (["trials"], "--csv trials"),
        (["--out", "x.html"], "--html --out FILE"),
        (["--html", "--out", "."], "is a folder"),
    ],
)
def test_what_does_not_go_together_is_refused(
    done: tuple[Study, Path], words: list[str], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        said(done, *words)


def test_a_report_is_renewed_when_the_workloads_code_changes(
    done: tuple[Study, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, path = done
    first = report_study(study, study.plan())
    written = (first.folder / "report.html").stat().st_ino
    again = Study.load(path, home=study.home.root)
    report_study(again, again.plan())
    assert (first.folder / "report.html").stat().st_ino == written
    monkeypatch.setitem(vars(again), "code_digest", "0" * 16)
    page = Path(said(done, "--html").strip())
    report_study(again, again.plan())
    assert (first.folder / "report.html").stat().st_ino != written
    assert not page.exists()  # it was of the report before


def test_an_unfinished_study_says_what_is_there_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(quick_study(verdict=rule())))
    told = CliRunner().invoke(app, ["report", str(path), "--home", str(tmp_path / "home")])
    assert told.exit_code == 0
    assert "4 trials of 4 have no result" in told.stderr
    assert "orrery run" in told.stderr
    assert "no verdict yet" in told.stdout.lower()


def test_next_steps_under_a_name_that_no_outcome_has_are_refused(tmp_path: Path) -> None:
    steps = {"improvs": ["Take it."], "small": ["Look."], "Gate not met": ["Stop."]}
    with pytest.raises(UsageError, match=r"'improvs'. Did you mean 'improves'\? Valid: "):
        Study.load(quick_study(verdict=rule(), next_steps=steps), home=tmp_path)
    with pytest.raises(UsageError, match="no question that has one"):
        Study.load(quick_study(next_steps={"improves": ["Take it."]}), home=tmp_path)
