"""The ledger is an index over the files: missing, stale or garbled, it changes no answer."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator import Study
from orchestrator.attempts import claim_attempt
from orchestrator.errors import DamagedFileError, IdentityMismatchError
from orchestrator.home import Home
from orchestrator.ledger import Ledger, TrialRecord, _lost_in_a_row, read_trial, short_hash
from orchestrator.records import Failure
from tests.orchestrator.quick_study import arm, finish, quick_study


@pytest.fixture
def finished(home: Home) -> list[str]:
    """Identities of finished trials, which are in the index."""
    study = Study.load(quick_study(), home=home.root)
    identities = finish(study)
    study.plan()
    return identities


def rows(home: Home) -> dict[str, TrialRecord]:
    with closing(sqlite3.connect(home.ledger)) as index:
        found = index.execute("SELECT identity, record FROM trials").fetchall()
    return {identity: msgspec.json.decode(record, type=TrialRecord) for identity, record in found}


def alter_row(home: Home, identity: str, **changes: Any) -> None:
    record = msgspec.structs.replace(rows(home)[identity], **changes)
    with closing(sqlite3.connect(home.ledger)) as index, index:
        index.execute(
            "UPDATE trials SET record = ? WHERE identity = ?",
            (msgspec.json.encode(record), identity),
        )


def test_finished_trials_are_indexed(home: Home, finished: list[str]) -> None:
    assert set(rows(home)) == set(finished)


def test_a_row_is_used_while_its_folder_is_unchanged(home: Home, finished: list[str]) -> None:
    alter_row(home, finished[0], attempts=99)
    assert Ledger(home).records(finished)[finished[0]].attempts == 99


def test_a_row_is_passed_over_once_its_folder_has_changed(home: Home, finished: list[str]) -> None:
    alter_row(home, finished[0], attempts=99)
    held = claim_attempt(home.trial(finished[0]), outcome_number=1, study="x")
    assert Ledger(home).records(finished)[finished[0]].state == "running"
    held.finish("preempted")
    assert Ledger(home).records(finished)[finished[0]].attempts == 2


def deleted(home: Home) -> None:
    home.ledger.unlink()


def garbled(home: Home) -> None:
    home.ledger.write_bytes(b"this is no database" * 1000)


def torn(home: Home) -> None:
    content = home.ledger.read_bytes()
    home.ledger.write_bytes(content[: len(content) // 2])


def emptied(home: Home) -> None:
    home.ledger.write_bytes(b"")


def of_another_version(home: Home) -> None:
    with closing(sqlite3.connect(home.ledger)) as index, index:
        index.execute("DROP TABLE trials")
        index.execute("CREATE TABLE trials (other TEXT)")
        index.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize("harm", [deleted, garbled, torn, emptied, of_another_version])
def test_without_a_good_index_the_answers_are_the_same(
    home: Home, finished: list[str], harm: Callable[[Home], None]
) -> None:
    before = Ledger(home).records(finished)
    harm(home)
    assert Ledger(home).records(finished) == before
    assert Ledger(home).records(finished) == before  # and what was made of the index then
    assert Ledger(home).rebuild() == len(finished)
    assert list(Ledger(home).verify()) == []


def test_a_home_where_nothing_has_run_knows_nothing(home: Home) -> None:
    assert Ledger(home).records(["0" * 20])["0" * 20].state == "planned"
    assert list(Ledger(home).verify()) == []


def test_planning_leaves_no_folder_behind(tmp_path: Any) -> None:
    study = Study.load(quick_study(), home=tmp_path / "nowhere")
    study.plan()
    assert not (tmp_path / "nowhere").exists()


def test_rebuild_counts_finished_trials_and_drops_old_rows(home: Home, finished: list[str]) -> None:
    alter_row(home, finished[0], attempts=99)
    assert Ledger(home).rebuild() == len(finished)
    assert rows(home)[finished[0]].attempts == 1


def test_an_index_that_cannot_be_written_is_done_without(home: Home, finished: list[str]) -> None:
    home.ledger.unlink()
    home.ledger.mkdir()
    assert Ledger(home).records(finished)[finished[0]].state == "done"


def test_gc_does_not_leave_the_index_behind(home: Home, finished: list[str]) -> None:
    from orchestrator.retention import collect_garbage
    from telemetry import archive_events

    for identity in finished:
        archive_events(home.trial(identity), remove_spools=True)
    assert Ledger(home).records(finished)[finished[0]].has_checkpoint
    collect_garbage(home.root)
    assert not Ledger(home).records(finished)[finished[0]].has_checkpoint
    assert list(Ledger(home).verify()) == []


# -- verify ---------------------------------------------------------------------------------------


def problem(home: Home) -> str:
    (found,) = Ledger(home).verify()
    return found


def test_verify_finds_an_edited_identity(home: Home, finished: list[str]) -> None:
    path = home.trial(finished[0]) / "identity.json"
    document = json.loads(path.read_bytes())
    document["config"]["effect"] = 99
    path.write_text(json.dumps(document))
    assert "identity.json' does not hash to its folder's name" in problem(home)
    with pytest.raises(IdentityMismatchError, match="was edited"):  # and the index hides nothing
        Ledger(home).records(finished)


def test_verify_finds_a_missing_identity(home: Home, finished: list[str]) -> None:
    (home.trial(finished[0]) / "identity.json").unlink()
    assert Ledger(home).rebuild() == len(finished) - 1  # goes on past it
    assert "identity.json' cannot be read" in problem(home)


def test_an_outcome_that_was_changed_in_place_is_read_again(
    home: Home, finished: list[str]
) -> None:
    Ledger(home).records(finished)
    path = home.trial(finished[0]) / "outcome-0000.json"
    outcome = json.loads(path.read_bytes())
    outcome["metrics"]["f1"] = 99.0
    path.write_text(json.dumps(outcome))
    changed = Ledger(home).records(finished)[finished[0]].outcome
    assert changed is not None
    assert changed.metrics["f1"] == 99.0
    path.write_text("{")
    with pytest.raises(DamagedFileError, match="Move it away"):
        Ledger(home).records(finished)


def test_verify_finds_missing_scores(home: Home, finished: list[str]) -> None:
    (home.trial(finished[0]) / "attempt-0000" / "scores.parquet").unlink()
    assert "attempt-0000/scores.parquet of outcome 0 is gone" in problem(home)


def test_verify_finds_scores_that_cannot_be_read(home: Home, finished: list[str]) -> None:
    path = home.trial(finished[0]) / "attempt-0000" / "scores.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    assert "attempt-0000/scores.parquet of outcome 0 cannot be read" in problem(home)


def test_verify_finds_a_wrong_row(home: Home, finished: list[str]) -> None:
    alter_row(home, finished[0], attempts=99)
    assert "the index differs from the files" in problem(home)


def test_verify_finds_a_row_without_a_trial(home: Home, finished: list[str]) -> None:
    import shutil

    shutil.rmtree(home.trial(finished[0]))
    assert "in the index, but its folder is gone" in problem(home)


def test_verify_finds_a_damaged_outcome(home: Home, finished: list[str]) -> None:
    (home.trial(finished[0]) / "outcome-0000.json").write_text("{")
    assert "outcome-0000.json' cannot be read" in problem(home)


def test_a_damaged_outcome_stops_a_plan_with_one_line(home: Home, finished: list[str]) -> None:
    path = home.trial(finished[0]) / "outcome-0000.json"
    path.unlink()
    path.write_text("{")
    with pytest.raises(DamagedFileError, match="cannot be read"):
        Study.load(quick_study(), home=home.root).plan()


def test_a_stray_file_among_the_trials_does_no_harm(home: Home, finished: list[str]) -> None:
    from orchestrator.retention import collect_garbage

    (home.trials / ".DS_Store").touch()
    (home.trials / "notes.txt").write_text("mine")
    assert Ledger(home).rebuild() == len(finished)
    assert list(Ledger(home).verify()) == []
    assert len(collect_garbage(home.root).paths) == len(finished)


# -- losses in a row ------------------------------------------------------------------------------

LOST = Failure("node_lost", "gone")


def lose(home: Home, step: int | None) -> None:
    held = claim_attempt(home.trial("t"), outcome_number=0, study="x")
    if step is not None:
        (held.folder / "checkpoint" / f"step-{step:012d}").mkdir(parents=True)
    held.finish("preempted", LOST)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([None], 1),
        ([None, None, None], 3),
        ([None, None, 5], 1),
        ([5, None, None], 3),
        ([5, 6, 7], 1),
        ([5, 5, 6, 6], 2),
    ],
    ids=str,
)
def test_losses_count_since_the_last_newer_checkpoint(
    home: Home, steps: list[int | None], expected: int
) -> None:
    for step in steps:
        lose(home, step)
    assert read_trial(home, "t").lost_in_a_row == expected


def test_an_end_of_another_kind_starts_the_count_anew(home: Home) -> None:
    lose(home, None)
    lose(home, None)
    claim_attempt(home.trial("t"), outcome_number=0, study="x").finish("preempted")
    assert read_trial(home, "t").lost_in_a_row == 0
    assert _lost_in_a_row([]) == 0


def test_a_trial_that_was_given_up_has_all_its_tries_again(home: Home) -> None:
    lose(home, None)
    lose(home, None)
    held = claim_attempt(home.trial("t"), outcome_number=0, study="x")
    held.finish("failed", Failure("node_lost", "no progress in 3 attempts in a row"))
    assert read_trial(home, "t").lost_in_a_row == 0
    lose(home, None)
    assert read_trial(home, "t").lost_in_a_row == 1


def test_short_hashes_do_not_depend_on_key_order() -> None:
    assert short_hash({"a": 1, "b": [2]}) == short_hash({"b": [2], "a": 1}) == "0855bfc20e"


def test_a_trial_of_an_unknown_version_is_told_of_and_not_guessed_at(
    home: Home, finished: list[str]
) -> None:
    path = home.trial(finished[0]) / "identity.json"
    path.write_text(path.read_text().replace('"identity_version": 1', '"identity_version": 99'))
    assert "newer than this Orrery" in problem(home)


def test_the_state_follows_from_all_files(home: Home) -> None:
    study = Study.load(quick_study(arm("a"), seeds=[0]), home=home.root)
    (identity,) = finish(study)
    held = claim_attempt(home.trial(identity), outcome_number=1, study="x")
    assert read_trial(home, identity).state == "running"
    held.finish("failed", Failure("user_error", "x"))
    record = read_trial(home, identity)
    assert (record.state, record.attempts) == ("done", 2)
    assert os.listdir(home.trial(identity))


def test_looking_into_a_folder_leaves_nothing_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Ledger(Home.find(tmp_path)).records(["0" * 20])["0" * 20].state == "planned"
    assert list(Ledger(Home.find(tmp_path)).verify()) == []
    monkeypatch.chdir(tmp_path)  # an empty --home, as of an unset variable, is not this folder
    assert Home.find("") == Home.find()
    assert list(tmp_path.iterdir()) == []
