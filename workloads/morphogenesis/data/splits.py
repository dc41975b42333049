"""The form in which every kind of data is handed to training and evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""A target that is not asked for: what pads a text."""


def check_enough(split: str, there: int, asked: int | None) -> None:
    """Refuses (`InputError`) to give fewer examples than were asked for."""
    if asked is not None and asked > there:
        field = "samples" if split == "train" else "eval_samples"
        raise InputError(
            f"{field}={asked}, but the split {split} has {there} examples; give at most {there}, "
            "or leave it out to have all"
        )


@dataclass(frozen=True)
class Split:
    """Examples with their targets, in an order that depends on the data alone.

    Attributes:
        inputs: images `[examples, channels, height, width]` float32, or tokens
            `[examples, tokens]` int64.
        targets: classes `[examples]`, or the tokens that follow `[examples, tokens]`, int64, of
            which `IGNORED` ones count for nothing.
        units: ids of the examples.
        clusters: ids of what is drawn as one: the image itself, the story of a text.
    """

    name: str
    inputs: torch.Tensor
    targets: torch.Tensor
    units: Sequence[str]
    clusters: Sequence[str]

    def __len__(self) -> int:
        return len(self.units)

    def head(self, number: int | None) -> Split:
        """The first `number` examples; all if None or if there are no more."""
        if number is None or number >= len(self):
            return self
        return Split(
            self.name,
            self.inputs[:number],
            self.targets[:number],
            self.units[:number],
            self.clusters[:number],
        )

    def to(self, device: Any) -> Split:
        """The same on a device."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))

    def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Inputs and targets in order; the last batch may be smaller."""
        for start in range(0, len(self), size):
            yield self.inputs[start : start + size], self.targets[start : start + size]


@dataclass(frozen=True)
class Data:
    """The three splits, which share no example, and the shape of what is in them.

    Attributes:
        classes: classes of an image, or the size of the vocabulary.
        input_shape: of one example: `(channels, height, width)`, or `(tokens,)`.
        class_names: one for each class; empty for text.
    """

    train: Split
    val: Split
    test: Split
    classes: int
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...] = ()

    def to(self, device: Any) -> Data:
        """The same on a device."""
        return replace(
            self,
            train=self.train.to(device),
            val=self.val.to(device),
            test=self.test.to(device),
        )
