"""`orrery export`: a study or a trial as one file, and the documents' questions asked of it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from orchestrator import Study, UsageError
from orchestrator.exporting import export_events
from orchestrator.home import Home
from orchestrator.plan_file import write_plan
from telemetry import Emitter, archive_events, spool_path
from tests.conftest import ROOT
from tests.orchestrator.quick_study import command, environment, finish, orrery_here, quick_study


@pytest.fixture
def study(home: Home) -> Study:
    """Two arms of two seeds; one trial's events are archived."""
    made = Study.load(quick_study(), home=home.root)
    identities = finish(made)
    archive_events(home.trial(identities[0]), remove_spools=True)
    write_plan(made, made.plan())
    return made


def test_a_study_is_exported_with_its_arms_and_seeds(study: Study, tmp_path: Path) -> None:
    told: list[int] = []
    out = tmp_path / "events.parquet"
    written = export_events("quick-study", study.home.root, out=out, told=told.append)
    frame = pd.read_parquet(out)
    assert len(frame) == written.rows == sum(told)
    assert written.trials == 4
    assert set(zip(frame.arm, frame.seed, strict=True)) == {
        (arm, seed) for arm in ("plain", "better") for seed in (0, 1)
    }
    assert set(frame.study) == {study.instance}


def test_a_study_is_found_by_its_instance_and_a_trial_by_the_start_of_its_id(
    study: Study, tmp_path: Path
) -> None:
    whole = export_events(study.instance, study.home.root, out=tmp_path / "a.jsonl", flat=True)
    assert whole.trials == 4
    trial = study.trials()[1]
    one = export_events(trial.identity[:8], study.home.root, out=tmp_path / "b.jsonl", flat=True)
    assert one.trials == 1
    rows = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    assert {(row["arm"], row["seed"], row["replicate"]) for row in rows} == {
        (trial.arm, trial.seed, trial.replicate)
    }
    assert len(rows) == 3  # train/x at each of three steps


def test_a_file_that_is_there_is_left_alone_unless_forced(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "x.parquet"
    out.write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        export_events("quick-study", study.home.root, out=out)
    assert out.read_text() == "mine"
    export_events("quick-study", study.home.root, out=out, force=True)
    assert len(pd.read_parquet(out)) > 0
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["x.parquet"]


def test_what_cannot_be_is_refused_with_what_can(study: Study, tmp_path: Path) -> None:
    home = study.home.root
    with pytest.raises(UsageError, match="Valid: parquet, jsonl"):
        export_events("quick-study", home, format="csv")
    with pytest.raises(UsageError, match="standard output"):
        export_events("quick-study", home, format="parquet", out="-")
    with pytest.raises(UsageError, match="no tier 4"):
        export_events("quick-study", home, out=tmp_path / "y.parquet", tiers=[4])
    with pytest.raises(UsageError, match="leave --tier out"):
        export_events("quick-study", home, out=tmp_path / "y.parquet", tiers=[2], flat=True)
    with pytest.raises(UsageError, match="No trial 'nothing'"):
        export_events("nothing", home)
    with pytest.raises(UsageError, match="cannot be written"):
        export_events("quick-study", home, out=tmp_path / "absent" / "y.parquet")
    for force in (False, True):
        with pytest.raises(UsageError, match=r"is a folder. Give a file"):
            export_events("quick-study", home, out=tmp_path, force=force)
    with pytest.raises(UsageError, match=r"says no format. Valid: .parquet, .jsonl; or give --for"):
        export_events("quick-study", home, out=tmp_path / "y.csv")
    export_events("quick-study", home, out=tmp_path / "y.csv", format="jsonl")
    assert json.loads((tmp_path / "y.csv").read_text().splitlines()[0])["v"]


def test_a_damaged_archive_is_named_and_no_file_is_left(study: Study, tmp_path: Path) -> None:
    home = study.home
    (damaged,) = home.trials.glob("*/events.parquet")
    damaged.write_bytes(b"PAR1 not")
    for name in ("quick-study", damaged.parent.name):
        for flat in (False, True):
            with pytest.raises(UsageError, match=r"Nothing was exported: .*events\.parquet"):
                export_events(name, home.root, out=tmp_path / "x.parquet", flat=flat)
    assert not [path for path in tmp_path.iterdir() if path.is_file()]
    ran = orrery_here(
        "export", damaged.parent.name, "--out", "-", "--home", home.root, cwd=tmp_path
    )
    assert ran.returncode == 2, ran.stderr
    assert "Nothing was exported" in ran.stderr


def test_the_command_writes_lines_to_standard_output(study: Study, tmp_path: Path) -> None:
    home = str(study.home.root)
    ran = orrery_here(
        "export", "quick-study", "--out", "-", "--tier", "2", "--home", home, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(events) == 12
    assert {event["payload"]["kind"] for event in events} == {"metrics"}


def test_an_export_without_rows_says_what_would_record_some(study: Study, tmp_path: Path) -> None:
    words = ("export", "quick-study", "--home", study.home.root, "--tier", "3", "--out")
    ran = orrery_here(*words, "none.parquet", cwd=tmp_path)
    assert ran.returncode == 0
    assert re.fullmatch(r"none.parquet: 0 rows of 4 trials, \d+\.\d KiB\n", ran.stdout)
    assert "-s telemetry=adaptive or -s telemetry=research" in ran.stderr
    told = json.loads(orrery_here(*words, "other.jsonl", "--json", cwd=tmp_path).stdout)
    assert "telemetry=research" in told["hint"]
    full = orrery_here(*words[:-2], "2", "--out", "full.jsonl", "--json", cwd=tmp_path)
    assert json.loads(full.stdout)["hint"] is None
    assert full.stderr == ""


def test_standard_output_that_is_full_is_told_in_one_line(study: Study, tmp_path: Path) -> None:
    words = command("export", "quick-study", "--home", study.home.root, "--out", "-")
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            words, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment()
        )
    assert ran.returncode == 2
    assert ran.stderr == "orrery: Standard output takes no more (No space left on device).\n"


@pytest.mark.parametrize("metrics", [1, 5000])
def test_a_reader_that_leaves_early_is_no_error(home: Home, tmp_path: Path, metrics: int) -> None:
    base = {"steps": 2, "metrics": metrics}  # less, and far more, than a pipe takes
    made = Study.load(quick_study(base=base, seeds=[0]), home=home.root)
    finish(made)
    write_plan(made, made.plan())
    words = command("export", "quick-study", "--home", home.root, "--out", "-")
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=environment()
    ) as ran:
        assert ran.stdout is not None
        ran.stdout.close()
        assert ran.stderr is not None
        assert ran.stderr.read() == b""
    assert ran.returncode == 0


def test_the_documents_questions_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    """Rank 1 is 30 ms late at each step, and the loss jumps at step 7."""
    folder = home.trials / ("f" * 20)
    for rank in range(2):
        path = spool_path(folder / "attempt-0000", rank)
        with Emitter(path, trial=folder.name, attempt=0, rank=rank, ranks=2) as emitter:
            for step in range(1, 10):
                emitter.metrics({"train/loss": 5.0 if step == 7 else 1.0}, step=step)
        late = re.sub(
            r'"time_ms":\d+(?=[^\n]*"step":(\d+))',
            lambda match, rank=rank: f'"time_ms":{1000 * int(match[1]) + 30 * rank}',  # type: ignore[misc]
            path.read_text(),
        )
        path.write_text(late)
    monkeypatch.chdir(tmp_path)
    export_events("ffff", home.root, out="metrics.parquet", flat=True)
    said, names = io.StringIO(), dict[str, object]()
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "events.md").read_text(), re.S)
    assert len(code) == 2
    with contextlib.redirect_stdout(said):
        for block in code:
            exec(block, names)
    text = said.getvalue()
    assert re.search(r"f{20}\s+0\.0\s+30\.0", text), text
    assert re.search(r"f{20}\s+0\s+7\b", text), text
