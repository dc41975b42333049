"""The model of a finished trial as a subject: its parts on and off while it reads the texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from workloads.ablation.config import AblationConfig
from workloads.ablation.cut import check_cut, cut
from workloads.ablation.scoring import text_scores
from workloads.ablation.texts import Texts
from workloads.ablation.units import switched_parts
from workloads.evaluation import Measured, SwitchableSubject
from workloads.switching import CoalitionScores, as_states, evaluate_coalitions, undisturbed
from workloads.training.process import deterministic_process


class AblationSubject(SwitchableSubject):
    """A causal language model with switches at its layers, heads or adapters.

    Values are `accuracy` (percent of scored tokens predicted right, mean over texts) and `nll`
    (nats a token, mean over texts); scores are accuracies by text.
    """

    def __init__(self, config: AblationConfig, model: Any, texts: Texts) -> None:
        self.config, self._model, self._texts = config, model, texts
        self.score_metric = "accuracy"
        self.units, self.clusters = texts.units, texts.clusters
        parts = switched_parts(config)
        self._factors = tuple(part.name for part in parts)
        self._segments = cut(model, parts, config.units)
        with deterministic_process(config.threads), undisturbed(model):
            check_cut(model, self._segments, self._on_device(texts.ids[:1]))

    def factors(self) -> tuple[str, ...]:
        """The parts' names, in order along the network."""
        return self._factors

    def evaluate(self, coalition: frozenset[str]) -> Measured:
        """How the model does with just these parts on."""
        return next(self.evaluate_all([coalition]))

    def evaluate_all(self, coalitions: Sequence[frozenset[str]]) -> Iterator[Measured]:
        """As `evaluate` of each; coalitions that agree on the first parts share the work."""
        return (_measured(found) for found in self.scores(coalitions))

    def scores(self, coalitions: Sequence[frozenset[str]]) -> list[CoalitionScores]:
        """Accuracies and losses by text, for each coalition."""
        states = [as_states(coalition, self._factors) for coalition in coalitions]
        with deterministic_process(self.config.threads), undisturbed(self._model):
            return evaluate_coalitions(self._segments, states, self._batches(), text_scores)

    def _batches(self) -> Iterator[tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]]:
        for ids, scored in self._texts.batches(self.config.eval_batch_size):
            given = self._on_device(ids)
            yield given, (given, self._on_device(scored))

    def _on_device(self, array: np.ndarray[Any, Any]) -> torch.Tensor:
        return torch.tensor(array, device=self._model.device)


def _measured(found: CoalitionScores) -> Measured:
    if found.scores is None or found.losses is None:
        return Measured({}, error=found.error)
    values = {
        "accuracy": float(np.mean(found.scores, dtype=np.float64)),
        "nll": float(np.mean(found.losses, dtype=np.float64)),
    }
    return Measured(values, found.scores)
