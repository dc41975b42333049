"""How well a model answers generated questions that it was not trained on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from workloads.datasets.examples import Example
from workloads.datasets.generated import MAX_NEW_TOKENS, generated_questions
from workloads.datasets.prompts import qa_prompt
from workloads.datasets.scoring import exact_match, f1

_BATCH: Final = 128


@dataclass(frozen=True)
class HeldOutScores:
    """Scores in points (0 to 100) of the test stream's first questions, greedy decoding.

    `constant_f1`: the best answer that is the same for every question, among all gold answers
    and the commonest words. `mismatched_f1`: each question asked of another story's scene.
    """

    questions: int
    f1: float
    exact_match: float
    constant_f1: float
    mismatched_f1: float
    prompt_tokens_mean: float
    prompt_tokens_max: int
    generation_s: float


def held_out_scores(model: Any, tokenizer: Any, questions: int = 1000) -> HeldOutScores:
    """Asks the test stream's first questions; generation time is on torch's present threads."""
    examples = generated_questions("test", questions)
    prompts = [example.prompt for example in examples]
    lengths = [len(tokenizer(prompt)["input_ids"]) for prompt in prompts]
    started = time.perf_counter()
    given = answer_greedily(model, tokenizer, prompts)
    generation_s = time.perf_counter() - started
    elsewhere = examples[questions // 2 :] + examples[: questions // 2]
    mismatched = answer_greedily(
        model,
        tokenizer,
        [
            qa_prompt(there.context, here.question)
            for here, there in zip(examples, elsewhere, strict=True)
        ],
    )
    exact = [exact_match(text, e.answers) for text, e in zip(given, examples, strict=True)]
    return HeldOutScores(
        questions=questions,
        f1=_points(given, examples),
        exact_match=round(100 * sum(exact) / questions, 2),
        constant_f1=best_constant_f1(examples),
        mismatched_f1=_points(mismatched, examples),
        prompt_tokens_mean=round(sum(lengths) / questions, 2),
        prompt_tokens_max=max(lengths),
        generation_s=round(generation_s, 2),
    )


def answer_greedily(
    model: Any, tokenizer: Any, prompts: Sequence[str], max_new_tokens: int = MAX_NEW_TOKENS
) -> list[str]:
    """The text generated after each prompt: left padding, masked, up to the end token."""
    import torch

    texts = [""] * len(prompts)
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for first in range(0, len(prompts), _BATCH):
        chosen = by_length[first : first + _BATCH]
        encoded = tokenizer(
            [prompts[i] for i in chosen], return_tensors="pt", padding=True, padding_side="left"
        )
        with torch.inference_mode():
            out = model.generate(
                input_ids=encoded["input_ids"],
                attention_mask=encoded["attention_mask"],
                max_new_tokens=max_new_tokens,
                do_sample=False,
            )
        new = out[:, encoded["input_ids"].shape[1] :]
        decoded = tokenizer.batch_decode(new, skip_special_tokens=True)
        for i, text in zip(chosen, decoded, strict=True):
            texts[i] = text
    return texts


def best_constant_f1(examples: Sequence[Example]) -> float:
    """F1 in points of the best answer that ignores the prompt."""
    words = Counter(word for example in examples for word in example.answers[0].split())
    commonest = [word for word, _ in words.most_common(12)]
    answers = {answer for example in examples for answer in example.answers}
    answers |= {" ".join(commonest[:length]) for length in range(1, len(commonest) + 1)}
    return max(_points([answer] * len(examples), examples) for answer in answers)


def _points(given: Sequence[str], examples: Sequence[Example]) -> float:
    scores = [f1(text, example.answers) for text, example in zip(given, examples, strict=True)]
    return round(100 * sum(scores) / len(scores), 2)
