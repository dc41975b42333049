"""A finished trial's network with its seeds to be switched off: what removing each of them costs.

On is a seed's current alpha. All off is not a host that never had seeds: this one has grown used to
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from workloads.errors import InputError
from workloads.evaluation import Measured, Packed, SwitchableSubject
from workloads.morphogenesis.checkpoints import read_model
from workloads.morphogenesis.config import MorphogenesisConfig
from workloads.morphogenesis.data import Split, load_data
from workloads.morphogenesis.measuring import mean, measure
from workloads.switching import CoalitionScores, as_states
from workloads.training.process import deterministic_process


def pack(config: MorphogenesisConfig, checkpoint: Path | None) -> Packed:
    """The network of a checkpoint and the test split, as arrays and plain data."""
    if checkpoint is None:
        raise InputError("the trial has no checkpoint, so there is no network; run it again")
    tensors, lifecycle = read_model(checkpoint)
    data = load_data(config, "cpu")
    return {
        "tensors": tensors,
        "lifecycle": lifecycle,
        "classes": data.classes,
        "input_shape": data.input_shape,
        "inputs": data.test.inputs.numpy(),
        "targets": data.test.targets.numpy(),
        "units": tuple(data.test.units),
        "clusters": tuple(data.test.clusters),
    }


class GrownNetwork(SwitchableSubject):
    """The network on the test split; its factors are the slots that the configuration names."""

    score_metric = "accuracy"

    def __init__(self, config: MorphogenesisConfig, packed: Packed) -> None:
        import torch

        from workloads.morphogenesis.body.hosts import build_host

        self._config = config
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._host = build_host(config, packed["classes"], packed["input_shape"], seed=0)
        self._host.to(device)
        # Arrays in shared memory can't be written to: what is restored from them is copied.
        tensors = {name: torch.tensor(array) for name, array in packed["tensors"].items()}
        self._host.restore(tensors, packed["lifecycle"])
        self.units: Sequence[str] = packed["units"]
        self.clusters: Sequence[str] = packed["clusters"]
        inputs, targets = (torch.tensor(packed[name]) for name in ("inputs", "targets"))
        self._split = Split("test", inputs, targets, self.units, self.clusters).to(device)

    def factors(self) -> tuple[str, ...]:
        """The named slots in their order along the network, empty ones too."""
        return tuple(self._host.slots)

    def evaluate(self, coalition: frozenset[str]) -> Measured:
        """Accuracy and loss on the test split, and correctness by example (0 or 100)."""
        return next(iter(self.evaluate_all([coalition])))

    def evaluate_all(self, coalitions: Sequence[frozenset[str]]) -> Iterator[Measured]:
        """As `evaluate` of each; coalitions that agree on the first slots share the work."""
        states = [as_states(coalition, self.factors()) for coalition in coalitions]
        with deterministic_process(self._config.threads):
            found = measure(self._host, states, self._split, self._config.eval_batch_size)
        return map(_measured, found)


def _measured(found: CoalitionScores) -> Measured:
    if found.scores is None:
        return Measured({}, error=found.error)
    values = {"accuracy": mean(found.scores), "loss": mean(found.losses)}
    return Measured(values, found.scores)
