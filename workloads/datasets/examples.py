"""What a workload is trained and measured on: examples, and a task's three splits of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from workloads.datasets import prompts

Task = Literal["qa", "continuation"]


@dataclass(frozen=True)
class Example:
    """One question.

    `prompt` is all text up to where generation starts. `cluster` names what is drawn as one when
    uncertainty is computed (an article, a story). For `continuation` the context is the prompt,
    the question is empty and the only answer is the text that follows.
    """

    id: str
    cluster: str
    prompt: str
    context: str
    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class TaskData:
    """A task's splits, in an order that depends on the data alone.

    Each split holds what was asked for, or all there is when that is less: `len` says how many.
    No paragraph (qa) and no story (continuation) is in two splits.
    """

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    fingerprint: str
    task: Task
    source: str
    cluster_key: str
    max_new_tokens: int

    @property
    def counts(self) -> dict[str, int]:
        """Number of examples by split."""
        return {"train": len(self.train), "dev": len(self.dev), "test": len(self.test)}


def hash_order(identifier: str) -> bytes:
    """Sort key that shuffles identifiers alike on every machine and in every process."""
    return hashlib.sha256(f"orrery-order/{identifier}".encode()).digest()


def content_id(*parts: str) -> str:
    """16 hex digits that name a text."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def shuffled(examples: Iterable[Example]) -> list[Example]:
    """Examples by `hash_order` of their ids; of those with one id the first is kept."""
    unique: dict[str, Example] = {}
    for example in examples:
        unique.setdefault(example.id, example)
    return sorted(unique.values(), key=lambda example: hash_order(example.id))


def qa_example(
    identifier: str, cluster: str, context: str, question: str, answers: tuple[str, ...]
) -> Example:
    """An example of the `qa` task with its prompt written out."""
    prompt = prompts.qa_prompt(context, question)
    return Example(identifier, cluster, prompt, context, question, answers)
