"""SQuAD scores: worked cases, and agreement with an independent implementation."""

from __future__ import annotations

import pytest

from workloads.datasets import exact_match, f1, normalized


def test_articles_punctuation_and_case_do_not_count() -> None:
    assert normalized("The  Quick, brown-fox; an A!") == "quick brownfox"
    assert exact_match("the red kite.", ["Red Kite"]) == 1.0


def test_overlap_is_counted_with_multiplicity() -> None:
    assert f1("x b b", ["b b"]) == pytest.approx(0.8)
    assert f1("b", ["b b"]) == pytest.approx(2 / 3)


def test_the_best_of_several_answers_counts() -> None:
    assert f1("red kite", ["bell", "red kite"]) == 1.0


@pytest.mark.parametrize(("given", "score"), [("", 0.0), ("the", 0.0), ("kite", 1.0)])
def test_an_empty_answer_scores_nothing(given: str, score: float) -> None:
    assert f1(given, ["kite"]) == score


def test_scores_agree_with_torchmetrics() -> None:
    squad = pytest.importorskip("torchmetrics.functional.text").squad
    cases = [
        ("the red kite", ["a red kite", "kite"]),
        ("b b a", ["b a b c"]),
        ("nothing", ["under the stone bridge"]),
        ("Under bridge!", ["under the stone bridge"]),
    ]
    for given, answers in cases:
        target = {"answers": {"answer_start": [0] * len(answers), "text": answers}, "id": "1"}
        theirs = squad([{"prediction_text": given, "id": "1"}], [target])
        assert 100 * f1(given, answers) == pytest.approx(float(theirs["f1"]), abs=1e-4)
        assert 100 * exact_match(given, answers) == float(theirs["exact_match"])
