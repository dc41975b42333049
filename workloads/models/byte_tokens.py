"""Models without a tokenizer whose tokens are bytes. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from workloads.errors import InputError
from workloads.models.loading import has_tokenizer, load_tokenizer
from workloads.models.reference import ModelRef

_BYTES: Final = 256
"""A vocabulary of a few more has special tokens, at its end or before the bytes: where is not
known without a tokenizer."""


class ByteTokenizer:
    """Texts as the bytes of their UTF-8, as far as texts are cut and read by it."""

    is_fast: Final = True

    def __call__(self, text: str, **options: Any) -> dict[str, Any]:
        """`input_ids` and `offset_mapping` of a text: the character that each byte is of."""
        sizes = [len(character.encode()) for character in text]
        offsets = [(at, at + 1) for at, size in enumerate(sizes) for _ in range(size)]
        return {"input_ids": list(text.encode()), "offset_mapping": offsets}

    def decode(self, ids: Iterable[int], **options: Any) -> str:
        """The text; bytes that are no UTF-8 are shown as the replacement character."""
        return bytes(ids).decode(errors="replace")


def reads_bytes(ref: ModelRef) -> bool:
    """Whether a model's folder has no tokenizer, and a vocabulary of 256 tokens: the bytes."""
    if ref.path is None or has_tokenizer(ref):
        return False
    try:
        config = json.loads((ref.path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{ref.path / 'config.json'} cannot be read: {error}") from error
    return isinstance(config, dict) and config.get("vocab_size") == _BYTES


def tokenizer_of(ref: ModelRef) -> Any:
    """The model's own tokenizer, or bytes. Raises `InputError` where there is neither."""
    return ByteTokenizer() if reads_bytes(ref) else load_tokenizer(ref)
