"""gc frees what is not needed any more, and never a result."""

from __future__ import annotations

from pathlib import Path

from orchestrator import Study
from orchestrator.attempts import Attempt, AttemptCheckpoints, claim_attempt, latest_checkpoint
from orchestrator.home import Home
from orchestrator.ledger import read_trial
from orchestrator.retention import collect_garbage
from telemetry import archive_events
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
