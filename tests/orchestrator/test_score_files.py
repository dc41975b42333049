"""Scores of single questions are read as they were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import Study
from orchestrator.errors import DamagedFileError
from orchestrator.home import Home
from orchestrator.judging import evidence
from orchestrator.score_files import read_scores, write_scores
from orchestrator.verdict import ReplicateScores
from tests.orchestrator.quick_study import arm, finish, quick_study, rule
from workloads.contract import Scores


@pytest.fixture
def path(tmp_path: Path) -> Path:
    test = Scores("test", ["q0", "q1", "q2"], ["a", "a", "b"], {"f1": [0.0, None, 1.0]})
    dev = Scores("dev", ["d0"], ["a"], {"f1": [0.5], "exact": [1.0]})
    found = write_scores([dev, test], tmp_path / "scores.parquet")
    assert found is not None
    return found


def test_scores_come_back_by_split_and_column(path: Path) -> None:
    expected = Scores("test", ["q0", "q1", "q2"], ["a", "a", "b"], {"f1": [0.0, None, 1.0]})
    assert read_scores(path, "test", "f1") == expected
    assert read_scores(path, "dev", "exact") == Scores("dev", ["d0"], ["a"], {"exact": [1.0]})


def test_what_the_file_does_not_hold_is_none(path: Path) -> None:
    assert read_scores(path, "test", "bleu") is None
    assert read_scores(path, "train", "f1") is None


def test_no_scores_make_no_file(tmp_path: Path) -> None:
    assert write_scores([], tmp_path / "scores.parquet") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("most", "units"), [(1, 1), (2, 2), (3, 3), (9, 3), (None, 3)])
def test_at_most_so_many_units_are_read(path: Path, most: int | None, units: int) -> None:
    found = read_scores(path, "test", "f1", most)
    assert found is not None
    assert list(found.units) == ["q0", "q1", "q2"][:units]
    assert len(found.clusters) == len(found.columns["f1"]) == units


def cut_off(content: bytes) -> bytes:
    return content[:-20]


def of_another_kind(content: bytes) -> bytes:
    return b"split,unit\n"


def emptied(content: bytes) -> bytes:
    return b""


def with_wrong_pages(content: bytes) -> bytes:
    return b"PAR1" + b"\xff" * 400 + content[404:]


@pytest.mark.parametrize("harm", [cut_off, of_another_kind, emptied, with_wrong_pages])
def test_a_damaged_file_is_an_error_that_says_what_to_do(path: Path, harm: object) -> None:
    assert callable(harm)
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(DamagedFileError, match=r"cannot be read.*orrery run STUDY --again ID"):
        read_scores(path, "test", "f1")


def replicate(home: Home, questions: int) -> ReplicateScores:
    mapping = quick_study(
        arm("plain", "baseline"),
        seeds=[0],
        base={"steps": 3, "questions": questions},
        verdict=rule(),
    )
    study = Study.load(mapping, home=home.root)
    finish(study)
    (found,) = evidence(study, study.plan())
    return found.replicates[0]


def test_a_verdict_uses_no_more_questions_than_its_study_asks(home: Home, tmp_path: Path) -> None:
    """Whether or not another study has observed the same trial more widely."""
    alone = replicate(Home.find(tmp_path / "alone").writable(), 10)
    assert len(replicate(home, 20).units or ()) == 20
    shared = replicate(home, 10)
    assert shared.units == alone.units == [f"q{i}" for i in range(10)]
    assert shared.clusters == alone.clusters
