"""The embedded models: weights are what their records say, and they read, or answer questions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from workloads.datasets.prompts import qa_prompt
from workloads.models import describe, load_model, load_tokenizer, resolve_model
from workloads.models.held_out import answer_greedily, held_out_scores
from workloads.models.held_out_text import held_out_text
from workloads.models.reference import EMBEDDED_MODELS, EMBEDDED_PREFIX
from workloads.models.train_embedded import (
    RECIPES,
    RECORD,
    WEIGHTS,
    Recipe,
    losses,
    make_model,
    make_tokenizer,
)

made_tokenizer = cache(make_tokenizer)
"""Reading thousands of stories takes seconds, and the models share their words."""

STEPS = 8
"""Among them one on running stories."""
STEPS_OF_READERS = 4
"""Theirs take longer each: every token is a step of a recurrence."""
READERS = [name for name in EMBEDDED_MODELS if RECIPES[name].reads_only]
ANSWERERS = [name for name in EMBEDDED_MODELS if name not in READERS]
"""Those that were trained on questions too."""


@pytest.fixture(scope="module", params=EMBEDDED_MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return f"{EMBEDDED_PREFIX}{request.param}"


@pytest.fixture(scope="module")
def folder(name: str) -> Path:
    return Path(resolve_model(name).source)


@pytest.fixture(scope="module")
def record(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / RECORD).read_text())
    return loaded


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_weights_are_those_that_were_recorded(folder: Path, record: dict[str, Any]) -> None:
    weights = (folder / WEIGHTS).read_bytes()
    assert hashlib.sha256(weights).hexdigest() == record["weights_sha256"]
    assert len(weights) <= 4_000_000
    assert record["parameters"] <= 2_000_000


def test_a_model_was_trained_by_the_recipe_of_its_name(name: str, record: dict[str, Any]) -> None:
    recipe = RECIPES[name.removeprefix(EMBEDDED_PREFIX)]
    assert Recipe(**record["recipe"]) == recipe
    assert describe(name).model_type == recipe.architecture


def test_qwen2_is_small_and_shares_its_heads_of_keys_and_values() -> None:
    model = load_model("embedded:qwen2")
    attention = model.model.layers[0].self_attn
    assert (Path(resolve_model("embedded:qwen2").source) / WEIGHTS).stat().st_size <= 1_000_000
    assert attention.k_proj.weight.shape[0] * 2 == attention.q_proj.weight.shape[0]
    assert attention.q_proj.bias is not None


@pytest.mark.parametrize("reader", READERS)
def test_running_stories_are_read_as_was_recorded(reader: str) -> None:
    name = f"{EMBEDDED_PREFIX}{reader}"
    folder = Path(resolve_model(name).source)
    recorded = json.loads((folder / RECORD).read_text())["held_out"]
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 1_000_000
    scores = held_out_text(load_model(name), load_tokenizer(name), 48)
    assert scores.perplexity == pytest.approx(recorded["perplexity"], rel=0.05)
    assert scores.perplexity < scores.unigram / 20
    assert scores.unigram < scores.uniform / 3


@pytest.mark.slow
def test_training_repeats_bit_by_bit_and_follows_the_recorded_curve(
    record: dict[str, Any],
) -> None:
    recipe = Recipe(**record["recipe"])
    tokenizer = made_tokenizer(recipe.seed)
    most = STEPS_OF_READERS if recipe.reads_only else STEPS
    first, second = (
        list(islice(losses(recipe, make_model(recipe, tokenizer), tokenizer), steps))
        for steps in (most, most // 2)
    )
    assert first[: most // 2] == second
    assert first == pytest.approx(record["first_losses"][:most], abs=1e-3)


def test_the_shipped_tokenizer_is_the_one_that_training_makes(
    name: str, record: dict[str, Any]
) -> None:
    made, loaded = made_tokenizer(record["recipe"]["seed"]), load_tokenizer(name)
    assert made.get_vocab() == loaded.get_vocab()
    text = "Mara hid a small key; nobody could find it."
    assert loaded(text)["input_ids"] == made(text)["input_ids"]


@pytest.mark.parametrize("model", ANSWERERS)
def test_held_out_questions_are_answered_from_their_context(model: str) -> None:
    name = f"{EMBEDDED_PREFIX}{model}"
    scores = held_out_scores(load_model(name), load_tokenizer(name), 100)
    assert scores.f1 >= 60
    assert scores.constant_f1 < 25
    assert scores.mismatched_f1 < 25
    assert scores.prompt_tokens_max <= 48


@pytest.mark.parametrize("answerer", ANSWERERS)
def test_a_padded_batch_gives_the_answers_of_single_prompts(answerer: str) -> None:
    name = f"{EMBEDDED_PREFIX}{answerer}"
    model, tokenizer = load_model(name), load_tokenizer(name)
    prompts = [
        qa_prompt("Mara found a red kite in the barn. She gave it to Otto.", "Who found the kite?"),
        qa_prompt("Otto hid a small bell under the stone bridge.", "Where is the bell?"),
    ]
    alone = [answer_greedily(model, tokenizer, [prompt])[0] for prompt in prompts]
    assert answer_greedily(model, tokenizer, prompts) == alone
    if name == "embedded:llama":
        assert alone == ["Mara", "under the stone bridge"]
