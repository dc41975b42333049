"""`orrery publish`, `run --to`: what a store is shown is told by files, and can be told again."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Study
from orchestrator.cli.app import app
from orchestrator.errors import UsageError
from orchestrator.home import Home
from orchestrator.plan_file import write_plan
from orchestrator.publishing import publish, state_of, study_run
from orchestrator.reporting import report_study
from orchestrator.restoring import Published, publish_home
from telemetry import rebuild_rows
from tests.orchestrator.quick_study import arm, finish, quick_study, rule, run_study

ANOTHER = quick_study(arm("plain", "baseline"), arm("further", effect=9.0), name="another-study")


def ran(home: Home, mapping: Mapping[str, Any] | None = None) -> Study:
    """A study that has run in this process, and was published as a run does it."""
    study = Study.load(mapping or quick_study(), home=home.root)
    write_plan(study, study.plan())
    finish(study)
    plan = study.plan()
    report = report_study(study, plan)
    publish(study, plan, report.verdict, state_of(plan), report.folder)
    return study


def lose_the_store(home: Home) -> None:
    for name in ("mlflow.db", "mlflow.db-wal", "mlflow.db-shm"):
        (home.root / name).unlink(missing_ok=True)
    shutil.rmtree(home.mlflow_artifacts, ignore_errors=True)


def content(home: Home) -> dict[tuple[str, str], dict[str, Any]]:
    """All that the home's MLflow holds of runs, ids aside: by study instance and trial.

    Links in notes hold the ids of runs and the number of their own experiment.
    """
    with closing(sqlite3.connect(home.root / "mlflow.db")) as connection:

        def ask(query: str) -> list[tuple[Any, ...]]:
            return list(connection.execute(query))

        tags: dict[str, dict[str, str]] = {}
        for run, key, value in ask("SELECT run_uuid, key, value FROM tags"):
            tags.setdefault(run, {})[key] = value
        name = {
            run: f"{t['orrery.study_instance']}/{t.get('orrery.trial')}" for run, t in tags.items()
        }
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for run, title, status, ended, stage, uri, experiment in ask(
            "SELECT run_uuid, name, status, end_time, lifecycle_stage, artifact_uri, experiment_id "
            "FROM runs"
        ):
            pages = {f"#/experiments/{experiment}/": "#/experiments/its-own/"}
            pages |= {f"#/experiments/{experiment}?": "#/experiments/its-own?"}
            place = (tags[run]["orrery.study_instance"], tags[run].get("orrery.trial", ""))
            assert place not in found, "a run was made twice"
            folder = Path(uri.removeprefix("file://"))
            found[place] = {
                "run": (title, status, ended, stage),
                "tags": {
                    key: _without_ids(value, pages | name) for key, value in tags[run].items()
                },
                "params": sorted(ask(f"SELECT key, value FROM params WHERE run_uuid = '{run}'")),
                "rows": sorted(
                    ask(
                        "SELECT key, step, timestamp, value, is_nan FROM metrics "
                        f"WHERE run_uuid = '{run}'"
                    )
                ),
                "files": {
                    str(path.relative_to(folder)): path.read_bytes()
                    for path in folder.rglob("*")
                    if path.is_file()
                },
            }
    return found


def _without_ids(text: str, names: Mapping[str, str]) -> str:
    for run, name in names.items():
        text = text.replace(run, name)
    return text


def published(home: Home, study: str | None = None) -> list[Published]:
    return list(publish_home(home, study))


def whole(results: list[Published]) -> bool:
    return all(not result.left and result.from_files is None for result in results)


# -- made anew ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_a_lost_store_is_restored_with_every_run_row_tag_note_and_file(home: Home) -> None:
    """What Ray, the collector and the run's end have written: failures, reuse and all."""
    failing = arm("failing", effect=2.0, fault="raise", fault_step=2)
    again = arm("interrupted", effect=3.0, fault="kill", fault_step=2, fault_times=1)
    arms = (arm("plain", "baseline"), arm("better", effect=5.0), failing, again)
    run_study(quick_study(*arms, verdict=rule()), home)
    run_study(ANOTHER, home)
    before = content(home)
    assert len(before) == 2 + 8 + 4
    assert sum(run["tags"].get("reused") == "true" for run in before.values()) == 2
    assert before[next(place for place in before if not place[1])]["files"], "the report"
    lose_the_store(home)
    assert whole(published(home))
    assert content(home) == before
    assert whole(published(home))
    assert content(home) == before

    logs = list(home.trials.glob("*/rows.jsonl"))
    archived = [log for log in logs if log.with_name("events.parquet").exists()]
    assert len(archived) >= 8
    for log in archived:
        log.unlink()
    lose_the_store(home)
    assert whole(published(home))
    assert content(home) == before


def test_a_study_of_older_trials_does_not_end_before_it_begins(home: Home) -> None:
    finish(Study.load(quick_study(arm("a")), home=home.root))
    later = Study.load(quick_study(arm("a"), name="later"), home=home.root)
    write_plan(later, later.plan())
    run = study_run(later, later.plan(), None, "done")
    assert run.started_ms is not None
    assert run.ended_ms is not None
    assert run.ended_ms >= run.started_ms


def test_publishing_mends_what_a_store_has_lost(mlflow_home: Home) -> None:
    ran(mlflow_home)
    before = content(mlflow_home)
    with closing(sqlite3.connect(mlflow_home.root / "mlflow.db")) as connection, connection:
        connection.execute("DELETE FROM metrics WHERE step = 2")
    shutil.rmtree(mlflow_home.mlflow_artifacts)
    assert content(mlflow_home) != before
    assert whole(published(mlflow_home))
    assert content(mlflow_home) == before


def test_a_study_whose_workload_is_gone_is_told_from_its_files(mlflow_home: Home) -> None:
    study = ran(mlflow_home, quick_study(verdict=rule()))
    before = content(mlflow_home)
    file = study.folder / "study.yaml"
    file.write_text(file.read_text().replace(study.file.workload, "no_such_lab:Workload"))
    lose_the_store(mlflow_home)
    (result,) = published(mlflow_home)
    assert not result.left
    assert "no_such_lab" in (result.from_files or "")
    assert content(mlflow_home) == before


def test_a_study_whose_input_is_gone_is_told_from_its_files(
    mlflow_home: Home, tmp_path: Path
) -> None:
    data = tmp_path / "data.txt"
    data.write_text("twelve bytes")
    ran(mlflow_home, quick_study(base={"steps": 3, "data": str(data)}))
    before = content(mlflow_home)
    for change in (data.unlink, lambda: data.write_text("other content")):
        change()
        lose_the_store(mlflow_home)
        (result,) = published(mlflow_home)
        assert result.from_files
        assert not result.left
        assert content(mlflow_home) == before


def test_a_plan_of_version_0_1_is_enough(mlflow_home: Home) -> None:
    study = ran(mlflow_home)
    before = content(mlflow_home)
    path = study.folder / "plan.json"
    told = json.loads(path.read_bytes())
    for name in ("arms", "workload", "published_elsewhere"):
        del told[name]
    told["trials"] = [{k: t[k] for k in ("id", "arm", "replicate")} for t in told["trials"]]
    path.write_text(json.dumps(told))
    file = study.folder / "study.yaml"
    file.write_text(file.read_text().replace(study.file.workload, "no_such_lab:Workload"))
    lose_the_store(mlflow_home)
    (result,) = published(mlflow_home)
    assert not result.left
    after = content(mlflow_home)
    assert after.keys() == before.keys()
    assert [run["rows"] for run in after.values()] == [run["rows"] for run in before.values()]


def test_a_study_that_cannot_be_told_does_not_keep_the_others(mlflow_home: Home) -> None:
    broken, sound = ran(mlflow_home), ran(mlflow_home, {**ANOTHER, "base": {"steps": 2}})
    before = content(mlflow_home)
    (broken.folder / "study.yaml").write_text("name: [")
    lose_the_store(mlflow_home)
    results = {result.study: result for result in published(mlflow_home)}
    assert results[broken.instance].left
    assert not results[sound.instance].left
    after = content(mlflow_home)
    assert after == {place: run for place, run in before.items() if place[0] == sound.instance}


def test_a_trial_with_a_damaged_file_is_left_and_the_others_are_published(
    mlflow_home: Home,
) -> None:
    study = ran(mlflow_home)
    before = content(mlflow_home)
    damaged = study.trials()[0].identity
    (mlflow_home.trial(damaged) / "identity.json").write_text("{")
    mlflow_home.ledger.unlink(missing_ok=True)
    lose_the_store(mlflow_home)
    (result,) = published(mlflow_home)
    assert list(result.left or {}) == [damaged]
    assert before.keys() - content(mlflow_home).keys() == {(study.instance, damaged)}


@pytest.mark.parametrize("planned", [True, False])
def test_a_damaged_archive_is_left_and_the_others_are_published(
    mlflow_home: Home, planned: bool
) -> None:
    study = ran(mlflow_home)
    before = content(mlflow_home)
    damaged, other = (trial.identity for trial in study.trials()[:2])
    (mlflow_home.trial(damaged) / "events.parquet").write_bytes(b"PAR1 not")
    for identity in (damaged, other):
        (mlflow_home.trial(identity) / "rows.jsonl").unlink()
    if not planned:
        file = study.folder / "study.yaml"
        file.write_text(file.read_text().replace(study.file.workload, "no_such_lab:Workload"))
    lose_the_store(mlflow_home)
    (result,) = published(mlflow_home)
    assert list(result.left or {}) == [damaged]
    after = content(mlflow_home)
    assert {place: run for place, run in after.items() if place[1] not in ("", damaged)} == {
        place: run for place, run in before.items() if place[1] not in ("", damaged)
    }


def test_earlier_outcomes_rows_come_back_though_a_process_died_before_them(
    mlflow_home: Home,
) -> None:
    """As if it had been killed between the rows of events and those of outcomes."""
    ran(mlflow_home)
    study = ran(mlflow_home, quick_study(base={"steps": 3, "questions": 40}))
    before = content(mlflow_home)
    mine = {p: run for p, run in before.items() if p[0] == study.instance and p[1]}
    final = [row for run in mine.values() for row in run["rows"] if row[0] == "final/f1"]
    assert {row[1] for row in final} == {0, 1}
    for trial in study.trials():
        folder = mlflow_home.trial(trial.identity)
        (folder / "rows.jsonl").unlink()
        assert rebuild_rows(folder)
    lose_the_store(mlflow_home)
    assert whole(published(mlflow_home))
    after = content(mlflow_home)
    assert {place: after[place] for place in mine} == mine


def test_one_study_is_named_by_name_instance_or_file(mlflow_home: Home, tmp_path: Path) -> None:
    study, other = ran(mlflow_home), ran(mlflow_home, ANOTHER)
    file = str(study.folder / "study.yaml")
    for name in ("quick-study", study.instance, file):
        assert [result.study for result in published(mlflow_home, name)] == [study.instance]
    assert {result.study for result in published(mlflow_home)} == {study.instance, other.instance}
    with pytest.raises(UsageError, match=r"quick-stud'.*Did you mean"):
        published(mlflow_home, "quick-stud")


# -- the command ----------------------------------------------------------------------------------


def orrery(*words: str) -> tuple[int, str]:
    """The command in this process: exit code and standard output."""
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def test_the_command_says_what_it_did_and_what_is_left(mlflow_home: Home, tmp_path: Path) -> None:
    study, other = ran(mlflow_home), ran(mlflow_home, ANOTHER)
    code, said = orrery("publish")
    assert code == 0
    assert f"{study.instance}: 4 trials, " in said
    assert "2 of 2 studies are whole in MLflow" in said
    (other.folder / "study.yaml").unlink()
    code, said = orrery("publish", "--to", f"parquet:{tmp_path / 'out'}")
    assert code == 1
    assert f"left: {other.instance}: " in said
    code, said = orrery("publish", "--json")
    told = {result["study"]: result for result in json.loads(said)}
    assert code == 1
    assert told[study.instance]["trials"] == 4
    assert told[study.instance]["rows"] > 0
    assert told[study.instance]["left"] == {}
    assert "is gone" in told[other.instance]["left"][other.instance]


@pytest.mark.parametrize("way", ["option", "variable"])
def test_another_place_gets_all_of_it(
    mlflow_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    import pandas as pd

    study = ran(mlflow_home)
    uri = f"parquet:{tmp_path / 'out'}"
    if way == "variable":
        monkeypatch.setenv("ORRERY_TRACKING_URI", uri)
    code, _ = orrery("publish", *(("--to", uri) if way == "option" else ()))
    assert code == 0
    table = pd.read_parquet(tmp_path / "out" / "metrics")
    final = table[table.key == "final/f1"].set_index(["arm", "replicate"]).value
    plan = study.plan()
    assert final.to_dict() == {
        (i.trial.arm, i.trial.replicate): i.record.outcome.metrics["f1"]
        for i in plan.trials
        if i.record.outcome
    }
    rows = {place: run["rows"] for place, run in content(mlflow_home).items() if place[1]}
    assert len(table) == sum(map(len, rows.values()))


def test_a_place_that_is_none_is_refused_before_anything(home: Home) -> None:
    study = Study.load(quick_study(), home=home.root)
    with pytest.raises(UsageError, match="'ftp://x' names no place for runs"):
        study.run(to="ftp://x")
    assert not study.folder.exists()
    with pytest.raises(UsageError, match="names no place"):
        published(home.publishing_to("parquet"))


def test_a_run_publishes_where_it_is_told_and_status_does_not_publish_elsewhere(
    home: Home, tmp_path: Path
) -> None:
    to = f"jsonl:{tmp_path / 'out'}"
    report = run_study(quick_study(), home, to=to)
    assert report.exit_code == 0
    assert report.telemetry_left == {}
    (told,) = (tmp_path / "out" / "studies").glob("*.json")
    assert json.loads(told.read_bytes())["state"] == "done"
    runs = [json.loads(path.read_bytes()) for path in (tmp_path / "out" / "runs").glob("*/*.json")]
    assert [run["state"] for run in runs] == ["done"] * 4
    lines = (tmp_path / "out" / "metrics").glob("*/*.jsonl")
    assert all(len(path.read_text().splitlines()) == 3 + 2 for path in lines)
    code, _ = orrery("status", "quick-study", "--json")
    assert code == 0
    assert not (home.root / "mlflow.db").exists()


def test_two_homes_that_publish_to_one_place_stay_apart(tmp_path: Path) -> None:
    to = f"jsonl:{tmp_path / 'out'}"
    for name in ("ada", "bob"):
        home = Home.find(tmp_path / name).writable()
        study = Study.load(quick_study(), home=home.root)
        write_plan(study, study.plan())
        finish(study)
        for _ in range(2):
            assert whole(published(home.publishing_to(to)))
    assert len(list((tmp_path / "out" / "runs").glob("*/*.json"))) == 8
    assert len(list((tmp_path / "out" / "studies").glob("*.json"))) == 2
