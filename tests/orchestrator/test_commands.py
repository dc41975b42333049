"""The command line: what it prints for machines, and how it refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Study
from orchestrator.catalogue import catalogue
from orchestrator.engine.worker import AttemptFailed, run_attempt
from orchestrator.home import Home
from tests.orchestrator.quick_study import (
    arm,
    command,
    environment,
    finish,
    go_on,
    orrery,
    quick_study,
    rule,
    tickets,
    write_study,
)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `orrery` in this process: (exit code, standard output, standard error)."""
    from orchestrator.cli import main

    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["orrery", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
        out, err = capsys.readouterr()
        return code, out, err

    return run


# -- what is printed for machines -----------------------------------------------------------------


def test_list_names_registered_workloads(said: Any) -> None:
    code, out, _ = said("list", "--json")
    assert code == 0
    found = json.loads(out)
    assert found == catalogue()
    assert "latent_lora" in [workload["name"] for workload in found["workloads"]]


def test_the_catalogue_tells_of_each_shipped_study_once() -> None:
    studies = catalogue()["studies"]
    assert len({study["name"] for study in studies}) == len(studies) > 0
    for study in studies:
        assert set(study) == {"name", "question", "workload", "presets", "file"}
        assert Path(study["file"]).stem == study["name"]
        assert "\n" not in study["question"]


def test_plan_as_json_has_the_promised_fields(said: Any, tmp_path: Path, home: Home) -> None:
    path = write_study(tmp_path, quick_study(verdict=rule()))
    finish(Study.load(path, home=home.root))
    code, out, _ = said("plan", path, "-s", "seeds=[0, 1, 2]", "--json")
    plan = json.loads(out)
    assert code == 0
    assert {"study", "question", "arms", "trials", "known", "to_run"} <= set(plan)
    assert (plan["known"], plan["to_run"]) == (4, 2)
    assert [set(a) for a in plan["arms"]] == [{"name", "role", "overrides"}] * 2
    assert {"id", "arm", "replicate", "state"} <= set(plan["trials"][0])


def test_plan_says_what_the_study_can_resolve(said: Any, tmp_path: Path, home: Home) -> None:
    code, out, _ = said("plan", write_study(tmp_path, quick_study(verdict=rule())))
    assert code == 0
    assert "4 trials: known 0, to run 4" in out
    assert "assumed: seed SD" in out


def test_a_bare_name_says_which_of_its_runs_is_shown(said: Any, tmp_path: Path, home: Home) -> None:
    from orchestrator.plan_file import write_plan

    path = write_study(tmp_path, quick_study(presets={"smoke": {"seeds": [0]}}))
    plain = Study.load(path, home=home.root)
    write_plan(plain, plain.plan())
    code, _, err = said("status", plain.name, "--home", home.root)
    assert (code, err) == (0, "")
    smoke = Study.load(path, preset="smoke", settings={"seeds": [1]}, home=home.root)
    write_plan(smoke, smoke.plan())
    code, out, err = said("status", plain.name, "--home", home.root, "--json")
    assert (code, json.loads(out)["study"]) == (0, smoke.instance)
    assert err == (
        f"{plain.name}: as it ran last, with --preset smoke -s seeds=[1] ({smoke.instance})\n"
    )


def test_status_as_json_has_the_promised_fields(
    said: Any, tmp_path: Path, mlflow_home: Home
) -> None:
    mapping = quick_study(arm("good", "baseline"), arm("bad", fault="raise"), seeds=[0])
    path = write_study(tmp_path, mapping)
    for ticket in tickets(Study.load(path, home=mlflow_home.root)):
        try:
            run_attempt(ticket, go_on)
        except AttemptFailed:
            assert ticket.arm == "bad"
    code, out, _ = said("status", path, "--json")
    assert code == 0
    status = json.loads(out)
    assert status["counts"] == {"done": 1, "failed": 1}
    good, bad = status["trials"]
    assert {"id", "arm", "replicate", "state", "attempts", "failure", "mlflow_run_id"} <= set(good)
    assert good["failure"] is None
    assert good["mlflow_run_id"]  # status publishes what a dead driver has left
    assert bad["failure"] == {"kind": "user_error", "cause": "ValueError: the walk fell off"}


def test_report_as_json_has_the_promised_fields(said: Any, tmp_path: Path, home: Home) -> None:
    path = write_study(tmp_path, quick_study(verdict=rule(), seeds=[0, 1, 2]))
    finish(Study.load(path, home=home.root))
    code, out, _ = said("report", path, "--json")
    assert code == 0
    report = json.loads(out)
    fields = {"study", "question", "metric", "gate", "arms", "controls", "answer"}
    assert fields <= set(report)
    assert report["gate"] is None
    row = next(a for a in report["arms"] if a["arm"] == "better")
    assert row["delta"] == pytest.approx(5.0)
    assert {"n", "mean", "ci_low", "ci_high", "delta_ci_low", "delta_ci_high", "label"} <= set(row)
    assert all(Path(file).exists() for file in report["files"])


def test_report_before_anything_has_run_is_no_verdict_yet(
    said: Any, tmp_path: Path, home: Home
) -> None:
    code, out, _ = said("report", write_study(tmp_path, quick_study(verdict=rule())), "--json")
    assert code == 0
    assert json.loads(out)["state"] == "no verdict yet"


def test_ledger_commands(said: Any, home: Home) -> None:
    (first, *_) = finish(Study.load(quick_study(), home=home.root))
    assert said("ledger", "rebuild")[1].startswith("4 finished trials")
    assert said("ledger", "verify") == (0, "0 problems\n", "")
    (home.trial(first) / "identity.json").write_text("{")
    code, out, _ = said("ledger", "verify", "--json")
    assert code == 1
    assert len(json.loads(out)["problems"]) == 1


def test_gc_says_what_it_frees(said: Any, home: Home) -> None:
    finish(Study.load(quick_study(), home=home.root))
    code, out, _ = said("gc", "--dry-run", "--json")
    assert code == 0
    assert len(json.loads(out)["removed"]) == 4
    assert said("gc")[1].startswith("freed")
    assert json.loads(said("gc", "--json")[1])["removed"] == []


def test_a_bare_name_means_the_instance_that_was_run_last(
    said: Any, tmp_path: Path, home: Home
) -> None:
    from orchestrator.plan_file import write_plan

    for seeds in ([0], [0, 1, 2]):
        study = Study.load(quick_study(verdict=rule(), seeds=seeds), home=home.root)
        finish(study)
        write_plan(study, study.plan())
    code, out, _ = said("report", "quick-study", "--json")
    assert code == 0
    assert json.loads(out)["arms"][0]["n"] == 3


# -- how it refuses -------------------------------------------------------------------------------


def below_a_file(tmp_path: Path) -> str:
    (tmp_path / "file").write_text("")
    return str(tmp_path / "file" / "home")


REFUSED = {
    "study": ("run", "no-such-study"),
    "file": ("run", "nowhere.yaml"),
    "setting": ("run", "{study}", "-s", "stpes=3"),
    "no assignment": ("run", "{study}", "-s", "steps"),
    "value": ("run", "{study}", "-s", "steps=0"),
    "type": ("run", "{study}", "-s", "steps=many"),
    "preset": ("run", "{study}", "--preset", "smoke"),
    "arm": ("run", "{study}", "--only", "nobody"),
    "cluster": ("run", "{study}", "--on", "slrum"),
    "refused by the workload": ("run", "{study}", "-s", "effect=666"),
    "input": ("run", "{study}", "-s", "data=/not/there"),
    "home": ("run", "{study}", "--home", "{unwritable}"),
    "rebuild": ("ledger", "rebuild", "--home", "{unwritable}"),
    "trial": ("trace", "ffffffff"),
    "workload": ("schema", "latent_lara"),
    "no rule": ("report", "{study}"),
    "status": ("status", "no-such-study"),
    "retry": ("retry", "no-such-study"),
    "folder": ("run", "{folder}"),
}


@pytest.mark.parametrize("words", REFUSED.values(), ids=REFUSED)
def test_bad_input_is_one_line_and_exit_code_2(
    words: tuple[str, ...], said: Any, tmp_path: Path, home: Home
) -> None:
    places = {
        "study": write_study(tmp_path, quick_study()),
        "unwritable": below_a_file(tmp_path),
        "folder": tmp_path,
    }
    code, out, err = said(*(word.format(**places) for word in words))
    assert code == 2
    assert out == ""
    assert err.startswith("orrery: ")
    assert len(err.strip().splitlines()) == 1


def test_unknown_options_are_wrong_use(said: Any) -> None:
    code, _, err = said("run", "x", "--no-such-option")
    assert code == 2
    assert "Traceback" not in err


def test_a_damaged_outcome_is_one_line(said: Any, tmp_path: Path, home: Home) -> None:
    path = write_study(tmp_path, quick_study())
    (first, *_) = finish(Study.load(path, home=home.root))
    (home.trial(first) / "outcome-0000.json").unlink()
    (home.trial(first) / "outcome-0000.json").write_text("{")
    code, _, err = said("plan", path)
    assert code == 2
    assert "outcome-0000.json' cannot be read" in err
    assert len(err.strip().splitlines()) == 1


def test_a_reader_that_leaves_sees_no_traceback(tmp_path: Path, home: Home) -> None:
    """`orrery list | head -0`."""
    for words in (("list",), ("schema",), ("plan", str(write_study(tmp_path, quick_study())))):
        process = subprocess.Popen(
            command(*words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd=tmp_path,
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read().decode()
        process.wait(timeout=60)
        assert err == "", words


def test_the_module_can_be_started_anywhere(tmp_path: Path) -> None:
    done = orrery("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("orrery ")
