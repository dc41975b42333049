"""gc frees what is not needed any more, and never a result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from orchestrator import Study
from orchestrator.attempts import Attempt, AttemptCheckpoints, claim_attempt, latest_checkpoint
from orchestrator.home import Home
from orchestrator.ledger import read_trial
from orchestrator.retention import collect_garbage
from telemetry import archive_events
from telemetry.filesystem import locked
from telemetry.scratch import left_behind
from tests.orchestrator.quick_study import finish, quick_study


def files(home: Home) -> set[Path]:
    return {path for path in home.trials.rglob("*") if path.is_file()}


def test_checkpoints_of_finished_trials_go_and_results_stay(home: Home) -> None:
    study = Study.load(quick_study(), home=home.root)
    identities = finish(study)
    for identity in identities:
        archive_events(home.trial(identity), remove_spools=True)
    before = files(home)
    freed = collect_garbage(home.root)
    gone = before - files(home)
    assert len(freed.paths) == len(identities)
    assert freed.bytes > 0
    assert {path.name for path in gone} == {"state.json"}
    assert study.plan().known == len(identities)
    assert collect_garbage(home.root).paths == ()


def test_a_dry_run_says_the_same_and_removes_nothing(home: Home) -> None:
    finish(Study.load(quick_study(), home=home.root))
    before = files(home)
    said = collect_garbage(home.root, dry_run=True)
    assert files(home) == before
    assert collect_garbage(home.root) == said


def test_an_unfinished_trial_keeps_what_it_goes_on_from(home: Home) -> None:
    held = claim_attempt(home.trial("0" * 20), outcome_number=0, study="x")
    with AttemptCheckpoints(held).saving(3) as folder:
        (folder / "x").write_text("x")
    half_made = held.folder / "checkpoint" / ".partial-abc"
    half_made.mkdir()
    collect_garbage(home.root)
    assert half_made.exists()  # it runs
    Attempt(held.folder).finish("preempted")
    collect_garbage(home.root)
    assert not half_made.exists()
    assert latest_checkpoint(home.trial("0" * 20)) is not None


def test_a_finished_trial_keeps_its_last_checkpoint_until_gc(home: Home) -> None:
    (identity, *_) = finish(Study.load(quick_study(), home=home.root))
    assert read_trial(home, identity).has_checkpoint


def test_an_empty_home_has_no_garbage(tmp_path: Path) -> None:
    assert collect_garbage(tmp_path / "nowhere").paths == ()


def left_by_a_killed_process(parent: Path, prefix: str) -> Path:
    """A scratch folder whose process is dead."""
    code = (
        "import os, sys, tempfile; from telemetry.scratch import scratch_prefix; "
        "print(tempfile.mkdtemp(prefix=scratch_prefix(sys.argv[2]), dir=sys.argv[1]), flush=True); "
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(parent), prefix], stdout=subprocess.PIPE, text=True
    )
    folder = Path(done.stdout.strip())
    (folder / "x").write_text("x" * 100)
    return folder


def test_what_killed_processes_have_left_goes(home: Home) -> None:
    (identity, *_) = finish(Study.load(quick_study(), home=home.root))
    collect_garbage(home.root)
    trial = home.trial(identity)
    left = [
        left_by_a_killed_process(home.root, f".replay-{identity[:8]}-"),
        left_by_a_killed_process(trial, ".rebuild-"),
        trial / ".events.parquet.12345.tmp",
    ]
    left[-1].write_text("x" * 100)
    before = files(home)
    said = collect_garbage(home.root, dry_run=True)
    assert files(home) == before
    assert set(said.paths) == set(left)
    assert said.bytes == 300
    with locked(trial / "events.lock"):  # somebody archives
        assert left[-1] not in collect_garbage(home.root).paths
    assert collect_garbage(home.root).paths == (left[-1],)
    assert not any(path.exists() for path in left)


def test_what_a_live_process_or_another_host_has_made_stays(tmp_path: Path) -> None:
    dead = left_by_a_killed_process(tmp_path, ".replay-0000-")
    maker, pid, rest = dead.name.rsplit("-", 2)
    (tmp_path / f"{maker}-{os.getpid()}-{rest}").mkdir()
    host, _, namespace = maker.rpartition("-")[2].rpartition(".")
    for other in (f"x{host}.{namespace}", f"{host}.{namespace}0", f"{host}_2.{namespace}"):
        (tmp_path / f".replay-0000-{other}-{pid}-{rest}").mkdir()
    (tmp_path / ".replay-mine").mkdir()
    assert list(left_behind(tmp_path, ".replay-")) == [dead]
