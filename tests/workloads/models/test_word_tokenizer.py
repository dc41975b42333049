"""The embedded tokenizer: template, round trips, and text that it was not made for."""

from __future__ import annotations

from typing import Any

import pytest

from workloads.datasets import grammar
from workloads.datasets.prompts import qa_prompt
from workloads.models import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer("embedded:llama")


def test_a_generated_story_survives_encoding_and_decoding(tokenizer: Any) -> None:
    for index in range(50):
        text = grammar.story(0, "test", index).text
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
        assert len(ids) == 1 + len(text.replace(".", " .").split())


def test_a_prompt_is_decoded_with_its_lines(tokenizer: Any) -> None:
    prompt = qa_prompt("Mara found a kite.", "Who found the kite?")
    decoded = tokenizer.decode(tokenizer(prompt)["input_ids"], skip_special_tokens=True)
    assert decoded == prompt.rstrip()


def test_an_answer_has_the_same_tokens_alone_and_after_the_prompt(tokenizer: Any) -> None:
    prompt, answer = qa_prompt("Mara found a kite.", "What did Mara find?"), "small green kite"
    alone = tokenizer(answer, add_special_tokens=False)["input_ids"]
    assert tokenizer(prompt + answer)["input_ids"] == tokenizer(prompt)["input_ids"] + alone


def test_unknown_words_are_spelled_and_come_back(tokenizer: Any) -> None:
    text = "A zebra's cart cost 350 (about 12%), really?\nNo!"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("text", ["日本語", "\x00", "🙂 kite", "", "   ", "é" * 500])
def test_any_text_is_encoded(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert all(0 <= token < len(tokenizer) for token in ids)
