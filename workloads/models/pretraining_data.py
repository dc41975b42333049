"""Token sequences that the embedded model is trained on, made from the pretraining stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workloads.datasets import grammar, prompts

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

    TokenSequence = list[tuple[int, bool]]

QUESTIONS_PER_SCENE: Final = 3
IGNORED: Final = -100


@dataclass(frozen=True)
class Batch:
    """A right-padded batch.

    ids: [batch, seq]. labels: [batch, seq], `IGNORED` at pads. answers: [batch, seq], true where
    the token belongs to an answer or ends one.
    """

    ids: torch.Tensor
    labels: torch.Tensor
    answers: torch.Tensor


@dataclass(frozen=True)
class _Piece:
    """Text that is tokenized by itself; `ends` adds `</s>`."""

    text: str
    answer: bool = False
    ends: bool = False


def _answered(questions: Iterable[grammar.Question]) -> Iterator[_Piece]:
    for question in questions:
        yield _Piece(f"{prompts.QUESTION}{question.text}{prompts.ANSWER}")
        yield _Piece(question.answer, answer=True, ends=True)


class PretrainingData:
    """Batches by step number; step n is the same whichever steps were made before it."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self._tokenizer = tokenizer
        self._seed = seed
        self._bos, self._eos = int(tokenizer.bos_token_id), int(tokenizer.eos_token_id)

    def question_batch(self, step: int, stories: int) -> Batch:
        """Every scene of `stories` stories with some of its questions, answers shown."""
        rows: list[list[_Piece]] = []
        for index in range(step * stories, (step + 1) * stories):
            story = grammar.story(self._seed, grammar.PRETRAINING, index)
            draws = grammar.Draws(f"shown/{story.id}")
            for scene in story.scenes:
                shown = draws.several(scene.questions, QUESTIONS_PER_SCENE)
                rows.append([_Piece(prompts.CONTEXT + scene.text), *_answered(shown)])
        return self._batch(self._tokens(rows))

    def story_batch(self, step: int, stories: int) -> Batch:
        """Whole stories as running text."""
        rows: list[list[_Piece]] = []
        for index in range(step * stories, (step + 1) * stories):
            story = grammar.story(self._seed, grammar.PRETRAINING, index)
            rows.append([_Piece(story.text, ends=True)])
        return self._batch(self._tokens(rows))

    def _tokens(self, rows: Sequence[Sequence[_Piece]]) -> list[TokenSequence]:
        """Each row's pieces as (token, belongs to an answer), after `<s>`; one tokenizer call."""
        texts = [piece.text for row in rows for piece in row]
        encoded = iter(self._tokenizer(texts, add_special_tokens=False)["input_ids"])
        out: list[TokenSequence] = []
        for row in rows:
            tokens: TokenSequence = [(self._bos, False)]
            for piece in row:
                end = [self._eos] if piece.ends else []
                tokens += [(token, piece.answer) for token in [*next(encoded), *end]]
            out.append(tokens)
        return out

    def _batch(self, rows: Sequence[TokenSequence]) -> Batch:
        import torch

        longest = max(len(row) for row in rows)
        pad = int(self._tokenizer.pad_token_id)
        ids = torch.full((len(rows), longest), pad)
        labels = torch.full((len(rows), longest), IGNORED)
        answers = torch.zeros((len(rows), longest), dtype=torch.bool)
        for i, row in enumerate(rows):
            tokens = torch.tensor([token for token, _ in row])
            ids[i, : len(row)] = tokens
            labels[i, : len(row)] = tokens
            answers[i, : len(row)] = torch.tensor([answer for _, answer in row])
        return Batch(ids, labels, answers)
