"""What studies take up on disk."""

from __future__ import annotations

from pathlib import Path

from orchestrator import Study
from orchestrator.disk import disk_bytes, folder_bytes
from orchestrator.home import Home
from tests.orchestrator.quick_study import finish, quick_study


def by_pathlib(folder: Path) -> int:
    """The same, told in another way."""
    return sum(path.lstat().st_size for path in folder.rglob("*"))


def test_all_that_is_below_a_folder_counts_and_nothing_that_a_link_leads_to(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "a", tmp_path / "b"
    (folder / "deep" / "er").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "big").write_bytes(b"x" * 100_000)
    (folder / "deep" / "er" / ".hidden").write_bytes(b"x" * 1000)
    (folder / "link").symlink_to(elsewhere)
    (folder / "broken").symlink_to(tmp_path / "nothing")
    assert folder_bytes(folder) == by_pathlib(folder)
    assert 1000 < folder_bytes(folder) < 100_000


def test_a_folder_that_is_not_there_takes_up_nothing(tmp_path: Path) -> None:
    assert folder_bytes(tmp_path / "nothing") == 0


def test_a_study_takes_up_its_trials_and_its_own_folder(home: Home) -> None:
    study = Study.load(quick_study(), home=home.root)
    assert disk_bytes(study, study.plan()) == 0
    finish(study)
    study.folder.mkdir(parents=True, exist_ok=True)
    (study.folder / "plan.json").write_bytes(b"x" * 500)
    other = home.trial("0123456789abcdef0123")
    other.mkdir()
    (other / "file").write_bytes(b"x" * 10_000)
    trials = {item.trial.identity for item in study.plan().trials}
    folders = [study.folder, *(home.trial(identity) for identity in trials)]
    assert disk_bytes(study, study.plan()) == sum(map(by_pathlib, folders))
