"""What a batch's gradients look like by parameter group, gathered on the device they lie on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

HISTOGRAM_EDGES = tuple(half / 2 for half in range(-24, 9))
"""Of log10 |g|: from -12 to 4 in steps of one half."""
SAMPLE = 256
"""Of each batch, a group's histogram reads about so many elements, evenly spaced."""

TOGETHER = 2**22
"""Elements up to which all groups are copied at once; of a larger model, one group at a time."""
HELD_SAMPLES = 32
"""Batches whose samples are held before they are sorted into bins."""


@dataclass(frozen=True)
class GradientStatistics:
    """Of a window, by parameter group. None: no gradient came."""

    histograms: Mapping[str, list[float | None]]
    flow: Mapping[str, float | None]
    """Mean |gradient| over elements and batches."""


class GradientGatherer:
    """Sums up the gradients of one backward pass after the other; on a GPU nothing waits for it.

    Gradients are copied, not changed. Those of several devices are summed up on each.
    """

    def __init__(self, groups: Mapping[str, Sequence[nn.Parameter]]) -> None:
        self.names = list(groups)
        # Asking a tensor for its size, batch after batch, is dear.
        self._groups = [[(one, one.numel()) for one in group] for group in groups.values()]
        self._sums: dict[torch.device, _Sums] = {}

    def gather(self) -> torch.Tensor | None:
        """Adds the gradients as they stand; their norms by group, [groups], on the device.

        A group without a gradient has norm -1. None if there is no gradient at all.
        """
        import torch

        with torch.no_grad():
            norms = [self._of(device).add(found) for device, found in self._found().items()]
        return _joined(norms) if len(norms) > 1 else norms[0] if norms else None

    def read(self) -> GradientStatistics:
        """What was summed up since the last `read`; waits for the device."""
        import torch

        histograms = torch.zeros(len(self.names), len(HISTOGRAM_EDGES) + 1, dtype=torch.float64)
        flow = torch.zeros(2, len(self.names), dtype=torch.float64)
        for sums in self._sums.values():
            histograms += sums.histograms().cpu()
            flow += sums.flow().cpu()
        self._sums.clear()
        shares: dict[str, list[float | None]] = {}
        means: dict[str, float | None] = {}
        for place, name in enumerate(self.names):
            seen = float(histograms[place].sum())
            if seen:
                shares[name] = (histograms[place] / seen).tolist()
            total, elements = flow[:, place].tolist()
            means[name] = total / elements if elements else None
        return GradientStatistics(shares, means)

    def _found(self) -> dict[torch.device, _Found]:
        """The gradients that there are, by device."""
        by_device: dict[torch.device, _Found] = {}
        for place, group in enumerate(self._groups):
            for parameter, length in group:
                grad = parameter.grad
                if grad is None or grad.is_sparse:
                    continue
                found = by_device.get(grad.device)
                if found is None:
                    found = by_device[grad.device] = _Found()
                found.grads[place].append(grad.flatten())
                found.lengths[place] += length
        return by_device

    def _of(self, device: torch.device) -> _Sums:
        if device not in self._sums:
            self._sums[device] = _Sums(device, len(self.names))
        return self._sums[device]


@dataclass(frozen=True)
class _Found:
    """The gradients of one device, each flat, by the place of their group; and their elements."""

    grads: dict[int, list[torch.Tensor]] = field(default_factory=lambda: defaultdict(list))
    lengths: dict[int, int] = field(default_factory=lambda: defaultdict(int))


class _Sums:
    """The sums of one device."""

    def __init__(self, device: torch.device, groups: int) -> None:
        import torch

        self._device, self._groups, self._bins = device, groups, len(HISTOGRAM_EDGES) + 1
        self._layout: dict[int, int] = {}
        self._buffer: torch.Tensor | None = None
        self._absolute: torch.Tensor | None = None
        self._batches = 0
        self._samples: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._counts = torch.zeros(groups * self._bins, dtype=torch.float64, device=device)
        self._edges = torch.tensor(HISTOGRAM_EDGES, dtype=torch.float32, device=device)
        self._flow = torch.zeros(2, groups, dtype=torch.float64, device=device)

    def add(self, found: _Found) -> torch.Tensor:
        """Adds gradients; their norms by group, -1: none."""
        if found.lengths != self._layout:
            self._lay_out(found.lengths)
        few = sum(found.lengths.values()) <= TOGETHER
        norms, sample = self._all_at_once(found) if few else self._one_by_one(found)
        self._samples.append((sample, self._offsets))
        if len(self._samples) >= HELD_SAMPLES:
            self._count()
        return self._none.index_copy(0, self._places, row_of(norms))

    def flow(self) -> torch.Tensor:
        """[2, groups]: the sum of |g|, and how many elements that were."""
        import torch

        if self._absolute is not None:
            parts = torch.split(self._absolute, list(self._layout.values()))
            self._add_flow([part.sum() for part in parts], self._batches)
            self._absolute, self._batches = None, 0
        return self._flow

    def histograms(self) -> torch.Tensor:
        """How many sampled elements fell into each bin, [groups, bins]."""
        self._count()
        return self._counts.view(self._groups, self._bins)

    def _all_at_once(self, found: _Found) -> tuple[Sequence[torch.Tensor], torch.Tensor]:
        """Norms by group and the sample, in few operations: they are what a small model costs."""
        import torch

        lengths = list(found.lengths.values())
        together = [grad for grads in found.grads.values() for grad in grads]
        sizes = self._copied(together, sum(lengths)).abs_()
        if self._absolute is None:
            self._absolute = sizes.clone()
        else:
            self._absolute += sizes
        self._batches += 1
        norms = torch._foreach_norm(torch.split(sizes, lengths), 2.0)
        return norms, sizes.index_select(0, self._index)

    def _one_by_one(self, found: _Found) -> tuple[Sequence[torch.Tensor], torch.Tensor]:
        """The same in the memory of the largest group."""
        import torch

        totals, norms, samples = [], [], []
        for place, grads in found.grads.items():
            sizes = self._copied(grads, found.lengths[place]).abs_()
            totals.append(sizes.sum())
            norms.append(torch.linalg.vector_norm(sizes))
            samples.append(sizes[:: _stride(found.lengths[place])].clone())
        self._add_flow(totals, 1)
        return norms, torch.cat(samples)

    def _copied(self, grads: list[torch.Tensor], length: int) -> torch.Tensor:
        """Gradients one after the other, in a buffer that is used again.

        It has full precision: half would overflow in a sum.
        """
        import torch

        if self._buffer is None or len(self._buffer) < length:
            wide = any(grad.dtype == torch.float64 for grad in grads)
            dtype = torch.float64 if wide else torch.float32
            self._buffer = torch.empty(length, dtype=dtype, device=self._device)
        return torch.cat(grads, out=self._buffer[:length])

    def _add_flow(self, totals: Sequence[torch.Tensor], batches: int) -> None:
        import torch

        self._flow.index_add_(
            1, self._places, torch.stack([row_of(totals), self._elements * batches])
        )

    def _count(self) -> None:
        """Sorts the samples that are held into bins; many at once cost little more than one."""
        import torch

        if not self._samples:
            return
        logs = torch.cat([sample.float() for sample, _ in self._samples]).log10_()
        bins = torch.bucketize(logs, self._edges, right=True)
        bins += torch.cat([offsets for _, offsets in self._samples])
        self._counts.index_add_(0, bins, torch.ones_like(bins, dtype=torch.float64))
        self._samples.clear()

    def _lay_out(self, layout: dict[int, int]) -> None:
        """What follows from which groups have gradients: made anew only if that changes."""
        import torch

        self.flow()  # of the layout before
        self._layout = layout
        offsets: list[int] = []
        index: list[int] = []
        start = 0
        for place, length in layout.items():
            sampled = range(start, start + length, _stride(length))
            index += sampled
            offsets += [place * self._bins] * len(sampled)
            start += length
        device = self._device
        self._places = torch.tensor(list(layout), device=device)
        self._index = torch.tensor(index, device=device)
        self._offsets = torch.tensor(offsets, device=device)
        self._elements = torch.tensor(list(layout.values()), dtype=torch.float64, device=device)
        self._none = torch.full((self._groups,), -1.0, dtype=torch.float64, device=device)


def _stride(length: int) -> int:
    """Every so manyth of `length` elements makes about `SAMPLE` of them."""
    return max(1, -(-length // SAMPLE))


def row_of(scalars: Sequence[torch.Tensor]) -> torch.Tensor:
    """0-dimensional tensors as one row [n] of float64; does not wait for a GPU."""
    import torch

    device = scalars[0].device
    if device.type == "cpu":  # dear as operations, cheap as numbers
        return torch.tensor([one.item() for one in scalars], dtype=torch.float64)
    return torch.stack([one.to(device) for one in scalars]).double()


def _joined(norms: Sequence[torch.Tensor]) -> torch.Tensor:
    """Norms by group of several devices together, -1 where none has any."""
    import torch

    here = torch.stack([one.to(norms[0].device) for one in norms])
    none = (here < 0).all(0)
    return torch.where(none, -1.0, torch.linalg.vector_norm(here.clamp(min=0), dim=0))
