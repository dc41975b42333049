"""Random sequences, and the order in which a run reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from workloads.structural_health.config import StructuralHealthConfig
from workloads.training import generator

if TYPE_CHECKING:
    from torch import Tensor


class Sequences:
    """Uniformly random tokens [sequences, length], in shuffled batches.

    The last batch of an epoch may be smaller, as in a data loader.
    """

    def __init__(self, config: StructuralHealthConfig, seed: int) -> None:
        self._seed, self._size = seed, config.batch_size
        shape = (config.sequences, config.length)
        self.tokens = torch.randint(config.vocabulary, shape, generator=generator(seed, "data"))
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.long)
        self.batches_per_epoch = -(-config.sequences // config.batch_size)

    def batch(self, step: int) -> Tensor:
        """The batch of a step, [batch, length]; the same whatever was asked before."""
        epoch, index = divmod(step, self.batches_per_epoch)
        if epoch != self._epoch:
            stream = generator(self._seed, f"order/{epoch}")
            self._epoch, self._order = epoch, torch.randperm(len(self.tokens), generator=stream)
        return self.tokens[self._order[index * self._size : (index + 1) * self._size]]
