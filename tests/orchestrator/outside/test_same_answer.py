"""Results that left a home give the same answer outside of it, with nothing of it loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import Study
from orchestrator.engine.worker import AttemptFailed, run_attempt
from orchestrator.outside import judge_file, read_rule
from orchestrator.plan_file import write_plan
from orchestrator.rule_hash import rule_hash
from orchestrator.score_table import csv_lines, score_table
from tests.orchestrator.quick_study import (
    arm,
    configurations,
    environment,
    go_on,
    quick_study,
    rule,
    tickets,
)

HEAVY = ("ray", "torch", "mlflow", "transformers")
OF_THE_HOME = {"notes", "findings_notes"}
"""What a study's own report may say otherwise: when its rule was stated."""
ENDPOINT = {"column": "f1", "split": "test", "against": "plain", "margin": 1.0}
CLAIM = {
    "arm": "better",
    "statistic": "mean",
    "column": "f1",
    "split": "test",
    "expected": [50, 60],
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Three arms and a control that finished, and an arm that failed."""
    arms = (
        arm("plain", "comparator"),
        arm("better", effect=5.0),
        arm("worse", effect=-5.0),
        arm("apart", "control", effect=1.0),
        arm("broken", fault="raise"),
    )
    mapping = quick_study(
        design=configurations(*arms),
        seeds=[0, 1, 2, 3, 4],
        verdict=rule(),
        endpoints={"f1": ENDPOINT},
        claims={"about-55": CLAIM},
        next_steps={"improves": ["Take it."]},
    )
    made = Study.load(mapping, home=tmp_path_factory.mktemp("home"))
    write_plan(made, made.plan())
    for ticket in tickets(made):
        with suppress(AttemptFailed):
            run_attempt(ticket, go_on)
    return made


@pytest.fixture(scope="module")
def reported(study: Study) -> dict[str, Any]:
    from orchestrator.findings import findings_of

    plan = study.plan()
    found: dict[str, Any] = json.loads(
        json.dumps({**study.verdict().to_json(), **findings_of(study, plan).to_json()})
    )
    return found


@pytest.fixture(scope="module")
def scores(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `orrery report STUDY --csv scores` prints."""
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    path.write_text("".join(csv_lines(score_table(study, study.plan()))))
    return path


def test_the_table_of_scores_gives_the_report_field_by_field(
    study: Study, reported: dict[str, Any], scores: Path
) -> None:
    found = judge_file(str(scores), read_rule(study.folder / "study.yaml"))
    told = json.loads(json.dumps(found.to_json()))
    assert reported["state"] == "verdict"
    for name in reported.keys() - OF_THE_HOME:
        assert told[name] == reported[name], name


def test_the_rule_of_the_study_has_one_hash_everywhere(study: Study, tmp_path: Path) -> None:
    expected = rule_hash(study.file)
    assert read_rule(study.folder / "study.yaml").hash == expected
    assert json.loads((study.folder / "plan.json").read_bytes())["rule_hash"] == expected
    alone: dict[str, Any] = {
        "verdict": {**rule(), "unit": "other words"},
        "endpoints": {"f1": ENDPOINT},
        "claims": {"about-55": {**CLAIM, "about": "other words"}},
        "arms": [{"name": "plain", "role": "comparator"}, {"name": "apart", "role": "control"}],
        "seeds": "0-4",
    }
    path = tmp_path / "rule.yaml"
    path.write_text(yaml.safe_dump(alone))
    assert read_rule(path).hash == expected
    alone["arms"] = alone["arms"][:1]
    path.write_text(yaml.safe_dump(alone))
    assert read_rule(path).hash != expected


def test_the_report_has_the_hash_among_its_provenance(
    study: Study, scores: Path, tmp_path: Path
) -> None:
    found = judge_file(str(scores), read_rule(study.folder / "study.yaml"))
    files = {path.name for path in found.write(tmp_path / "out", "orrery verdict …")}
    assert {"report.html", "report.md", "report.csv", "verdict.json", "means.png"} <= files
    text = (tmp_path / "out" / "report.md").read_text()
    assert str(rule_hash(study.file)) in text
    assert "n/a: results from elsewhere" in text


def test_the_command_loads_nothing_heavy_and_makes_no_home(
    study: Study, scores: Path, tmp_path: Path
) -> None:
    words = ["orrery", "verdict", str(scores), "--rule", str(study.folder / "study.yaml")]
    code = (
        f"import sys, json; sys.argv = {[*words, '--json']!r}\n"
        "from orchestrator.cli import main\n"
        "try:\n    main()\nexcept SystemExit as error:\n    assert not error.code, error.code\n"
        f"print(json.dumps([n for n in {HEAVY!r} if n in sys.modules]), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(ORRERY_HOME=str(tmp_path / "home")),
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1]) == []
    assert json.loads(done.stdout)["state"] == "verdict"
    assert not list(tmp_path.iterdir())
