"""The sentences as padded batches, in an order that the seed decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from workloads.structural_health.lora.sentences import SENTENCES
from workloads.training import generator

IGNORED = -100
"""The label of a position that the loss leaves out."""


@dataclass(frozen=True)
class Batch:
    """Sentences padded on the right: ids, mask and labels, each [batch, seq].

    `pads` counts the positions that are padding, whatever the mask says.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    pads: int


class Sentences:
    """The tokenised sentences. `pads`: see `LoraHealthConfig.pads`."""

    def __init__(
        self, tokenizer: Any, max_length: int, pads: Literal["masked", "read"], device: torch.device
    ) -> None:
        encoded = tokenizer(list(SENTENCES), truncation=True, max_length=max_length)["input_ids"]
        self._ids: list[list[int]] = [list(ids) for ids in encoded]
        self._pad = int(tokenizer.pad_token_id)
        self._read_pads, self._device = pads == "read", device

    def batches(self, seed: int, epoch: int, size: int) -> Iterator[Batch]:
        """One epoch's batches, in the order of the stream `order/<epoch>`; the last is shorter
        where the sentences do not go up in batches."""
        stream = generator(seed, f"order/{epoch}")
        order = torch.randperm(len(self._ids), generator=stream).tolist()
        for first in range(0, len(order), size):
            yield self.batch(order[first : first + size])

    def batch(self, indices: Sequence[int]) -> Batch:
        """These sentences, as long as the longest of them."""
        rows = [self._ids[index] for index in indices]
        longest = max(len(row) for row in rows)
        ids = torch.full((len(rows), longest), self._pad)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        pads = int((mask == 0).sum())
        if self._read_pads:
            mask.fill_(1)
        labels = ids.masked_fill(mask == 0, IGNORED)
        device = self._device
        return Batch(ids.to(device), mask.to(device), labels.to(device), pads)

    def one(self, seed: int) -> Batch:
        """The sentence that is always watched: drawn by the stream `sentence`."""
        stream = generator(seed, "sentence")
        return self.batch([int(torch.randint(len(self._ids), (1,), generator=stream))])
