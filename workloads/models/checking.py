"""Whether a model is what it seems: found, whole, readable, and better than chance at text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from workloads.errors import InputError
from workloads.models.byte_tokens import ByteTokenizer, tokenizer_of
from workloads.models.description import ModelDescription, describe
from workloads.models.loading import load_model
from workloads.models.reference import listed

if TYPE_CHECKING:
    from workloads.models.held_out_text import HeldOutText

TEXTS: Final = 16
"""Held-out stories that are read."""
_COUNTED: Final = 300
_TOKENS: Final = 128
_STEPPED: Final = 24
_ALIKE: Final = 1e-3
"""Most that a log-probability may differ by between reading and stepping."""
_CHANCE: Final = 0.9
"""A perplexity above this share of the vocabulary's size is that of weights drawn at random."""


@dataclass(frozen=True)
class Looked:
    """One thing looked at. `ok` None: nothing that is right or wrong, or not measured."""

    what: str
    ok: bool | None
    found: str


@dataclass(frozen=True)
class Loaded:
    """A model that was loaded, and what it was described as."""

    description: ModelDescription
    model: Any


Look = Callable[[Loaded], Looked]


def check_model(ref: str, *more: Look) -> Iterator[Looked]:
    """Looks at one thing after the other, at those of `more` last.

    ref: as `resolve_model` takes it. What cannot be loaded ends the looking; nothing is raised for
    a model that is not right.
    """
    try:
        described = describe(ref)
        yield Looked("model", None, f"{described.architecture}, {described.ref.fingerprint[:23]}")
        loaded = Loaded(described, load_model(described.ref))
    except InputError as error:
        yield Looked("model", False, str(error))
        return
    for look in (_weights, _blocks, _tokenizer, _forward, _perplexity, _decoding, *more):
        try:
            yield look(loaded)
        except InputError as error:
            yield Looked(look.__name__.strip("_"), False, str(error))


def _weights(loaded: Loaded) -> Looked:
    import torch

    described = loaded.description
    said = f"{described.parameters:,} numbers in {len(described.tensors)} tensors"
    wrong = [
        name
        for name, weight in loaded.model.named_parameters()
        if not bool(torch.isfinite(weight).all())
    ]
    if wrong:
        return Looked(
            "weights",
            False,
            f"{said}: not finite in {len(wrong)} of them ({listed(sorted(wrong))}); copy or "
            "convert them again",
        )
    return Looked("weights", True, f"{said}: none missing, none too many")


def _blocks(loaded: Loaded) -> Looked:
    from telemetry.probes import LayerNotFoundError, find_blocks

    try:
        blocks = find_blocks(loaded.model)
    except LayerNotFoundError as error:
        return Looked("blocks", False, str(error))
    kind = type(blocks.last).__name__
    width = loaded.description.hidden_size
    return Looked("blocks", True, f"{len(blocks.modules)} × {kind} in {blocks.path}, width {width}")


def _tokenizer(loaded: Loaded) -> Looked:
    tokenizer, size = tokenizer_of(loaded.description.ref), loaded.description.vocab_size
    if isinstance(tokenizer, ByteTokenizer):
        return Looked("tokenizer", True, "none: the vocabulary of 256 tokens is read as bytes")
    if len(tokenizer) > size:
        return Looked(
            "tokenizer",
            False,
            f"{len(tokenizer)} tokens, and the model has a vocabulary of {size}; copy the model's "
            "own tokenizer",
        )
    return Looked("tokenizer", True, f"{len(tokenizer)} tokens, vocabulary of {size}")


def _forward(loaded: Loaded) -> Looked:
    import torch

    ids = _drawn(loaded)
    with torch.no_grad():
        logits = loaded.model(input_ids=ids, use_cache=False).logits
    wrong = int((~torch.isfinite(logits)).sum())
    if wrong:
        return Looked("forward", False, f"{wrong} of {logits.numel()} logits are not finite")
    return Looked("forward", True, f"finite logits, {list(logits.shape)}")


def _perplexity(loaded: Loaded) -> Looked:
    scores = perplexity(loaded)
    said = (
        f"{scores.perplexity:.1f} per token of {scores.texts} generated stories; by counts of "
        f"tokens alone {scores.unigram:.1f}, by chance {scores.uniform}"
    )
    if not math.isfinite(scores.perplexity):
        return Looked("perplexity", False, f"{said}: what it predicts of text is not finite")
    if not scores.perplexity < _CHANCE * scores.uniform:
        return Looked("perplexity", False, f"{said}: as of weights drawn at random")
    if scores.perplexity >= scores.unigram:
        return Looked("perplexity", None, f"{said}: such text is foreign to it")
    return Looked("perplexity", True, said)


def perplexity(loaded: Loaded) -> HeldOutText:
    """Of the test split's first stories, of each the first 128 tokens, or as many as it reads.

    Raises `InputError` where there is no tokenizer, or one of another model.
    """
    from workloads.models.held_out_text import text_scores

    tokenizer = tokenizer_of(loaded.description.ref)
    size, most = loaded.description.vocab_size, _readable(loaded, _TOKENS)
    begin = getattr(tokenizer, "bos_token_id", None)
    start = [] if begin is None else [int(begin)]
    texts = [(start + ids)[:most] for ids in _stories(tokenizer, "test", TEXTS)]
    if (largest := max(max(text) for text in texts)) >= size:
        raise InputError(
            f"not measured: the tokenizer makes token {largest}, and the model has a vocabulary "
            f"of {size}; copy the model's own tokenizer"
        )
    return text_scores(
        loaded.model,
        texts,
        [start + ids for ids in _stories(tokenizer, "train", _COUNTED)],
        loaded.description.vocab_size,
    )


def _stories(tokenizer: Any, split: Any, number: int) -> list[list[int]]:
    from workloads.datasets.generated import generated_stories

    return [
        list(tokenizer(text, add_special_tokens=False)["input_ids"])[:_TOKENS]
        for _, text in islice(generated_stories(split), number)
    ]


def _decoding(loaded: Loaded) -> Looked:
    import torch

    from workloads.models.decoding import Decoder

    ids = _drawn(loaded)
    decoder, half = Decoder(loaded.model), ids.shape[1] // 2
    try:
        given = [decoder.read(ids[:, :half])]
        given += [decoder.step(ids[:, at])[:, None] for at in range(half, ids.shape[1])]
    except ValueError as error:
        return Looked("decoding", False, str(error))
    with torch.no_grad():
        whole = loaded.model(input_ids=ids, use_cache=False).logits
    apart = (torch.cat(given, 1).log_softmax(-1) - whole.log_softmax(-1)).abs().max()
    return Looked(
        "decoding",
        bool(apart <= _ALIKE),  # NaN is not
        f"token by token as at once within {float(apart):.1e} nats",
    )


def _drawn(loaded: Loaded) -> Any:
    import torch

    drawn = torch.Generator().manual_seed(0)
    size = (2, _readable(loaded, _STEPPED))
    return torch.randint(loaded.description.vocab_size, size, generator=drawn)


def _readable(loaded: Loaded, tokens: int) -> int:
    """So many tokens, or as many as the model reads where that is fewer."""
    limit = getattr(loaded.model.config, "max_position_embeddings", None)
    return min(tokens, limit) if isinstance(limit, int) and limit > 0 else tokens
