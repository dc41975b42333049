"""Text for the GPT host, read as bytes: the vocabulary is the 256 of them.

A text is cut into windows of `tokens` bytes, of which each byte but the last predicts the next one.
Stories are dealt to the splits whole, so that no story is in two of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from workloads.datasets import generated, hub_data
from workloads.datasets.sources import Source, resolve_data
from workloads.datasets.texts import named_stories, passages, read_texts, text_files
from workloads.errors import InputError
from workloads.morphogenesis.data.digits import NAME as DIGITS
from workloads.morphogenesis.data.splits import IGNORED, Data, Split, check_enough

VOCABULARY: Final = 256
GENERATED_TRAIN: Final = 2000
GENERATED_EVAL: Final = 400
"""Windows of the generated stories, which have no end, where the configuration names no number."""

_FEW_TEXTS: Final = 10
_HELD_OUT_SHARE: Final = 0.15
"""Of the texts: validation and test, each."""
_SHORTEST: Final = 8
"""Bytes; a shorter rest of a text is left out."""

Story = tuple[str, str]


def text_source(data: str) -> Source:
    """Where the text is. Raises `InputError` for what holds none."""
    if data == DIGITS:
        raise _no_text(data)
    source = resolve_data(data)
    if source.kind == "embedded" and source.name != generated.STORIES:
        raise _no_text(data)
    return source


def _no_text(data: str) -> InputError:
    return InputError(
        f"{data} is not running text; for the gpt host give embedded:{generated.STORIES} or "
        "text files"
    )


def load_text(data: str, tokens: int, samples: int | None, eval_samples: int | None) -> Data:
    """Windows of `tokens` bytes. Raises `InputError` where a split would be empty."""
    source = text_source(data)
    if source.kind == "embedded":
        train: Iterable[Story] = generated.generated_stories("train")
        val: Iterable[Story] = generated.generated_stories("dev")
        test: Iterable[Story] = generated.generated_stories("test")
        samples, eval_samples = samples or GENERATED_TRAIN, eval_samples or GENERATED_EVAL
    else:
        train, val, test = _dealt(source)
    return Data(
        train=_split("train", train, tokens, samples, data),
        val=_split("val", val, tokens, eval_samples, data),
        test=_split("test", test, tokens, eval_samples, data),
        classes=VOCABULARY,
        input_shape=(tokens,),
    )


def _dealt(source: Source) -> tuple[list[Story], list[Story], list[Story]]:
    """Stories of training, validation and test, by the hash of their content."""
    if source.path is None:
        texts = hub_data.texts(source)
    else:
        texts = [text for file in text_files(source.path) for text in read_texts(file)]
    if len(texts) < _FEW_TEXTS:
        texts = [piece for text in texts for piece in passages(text)]
    stories = named_stories(texts)
    held_out = round(_HELD_OUT_SHARE * len(stories)) or 1
    return stories[2 * held_out :], stories[held_out : 2 * held_out], stories[:held_out]


def _split(
    name: str, stories: Iterable[Story], tokens: int, number: int | None, data: str
) -> Split:
    import torch

    windows = list(islice(_windows(stories, tokens), number))
    if not windows:
        raise InputError(
            f"{data} gives no text for the split {name}; give more text, of at least {_SHORTEST} "
            "bytes a piece"
        )
    check_enough(name, len(windows), number)
    inputs = torch.zeros(len(windows), tokens, dtype=torch.int64)
    targets = torch.full((len(windows), tokens), IGNORED, dtype=torch.int64)
    for row, (_, _, piece) in enumerate(windows):
        read = torch.tensor(list(piece), dtype=torch.int64)
        inputs[row, : len(read) - 1] = read[:-1]
        targets[row, : len(read) - 1] = read[1:]
    return Split(
        name,
        inputs,
        targets,
        tuple(unit for unit, _, _ in windows),
        tuple(story for _, story, _ in windows),
    )


def _windows(stories: Iterable[Story], tokens: int) -> Iterator[tuple[str, str, bytes]]:
    """Unit, story and at most `tokens` + 1 bytes: the last one is only a target."""
    for story, text in stories:
        content = text.encode()
        for start in range(0, len(content), tokens):
            piece = content[start : start + tokens + 1]
            if len(piece) >= _SHORTEST:
                yield f"{story}-{start}", story, piece
