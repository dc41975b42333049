"""The story grammar: determinism, answerability, and what pretraining never sees."""

from __future__ import annotations

import itertools
import random
import re
import subprocess
import sys

import pytest

from workloads.datasets import grammar, lexicon
from workloads.datasets.scoring import normalized

STORIES = [grammar.story(0, "test", index) for index in range(200)]


def test_a_story_does_not_depend_on_global_randomness_or_order() -> None:
    random.seed(1)
    later = grammar.story(0, "test", 7)
    random.seed(2)
    grammar.story(0, "test", 3)
    assert grammar.story(0, "test", 7) == later == STORIES[7]


def test_a_story_is_the_same_in_another_process() -> None:
    code = "from workloads.datasets import grammar; print(grammar.story(0, 'test', 7).text)"
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert printed.strip() == STORIES[7].text


def test_the_first_story_is_the_one_of_this_grammar_version() -> None:
    assert grammar.VERSION == 1
    assert STORIES[0].scenes[0].text == (
        "Hana won a big magnet in the ancient market. "
        "She gave it to Felix before sunset because she felt so curious."
    )


def test_every_answer_stands_in_its_scene_and_in_the_story() -> None:
    for story in STORIES:
        for scene in story.scenes:
            assert scene.text in story.text
            for question in scene.questions:
                assert question.answer in scene.text


def test_no_answer_vanishes_when_it_is_normalized() -> None:
    assert all(
        normalized(question.answer)
        for story in STORIES
        for scene in story.scenes
        for question in scene.questions
    )


def test_a_question_has_one_answer() -> None:
    for story in STORIES:
        for scene in story.scenes:
            asked = [question.text for question in scene.questions]
            assert len(set(asked)) == len(asked), scene


def test_most_answers_have_several_words() -> None:
    answers = [q.answer for story in STORIES for _, q in grammar.asked(0, story)]
    several = [answer for answer in answers if len(answer.split()) > 1]
    assert len(several) > 0.55 * len(answers)


@pytest.mark.parametrize("other", [(1, "test"), (0, "train"), (0, grammar.PRETRAINING)])
def test_other_seeds_and_streams_tell_other_stories(other: tuple[int, str]) -> None:
    texts = {story.text for story in STORIES}
    ids = {story.id for story in STORIES}
    for index in range(200):
        story = grammar.story(*other, index)
        assert story.text not in texts
        assert story.id not in ids


def _held_out_pairs(stream: str) -> int:
    qualities = {*lexicon.SIZES, *lexicon.COLOURS, *lexicon.QUALITIES}
    nouns = set(lexicon.NOUNS)
    found = 0
    for index in range(300):
        words = re.findall(r"\w+", grammar.story(0, stream, index).text)
        for first, second in itertools.pairwise(words):
            found += first in qualities and second in nouns and grammar.held_out(first, second)
    return found


def test_pretraining_never_sees_the_held_out_pairs_and_the_test_does() -> None:
    assert _held_out_pairs(grammar.PRETRAINING) == 0
    assert _held_out_pairs("test") > 100


def test_draws_cover_their_range_evenly() -> None:
    draws = grammar.Draws("key")
    counts = [0] * 5
    for _ in range(1000):
        counts[draws.below(5)] += 1
    assert min(counts) > 150
