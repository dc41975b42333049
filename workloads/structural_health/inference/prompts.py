"""The prompts of a replicate: the beginnings of texts that no other replicate has."""

from __future__ import annotations

from typing import Any, Final

from workloads.datasets import Window, load_task
from workloads.errors import InputError
from workloads.structural_health.inference_config import InferenceConfig

EACH: Final = 2
"""Texts a replicate takes, whatever its regime: all regimes of a seed begin with the same text."""
_SPARE_TOKENS: Final = 16
"""Texts are cut between words, somewhat before the length that is asked for."""


def load_prompts(config: InferenceConfig, seed: int, tokenizer: Any) -> list[list[int]]:
    """Token ids of the two prompts of a seed, each up to `prompt_tokens` long, of different texts.

    Replicate `s` has texts 2s and 2s + 1, counted round: seeds that are less than half of
    `prompts` apart share none, if the data hold as many. InputError for fewer than two texts.
    """
    length = config.prompt_tokens + _SPARE_TOKENS
    found = load_task(
        "continuation",
        config.data,
        samples=1,
        dev_questions=0,
        test_questions=config.prompts,
        tokenizer=tokenizer,
        window=Window(
            prefix_tokens=length,
            reference_tokens=1,
            stride_tokens=length,
            longest_tokens=length,
        ),
    ).test
    if len(found) < EACH:
        raise InputError(
            f"the test split of {config.data} has {len(found)} text of {length} tokens; "
            f"{EACH} unrelated ones are needed: give more texts, or lower prompt_tokens"
        )
    chosen = [found[(EACH * seed + number) % len(found)] for number in range(EACH)]
    return [tokenizer(one.prompt)["input_ids"][: config.prompt_tokens] for one in chosen]
