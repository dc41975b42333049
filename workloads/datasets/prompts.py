"""The text that a question becomes, and how it is made to fit a token budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from workloads.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from workloads.datasets.examples import Example

CONTEXT: Final = "Context: "
QUESTION: Final = "\nQuestion: "
ANSWER: Final = "\nAnswer: "


def qa_prompt(context: str, question: str) -> str:
    """`Context: ...`, `Question: ...`, `Answer: ` on three lines; generation starts after it."""
    return f"{CONTEXT}{context}{QUESTION}{question}{ANSWER}"


def fit_prompt(example: Example, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> str:
    """The example's prompt in at most `max_tokens` tokens, special tokens counted.

    A question loses the end of its context, and keeps the question and `Answer: `; a
    continuation loses the beginning of its prefix. InputError when the question alone is longer.
    """
    if _count(tokenizer, example.prompt) <= max_tokens:
        return example.prompt
    if not example.question:
        starts = [start for start, _ in token_spans(tokenizer, example.prompt)]
        return _first_fitting(
            tokenizer, max_tokens, (example.prompt[start:].lstrip() for start in starts[1:])
        )
    bare = _count(tokenizer, qa_prompt("", example.question))
    if bare > max_tokens:
        raise InputError(
            f"question {example.id} takes {bare} tokens without its context, and {max_tokens} are "
            "allowed; raise the token limit"
        )
    ends = [end for _, end in token_spans(tokenizer, example.context)]
    longest = min(len(ends), max_tokens - bare + 2)
    contexts = [example.context[: ends[keep - 1]] for keep in range(longest, 0, -1)]
    return _first_fitting(
        tokenizer,
        max_tokens,
        (qa_prompt(context, example.question) for context in [*contexts, ""]),
    )


def token_spans(tokenizer: PreTrainedTokenizerBase, text: str) -> list[tuple[int, int]]:
    """Begin and end in `text` of each of its tokens, special tokens left out.

    InputError for a tokenizer that cannot say (one that is not a fast tokenizer).
    """
    if not tokenizer.is_fast:
        raise InputError(
            f"{type(tokenizer).__name__} does not tell where its tokens stand in the text; "
            "give a model with a tokenizer.json (a fast tokenizer)"
        )
    encoded: Any = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    return [(int(begin), int(end)) for begin, end in encoded["offset_mapping"]]


def _count(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    return len(tokenizer(text, verbose=False)["input_ids"])


def _first_fitting(tokenizer: PreTrainedTokenizerBase, max_tokens: int, candidates: Any) -> str:
    for text in candidates:
        if _count(tokenizer, text) <= max_tokens:
            return str(text)
    raise InputError(f"no part of the prompt fits in {max_tokens} tokens; raise the token limit")
