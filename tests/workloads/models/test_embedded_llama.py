"""The embedded model: its weights are what its record says, and it answers its questions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from workloads.datasets.prompts import qa_prompt
from workloads.models import load_model, load_tokenizer, resolve_model
from workloads.models.held_out import answer_greedily, held_out_scores
from workloads.models.train_embedded import (
    RECORD,
    WEIGHTS,
    Recipe,
    losses,
    make_model,
    make_tokenizer,
)

FOLDER = Path(resolve_model("embedded:llama").source)
STEPS = 20


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / RECORD).read_text())
    return loaded


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_weights_are_those_that_were_recorded(record: dict[str, Any]) -> None:
    weights = (FOLDER / WEIGHTS).read_bytes()
    assert hashlib.sha256(weights).hexdigest() == record["weights_sha256"]
    assert len(weights) <= 4_000_000
    assert record["parameters"] <= 2_000_000


@pytest.mark.slow
def test_training_repeats_bit_by_bit_and_follows_the_recorded_curve(
    record: dict[str, Any],
) -> None:
    recipe = Recipe(**record["recipe"])
    tokenizer = make_tokenizer(recipe.seed)
    first, second = (
        list(islice(losses(recipe, make_model(recipe, tokenizer), tokenizer), steps))
        for steps in (STEPS, STEPS // 2)
    )
    assert first[: STEPS // 2] == second
    assert first == pytest.approx(record["first_losses"][:STEPS], abs=1e-3)


def test_the_shipped_tokenizer_is_the_one_that_training_makes(record: dict[str, Any]) -> None:
    made = make_tokenizer(record["recipe"]["seed"])
    assert made.get_vocab() == load_tokenizer("embedded:llama").get_vocab()


def test_held_out_questions_are_answered_from_their_context() -> None:
    scores = held_out_scores(load_model("embedded:llama"), load_tokenizer("embedded:llama"), 200)
    assert scores.f1 >= 60
    assert scores.constant_f1 < 25
    assert scores.mismatched_f1 < 25
    assert scores.prompt_tokens_max <= 48


def test_a_padded_batch_gives_the_answers_of_single_prompts() -> None:
    model, tokenizer = load_model("embedded:llama"), load_tokenizer("embedded:llama")
    prompts = [
        qa_prompt("Mara found a red kite in the barn. She gave it to Otto.", "Who found the kite?"),
        qa_prompt("Otto hid a small bell under the stone bridge.", "Where is the bell?"),
    ]
    alone = [answer_greedily(model, tokenizer, [prompt])[0] for prompt in prompts]
    assert answer_greedily(model, tokenizer, prompts) == alone
    assert alone == ["Mara", "under the stone bridge"]
