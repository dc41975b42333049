"""Scores of single questions are read as they were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import Study
from orchestrator.errors import DamagedFileError
from orchestrator.home import Home
from orchestrator.judging import evidence
from orchestrator.reporting import report_study
from orchestrator.score_files import read_scores, scores_digest, why_unreadable, write_scores
from orchestrator.verdict import ReplicateScores
from tests.orchestrator.quick_study import arm, finish, quick_study, rule
from tests.orchestrator.series_study import series_study
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
    with pytest.raises(DamagedFileError, match="cannot be read"):
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


def test_another_content_does_not_pass_for_what_a_trial_wrote(path: Path) -> None:
    digest = scores_digest(path.read_bytes())
    assert why_unreadable(path, digest) == ""
    assert read_scores(path, "test", "f1", digest=digest) is not None
    fewer = write_scores([Scores("test", ["q0"], ["a"], {"f1": [0.0]})], path)
    assert fewer == path
    assert read_scores(path, "test", "f1") is not None  # of a version that kept no hash
    with pytest.raises(DamagedFileError, match="is not what its trial wrote"):
        read_scores(path, "test", "f1", digest=digest)
    path.unlink()
    assert why_unreadable(path, digest) == "is gone"


@pytest.mark.parametrize("part", ["alarms", "claims"])
def test_damaged_scores_are_named_with_the_command_that_mends_them(home: Home, part: str) -> None:
    without = {"claims": {}} if part == "alarms" else {"alarms": None}
    mapping = series_study("0-2", "100-101", seeds=[200], **without)
    study = Study.load(mapping, home=home.root)
    finish(study)
    kept = report_study(study, study.plan())
    assert kept.findings.answer
    first, second, third = (
        study.home.trial(item.trial.identity) / str(item.record.outcome.scores)
        for item in study.plan().trials
        if item.trial.arm == "healthy" and item.record.outcome is not None
    )
    first.unlink()
    second.write_bytes(b"")
    write_scores([Scores("steps", ["0"], ["0"], {"loss": [1.0], "sv_ratio": [0.1]})], third)
    with pytest.raises(DamagedFileError) as caught:  # the report that is kept does not stand for it
        report_study(study, study.plan())
    told = str(caught.value)
    assert told.startswith("The scores of 3 trials cannot be used: healthy seed 0: ")
    assert f"'{first}' is gone; healthy seed 1: '{second}'" in told
    assert f"'{third}' is not what its trial wrote" in told
    assert told.count("--again") == 3
    assert f"--again {first.parents[1].name[:8]}" in told
    assert [line for line in study.ledger.verify() if "is not what its trial wrote" in line]
