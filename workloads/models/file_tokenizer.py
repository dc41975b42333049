"""A tokenizer from its file, for checks before anything is run. Torch-free."""

from __future__ import annotations

from typing import Any, Final


class FileTokenizer:
    """The tokenizer of a `tokenizer.json`, as far as texts are cut by it: no torch is loaded."""

    is_fast: Final = True

    def __init__(self, text: str) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(text)

    def __call__(self, text: str, **options: Any) -> dict[str, Any]:
        """`input_ids` and `offset_mapping` of a text."""
        special = bool(options.get("add_special_tokens", True))
        encoded = self._tokenizer.encode(text, add_special_tokens=special)
        return {"input_ids": encoded.ids, "offset_mapping": encoded.offsets}
