"""The encoding of a finished trial as a subject: how its model does where only part is known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import functional_call

from workloads.dtdr.asking import Asked, asked
from workloads.dtdr.config import DtdrConfig
from workloads.dtdr.generating import greedy
from workloads.dtdr.measuring import Reference, perplexity, predictions, text_nll
from workloads.dtdr.metrics import distinct
from workloads.dtdr.reconstruction import Incremental
from workloads.dtdr.skeleton import weights_by_name
from workloads.dtdr.texts import Prompts
from workloads.evaluation import Measured, Point, Subject, one_line
from workloads.training.process import deterministic_process

if TYPE_CHECKING:
    from workloads.dtdr.anchors import Anchor
    from workloads.dtdr.files.encoding import EncodedModel


class DtdrSubject(Subject):
    """An encoded model whose weights in memory go from point to point in place.

    Scores are the top-10 overlap with the full decode by prompt, 0..1. Points are measured in the
    order given: next to its neighbour on a path each is little work.
    """

    def __init__(
        self,
        config: DtdrConfig,
        model: Any,
        encoded: EncodedModel,
        anchor: Anchor | None,
        prompts: Prompts,
        tokenizer: Any,
        ends: frozenset[int],
    ) -> None:
        self.score_metric = "top10_overlap"
        self.units, self.clusters = prompts.units, prompts.clusters
        self._config, self._model, self.prompts = config, model, prompts
        self._encoded, self._anchor = encoded, anchor
        self._tokenizer, self._ends = tokenizer, ends
        shapes = {name: tensor.shape for name, tensor in encoded.items()}
        self._weights = weights_by_name(model, shapes, encoded.tied)
        with deterministic_process(config.threads), torch.no_grad():
            self._path = self._afresh()
            self.full = predictions(model, prompts, config.eval_batch_size)
            self._reference = Reference(self.full, prompts)
            self._full_weights = self._kept_weights() if config.samples else {}

    def measure(self, points: Sequence[Point]) -> Iterator[Measured]:
        """Each with a note: what the model wrote after the first prompts, as JSON."""
        for point in points:
            with deterministic_process(self._config.threads), torch.no_grad():
                measured = self._measured(point)
            yield measured

    def _measured(self, point: Point) -> Measured:
        try:
            wanted = asked(point)
            self._path.move_to(wanted)
            return self._at(wanted)
        except (ArithmeticError, RuntimeError, ValueError) as error:
            self._path = self._afresh()  # it may have stopped half-way
            return Measured({}, error=one_line(error))

    def _at(self, wanted: Asked) -> Measured:
        found = predictions(self._model, self.prompts, self._config.eval_batch_size)
        broken = int((~found.finite).sum())
        if broken and not wanted.damaged:
            return Measured({}, error=f"logits of {broken} prompts are not finite")
        values = self._reference.values(found)
        values["relative_l2"] = _number(self._path.relative_l2())
        written, note = self._written() if self._config.samples else ({}, None)
        return Measured({**values, **written}, self._reference.overlaps(found), note=note)

    def _written(self) -> tuple[dict[str, float | None], str]:
        """How the first prompts are continued: values, and the texts as JSON."""
        count, start = self._config.samples, self.prompts.prompt_tokens
        prompts = torch.tensor(self.prompts.ids[:count, :start], device=self._model.device)
        rows = greedy(self._model, prompts, self._config.sample_tokens, self._ends)
        given = prompts.tolist()
        whole = [prompt + row for prompt, row in zip(given, rows, strict=True)]
        nll = text_nll(self._full_logits, whole, start, self._model.device)
        values = {
            "text_perplexity": None if nll is None else perplexity(nll),
            "distinct_1": distinct(rows, 1),
            "distinct_2": distinct(rows, 2),
        }
        texts = [
            {"prompt": self._text(prompt), "text": self._text(row)}
            for prompt, row in zip(given, rows, strict=True)
        ]
        return values, json.dumps(texts, ensure_ascii=False)

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _full_logits(self, ids: Tensor) -> Tensor:
        """The full decode's logits, whatever the weights in memory are now."""
        given = {"input_ids": ids, "use_cache": False}
        out = functional_call(self._model, self._full_weights, (), given, tie_weights=True)
        logits: Tensor = out.logits
        return logits

    def _afresh(self) -> Incremental:
        """The weights at the full decode, and the way from there."""
        return Incremental(self._encoded, self._anchor, self._weights)

    def _kept_weights(self) -> dict[str, Tensor]:
        return {name: p.data.clone() for name, p in self._model.named_parameters()}


def _number(value: float) -> float | None:
    """None where it is no finite number, as after damage to a float."""
    return value if abs(value) < float("inf") else None
