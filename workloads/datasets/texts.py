"""Running text, and the prefixes and references that the `continuation` task cuts from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from workloads.datasets.examples import Example, content_id, hash_order
from workloads.datasets.prompts import token_spans
from workloads.datasets.reading import kind_of, read_json, read_json_lines, read_text
from workloads.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SUFFIXES: Final = (".txt", ".json", ".jsonl")
END_OF_TEXT: Final = "<|endoftext|>"
FIELDS: Final = ("text", "story", "content")


@dataclass(frozen=True)
class Window:
    """How a story is cut, in tokens: the shortest prefix, the longest, the step between them, and
    the reference that follows each.

    Prefixes begin where the story does: a small model that has only seen whole stories says little
    of what starts in the middle of one.
    """

    prefix_tokens: int = 64
    reference_tokens: int = 12
    stride_tokens: int = 12
    longest_tokens: int = 136

    def __post_init__(self) -> None:
        for name in ("prefix_tokens", "reference_tokens", "stride_tokens", "longest_tokens"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; valid: at least 1")


def text_files(path: Path) -> tuple[Path, ...]:
    """A file by itself, or a folder's text files, those in subfolders too."""
    if path.is_file():
        return (path,)
    found = [f for f in path.rglob("*") if f.is_file() and f.suffix in SUFFIXES]
    files = tuple(sorted(f for f in found if f.name != "SOURCE.txt"))
    if not files:
        raise InputError(f"{path} has no text files; valid: a folder with {', '.join(SUFFIXES)}")
    return files


def read_texts(path: Path) -> list[str]:
    """The texts of a file.

    `.json`: a list of strings or of objects with a `text` field. `.jsonl`: one such a line.
    Anything else: texts parted by `<|endoftext|>`, or one text.
    """
    if path.suffix == ".json":
        value = read_json(path)
        if isinstance(value, dict):
            value = next((value[key] for key in ("data", "stories") if key in value), value)
        if not isinstance(value, list):
            raise InputError(
                f"{path} holds {kind_of(value)}; valid: a list of strings, or of objects with a "
                "text field"
            )
        values: list[Any] = value
    elif path.suffix == ".jsonl":
        values = read_json_lines(path)
    else:
        values = list(read_text(path).split(END_OF_TEXT))
    texts = [text_of(entry, f"{path}, entry {number}") for number, entry in enumerate(values)]
    kept = [text for text in texts if text]
    if not kept:
        raise InputError(f"{path} holds no text; give a file with some")
    return kept


def text_of(entry: Any, where: str) -> str:
    """A string, or the text field of an object."""
    if isinstance(entry, dict):
        entry = next((entry[name] for name in FIELDS if name in entry), entry)
    if not isinstance(entry, str):
        raise InputError(
            f"{where} is {kind_of(entry)}; valid: a string, or an object with one of the fields "
            f"{', '.join(FIELDS)}"
        )
    return entry.strip()


def passages(text: str, shortest: int = 2000) -> Iterator[str]:
    """A long text in pieces of at least `shortest` characters that end with a paragraph.

    Where it has no blank lines, pieces end with a line.
    """
    parting = "\n\n" if "\n\n" in text else "\n"
    piece = ""
    for paragraph in text.split(parting):
        piece = f"{piece}{parting}{paragraph}" if piece else paragraph
        if len(piece) >= shortest:
            yield piece.strip()
            piece = ""
    if piece.strip():
        yield piece.strip()


def named_stories(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Each different text once, with the id that its content gives it, in hash order."""
    named = {content_id(text): text for text in texts}
    return sorted(named.items(), key=lambda story: hash_order(story[0]))


def continuations(
    identifier: str, text: str, tokenizer: PreTrainedTokenizerBase, window: Window
) -> Iterator[Example]:
    """The story's prefixes with what follows each; none when it is too short.

    Prefixes and references end between words, so one may have a few tokens fewer.
    """
    spans = token_spans(tokenizer, text)
    for length in range(window.prefix_tokens, window.longest_tokens + 1, window.stride_tokens):
        end = _word_end(text, spans, length)
        last = _word_end(text, spans, end + window.reference_tokens)
        if length + window.reference_tokens >= len(spans):
            return
        prefix = text[: spans[end][0]].strip()
        reference = text[spans[end][0] : spans[last - 1][1]].strip() if last > end else ""
        if prefix and reference:
            yield Example(f"{identifier}-{length}", identifier, prefix, prefix, "", (reference,))


def _word_end(text: str, spans: list[tuple[int, int]], at: int) -> int:
    """The last token up to `at` that begins a word: what is before it ends with one."""
    at = min(at, len(spans) - 1)
    while at > 0 and not _begins_word(text, spans[at]):
        at -= 1
    return at


def _begins_word(text: str, span: tuple[int, int]) -> bool:
    begin = span[0]
    return begin == 0 or text[begin - 1].isspace() or text[begin : begin + 1].isspace()
