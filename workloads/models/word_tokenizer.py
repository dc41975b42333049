"""The embedded model's tokenizer: whole words of the grammar, letters for everything else."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS, UNK = "<pad>", "<s>", "</s>", "<unk>"
SPECIALS: Final = (PAD, BOS, EOS, UNK)
MAX_TOKENS: Final = 512

# A piece is a field label of the prompt template with its line break, a line break, a word, or
# a single sign. Blanks only separate pieces, so text tokenizes alike whether it stands alone or
# after a prompt that ends in a blank.
_LABELS: Final = ("Context:", "\nQuestion:", "\nAnswer:")
_PIECE: Final = r"Context:|\nQuestion:|\nAnswer:|\n|\w+|[^\w\s]"


def vocabulary(texts: Iterable[str]) -> dict[str, int]:
    """Token -> id: specials, template labels, ASCII signs and letters, then the texts' words."""
    signs = [sign for sign in string.punctuation if sign != "_"]
    letters = list(string.ascii_letters + string.digits + "_")
    found = {piece for text in texts for piece in re.findall(_PIECE, text)}
    known = [*SPECIALS, *_LABELS, "\n", *signs, *letters, *(f"##{c}" for c in letters)]
    return {token: i for i, token in enumerate([*known, *sorted(found - set(known))])}


def build_tokenizer(vocab: dict[str, int]) -> PreTrainedTokenizerFast:
    """A fast tokenizer over the vocabulary.

    Unknown words are spelled in letters, accents are dropped, and other scripts become `<unk>`.
    Encoding begins with `<s>`; decoding puts blanks back where English has them.
    """
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token=UNK, max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECE), "removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, vocab[BOS])]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),
            decoders.Fuse(),
            decoders.Replace(Regex(r" (?=[.,;:!?)\]%\n])"), ""),
            decoders.Replace(Regex(r"(?<=[\n(\[]) "), ""),
            decoders.Replace(Regex(r" ' (?=(?:s|t|d|m|re|ve|ll)\b)"), "'"),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="left",
        model_max_length=MAX_TOKENS,
        clean_up_tokenization_spaces=False,
    )
