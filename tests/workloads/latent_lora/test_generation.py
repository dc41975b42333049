"""Greedy decoding: one text per prompt, alone or in a batch, from ids or from embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from workloads.latent_lora.generation import greedy, new_text
from workloads.latent_lora.prompts import pad_left, positions_of
from workloads.models import load_model, load_tokenizer

PROMPTS = [[1, 30, 31, 32], [1, 40], [1, 50, 51, 52, 53, 54, 55], [1, 60, 61]]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    return load_model(str(tiny_model))


def decoded(model: Any, prompts: list[list[int]], *, embeddings: bool = False) -> torch.Tensor:
    ids, mask = pad_left(prompts, 0)
    prompt = (
        {"inputs_embeds": model.get_input_embeddings()(ids)} if embeddings else {"input_ids": ids}
    )
    return greedy(model, prompt, mask, positions_of(mask), 6, {2}).tokens


def test_a_padded_batch_gives_the_same_text_as_batches_of_one(model: Any) -> None:
    together = decoded(model, PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        alone = decoded(model, [prompt])[0]
        assert together[row, : len(alone)].tolist() == alone.tolist()


def test_embeddings_of_the_tokens_give_the_same_text_as_the_tokens(model: Any) -> None:
    assert torch.equal(decoded(model, PROMPTS), decoded(model, PROMPTS, embeddings=True))


def test_the_loop_agrees_with_transformers_generate(model: Any) -> None:
    ids, mask = pad_left(PROMPTS, 0)
    theirs = model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=6, do_sample=False, pad_token_id=0
    )[:, ids.shape[1] :]
    assert torch.equal(decoded(model, PROMPTS)[:, : theirs.shape[1]], theirs)


def test_logits_that_are_not_finite_are_noticed(model: Any) -> None:
    ids, mask = pad_left(PROMPTS[:2], 0)
    embeddings = model.get_input_embeddings()(ids).clone()
    embeddings[1] = float("nan")
    out = greedy(model, {"inputs_embeds": embeddings}, mask, positions_of(mask), 3, {2})
    assert out.finite.tolist() == [True, False]


def test_text_ends_at_the_first_end_token(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_model))
    words = tokenizer("garden bridge", add_special_tokens=False)["input_ids"]
    assert new_text(tokenizer, torch.tensor([[words[0], 2, words[1]]]), {2}) == ["garden"]
