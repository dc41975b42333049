"""Scores against the official definition, with torchmetrics' SQuAD as the reference."""

from __future__ import annotations

import random

import pytest
from torchmetrics.functional.text import squad

from workloads.latent_lora import scoring

WORDS = ["a", "the", "an", "b", "c", "d.", "E!", "f-g", "", "B"]


@pytest.mark.parametrize("seed", range(40))
def test_f1_and_em_agree_with_torchmetrics(seed: int) -> None:
    draw = random.Random(seed)
    given, *golds = (" ".join(draw.choices(WORDS, k=draw.randint(0, 6))) for _ in range(4))
    answers = golds[: draw.randint(1, 3)]
    expected = squad(
        [{"prediction_text": given, "id": "q"}],
        [{"answers": {"answer_start": [0] * len(answers), "text": answers}, "id": "q"}],
    )
    assert scoring.f1(given, answers) == pytest.approx(float(expected["f1"]), abs=1e-3)
    assert scoring.exact_match(given, answers) == pytest.approx(float(expected["exact_match"]))


def test_articles_punctuation_and_case_do_not_count() -> None:
    assert scoring.exact_match("The  Eiffel tower!", ["an eiffel Tower"]) == 100.0


def test_an_empty_prediction_scores_zero_against_an_answer() -> None:
    assert scoring.f1("", ["b b"]) == 0.0
    assert scoring.exact_match("", ["b b"]) == 0.0
    assert scoring.contains_answer("", ["b b"]) == 0.0


def test_multiset_and_set_f1_differ_on_repeated_words() -> None:
    assert scoring.f1("x b b", ["b b"]) == pytest.approx(80.0)
    assert scoring.set_f1("x b b", ["b b"]) == pytest.approx(200 / 3)
    assert scoring.f1("a b b", ["b b"]) == 100.0


def test_f1_takes_the_best_of_all_answers_and_the_origins_f1_the_first() -> None:
    assert scoring.f1("tower", ["bridge", "tower"]) == 100.0
    assert scoring.set_f1("tower", ["bridge", "tower"]) == 0.0


def test_an_answer_within_a_longer_prediction_is_contained_but_not_exact() -> None:
    given = "It is in the garden, I think"
    assert scoring.contains_answer(given, ["the garden"]) == 100.0
    assert scoring.exact_match(given, ["the garden"]) == 0.0
    assert scoring.contains_answer("gardening", ["garden"]) == 0.0


def test_content_f1_ignores_function_words_and_is_none_without_any_content() -> None:
    assert scoring.content_f1("she said and she was", ["she saw a dog"]) == 0.0
    assert scoring.content_f1("to the dog", ["she had a dog"]) == 100.0
    assert scoring.content_f1("dog", ["and then she"]) is None


def test_a_mean_of_nothing_measured_is_none() -> None:
    assert scoring.mean([None, None]) is None
    assert scoring.mean([None, 50.0]) == 50.0
