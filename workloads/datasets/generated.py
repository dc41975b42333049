"""Data that the story grammar makes: `embedded:questions` and `embedded:stories`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from typing import Final, Literal

from workloads.datasets import grammar
from workloads.datasets.examples import Example, qa_example

Split = Literal["train", "dev", "test"]

QUESTIONS: Final = "questions"
STORIES: Final = "stories"
SEED: Final = 0
"""Not a trial's seed: every trial is asked the same questions."""

MAX_NEW_TOKENS: Final = 8
"""Longest answer (6 words) with its end token, and one to spare."""


def fingerprint(name: str) -> str:
    """What stands for generated data in an identity."""
    return f"generated:{name}-{grammar.VERSION}"


def generated_questions(split: Split, number: int) -> list[Example]:
    """The first `number` questions of a split, one for each scene; cluster = the story."""
    return list(islice(endless_questions(split), number))


def generated_stories(split: Split) -> Iterator[tuple[str, str]]:
    """Story id and text, without end."""
    for index in count():
        story = grammar.story(SEED, split, index)
        yield story.id, story.text


def endless_questions(split: Split) -> Iterator[Example]:
    """A split's questions, without end."""
    for index in count():
        story = grammar.story(SEED, split, index)
        for number, (scene, question) in enumerate(grammar.asked(SEED, story)):
            yield qa_example(
                f"{story.id}-{number}", story.id, scene.text, question.text, (question.answer,)
            )
