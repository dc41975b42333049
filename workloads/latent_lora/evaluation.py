"""Reads a split's questions, greedily, from one form of prompt, and scores the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from workloads.contract import Scores
from workloads.datasets import qa_prompt
from workloads.latent_lora import scoring
from workloads.latent_lora.collapse import CollapseReport, detect_collapse
from workloads.latent_lora.config import LatentLoraConfig
from workloads.latent_lora.controls import Score, best_constant, mismatch, snap
from workloads.latent_lora.generation import end_tokens, greedy, new_text
from workloads.latent_lora.losses import reconstruction
from workloads.latent_lora.prompts import Batch, Split, tokenise
from workloads.latent_lora.reader import Reader

if TYPE_CHECKING:
    from accelerate import Accelerator

NORM_RATIO_RANGE = (0.9, 1.1)
"""Mean norm ratios outside are flagged as a magnitude mismatch; RMS matching makes it 1."""

_OWN_CONSTANT = {"f1", "content_f1", "em"}


@dataclass(frozen=True)
class Answers:
    """Predictions aligned with a split's examples, and the share of them from finite logits.

    `rebuilt` holds means over tokens of the reconstruction's quality; it is empty where nothing
    was reconstructed.
    """

    predictions: Sequence[str]
    finite_share: float
    rebuilt: Mapping[str, float]


@dataclass(frozen=True)
class Evaluation:
    """Scores per question in points, their means, and whether the predictions collapsed."""

    split: Split
    answers: Answers
    columns: Mapping[str, Sequence[float | None]]
    collapse: CollapseReport

    @property
    def metrics(self) -> dict[str, float | None]:
        """Means over the split, by the names of the workload's metrics."""
        given, gold = self.collapse.predictions, self.collapse.answers
        return {
            **{name: scoring.mean(column) for name, column in self.columns.items()},
            **self.answers.rebuilt,
            "distinct_predictions": float(given.distinct),
            "distinct_answers": float(gold.distinct),
            "top_prediction_share": given.top_text_share,
            "top_word_share": given.top_word_share,
            "finite_share": self.answers.finite_share,
        }

    @property
    def scores(self) -> Scores:
        """What a verdict reads, keyed by question and cluster."""
        return Scores(
            split=self.split.name,
            units=[example.id for example in self.split.examples],
            clusters=[example.cluster for example in self.split.examples],
            columns=dict(self.columns),
        )


def scorers(config: LatentLoraConfig) -> dict[str, Score]:
    """The scores of a task by name, each in points."""
    every: dict[str, Score] = {
        "f1": scoring.f1,
        "em": scoring.exact_match,
        "set_f1": scoring.set_f1,
        "answer_contained": scoring.contains_answer,
    }
    return {**every, "content_f1": scoring.content_f1} if config.task == "continuation" else every


def evaluate(
    reader: Reader,
    split: Split,
    tokenizer: Any,
    max_new_tokens: int,
    accelerator: Accelerator,
) -> Evaluation:
    """Answers all questions of the split, shared among the ranks; every rank gets the whole."""
    config = reader.config
    answers = _answer(reader, split, tokenizer, max_new_tokens, accelerator)
    columns = {
        name: [
            score(prediction, example.answers)
            for prediction, example in zip(answers.predictions, split.examples, strict=True)
        ]
        for name, score in scorers(config).items()
    }
    return Evaluation(split, answers, columns, _collapse(answers.predictions, split))


def evaluate_constant(train: Split, split: Split, config: LatentLoraConfig) -> Evaluation:
    """One and the same answer to all questions: the best for F1 on the training answers.

    `content_f1` and `em` have best answers of their own, so that each is a floor for its score.
    """
    known = [example.answers for example in train.examples]
    scores = scorers(config)
    best = {name: best_constant(known, scores[name]) for name in _OWN_CONSTANT & scores.keys()}
    columns = {
        name: [score(best.get(name, best["f1"]), example.answers) for example in split.examples]
        for name, score in scores.items()
    }
    predictions = [best["f1"]] * len(split)
    return Evaluation(split, Answers(predictions, 1.0, {}), columns, _collapse(predictions, split))


def magnitude_mismatch(evaluation: Evaluation) -> bool:
    """Whether the reconstructed embeddings' norms are off by more than `NORM_RATIO_RANGE`."""
    ratio = evaluation.answers.rebuilt.get("norm_ratio")
    low, high = NORM_RATIO_RANGE
    return ratio is not None and not low <= ratio <= high


def _collapse(predictions: Sequence[str], split: Split) -> CollapseReport:
    return detect_collapse(predictions, [example.answers[0] for example in split.examples])


@torch.no_grad()
def _answer(
    reader: Reader, split: Split, tokenizer: Any, max_new_tokens: int, accelerator: Accelerator
) -> Answers:
    config = reader.config
    read = _mismatched(split, tokenizer, config) if config.input == "mismatched" else split
    ends = end_tokens(reader.language_model, tokenizer)
    reader.eval()
    mine: list[tuple[int, str, bool]] = []
    sums = torch.zeros(4, dtype=torch.float64)
    batches = read.by_length(config.eval_batch_size)
    for indices in batches[accelerator.process_index :: accelerator.num_processes]:
        batch = read.batch(indices, device=accelerator.device)
        prompt, quality = _prompt(reader, batch, config)
        sums += quality
        out = greedy(
            reader.language_model, prompt, batch.mask, batch.positions, max_new_tokens, ends
        )
        texts = new_text(tokenizer, out.tokens, ends)
        mine += zip(indices, texts, out.finite.tolist(), strict=True)
    reader.train()
    return _gathered(mine, sums, accelerator)


def _prompt(
    reader: Reader, batch: Batch, config: LatentLoraConfig
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """What the model reads, and the sums [tokens, cosine, relative error, norm ratio]."""
    nothing = torch.zeros(4, dtype=torch.float64)
    if config.input in ("text", "mismatched"):
        return {"input_ids": batch.ids}, nothing
    dtype = reader.language_model.dtype
    if config.input == "snap":
        table = reader.language_model.get_input_embeddings().weight
        snapped = snap(batch.ids, table, reader.pca)
        return {"inputs_embeds": reader.embed(snapped).to(dtype)}, nothing
    originals = reader.embed(batch.ids)
    if config.input == "replay":
        return {"inputs_embeds": originals.to(dtype)}, nothing
    rebuilt = reader.rebuild(originals)
    parts = reconstruction(rebuilt, originals, batch.mask)
    tokens = int(batch.mask.sum())
    means = (1.0, float(parts.cosine), float(parts.relative_error), float(parts.norm_ratio))
    return (
        {"inputs_embeds": rebuilt.to(dtype)},
        torch.tensor([tokens * value for value in means], dtype=torch.float64),
    )


def _mismatched(split: Split, tokenizer: Any, config: LatentLoraConfig) -> Split:
    """The split with each prompt's context taken from a question of another cluster.

    What is still answered right is answered from the question alone; a `continuation` has no
    question, and continues another story's prefix.
    """
    examples = split.examples
    others = mismatch([example.cluster for example in examples])
    if config.task == "continuation":
        return split.with_prompts(others)
    swapped = [
        replace(
            example,
            context=examples[other].context,
            prompt=qa_prompt(examples[other].context, example.question),
        )
        for example, other in zip(examples, others, strict=True)
    ]
    return tokenise(split.name, swapped, tokenizer, config.max_prompt_tokens)


def _gathered(
    mine: list[tuple[int, str, bool]], sums: torch.Tensor, accelerator: Accelerator
) -> Answers:
    if accelerator.num_processes > 1:
        from accelerate.utils import gather_object

        mine = gather_object(mine)
        sums = torch.stack(gather_object([sums])).sum(0)
    ordered = sorted(mine)
    tokens, cosine, error, ratio = sums.tolist()
    rebuilt = (
        {
            "recon_cosine": cosine / tokens,
            "recon_rel_error": error / tokens,
            "norm_ratio": ratio / tokens,
        }
        if tokens
        else {}
    )
    return Answers(
        predictions=[text for _, text, _ in ordered],
        finite_share=sum(finite for _, _, finite in ordered) / max(1, len(ordered)),
        rebuilt=rebuilt,
    )
