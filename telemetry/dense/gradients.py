"""What a batch's gradients look like by parameter group, gathered on the device they lie on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

HISTOGRAM_EDGES = tuple(half / 2 for half in range(-24, 9))
"""Of log10 |g|: from -12 to 4 in steps of one half."""
SAMPLE = 256
"""Of each batch, a group's histogram reads about so many elements, evenly spaced."""


@dataclass(frozen=True)
class GradientStatistics:
    """Of a window, by parameter group. None: no gradient came."""

    histograms: Mapping[str, list[float | None]]
    flow: Mapping[str, float | None]
    """Mean |gradient| over elements and batches."""


class GradientGatherer:
    """Sums up the gradients of one backward pass after the other; waits for nothing before `read`.

    Gradients are not changed; one group of them at a time is copied. Those of several devices are
    summed up on each.
    """

    def __init__(self, groups: Mapping[str, Sequence[nn.Parameter]]) -> None:
        self.names = list(groups)
        self._groups = list(groups.values())
        self._sums: dict[torch.device, _Sums] = {}

    def gather(self) -> torch.Tensor | None:
        """Adds the gradients as they stand; their norms by group, [groups], on the device.

        A group without a gradient has norm -1. None if there is no gradient at all.
        """
        import torch

        with torch.no_grad():
            return self._gather()

    def _gather(self) -> torch.Tensor | None:
        import torch

        by_device: dict[torch.device, dict[int, list[torch.Tensor]]] = {}
        for place, group in enumerate(self._groups):
            for parameter in group:
                grad = parameter.grad
                if grad is None or grad.is_sparse:
                    continue
                found = by_device.get(grad.device)
                if found is None:
                    found = by_device[grad.device] = defaultdict(list)
                found[place].append(grad)
        squares: torch.Tensor | None = None
        for device, found in by_device.items():
            if device not in self._sums:
                self._sums[device] = _Sums(device, len(self.names))
            added = self._sums[device].add(found)
            squares = added if squares is None else _joined(squares, added.to(squares.device))
        if squares is None:
            return None
        return torch.where(squares < 0, squares, squares.sqrt())

    def read(self) -> GradientStatistics:
        """What was summed up since the last `read`; waits for the device."""
        import torch

        histograms = torch.zeros(len(self.names), len(HISTOGRAM_EDGES) + 1, dtype=torch.float64)
        flow = torch.zeros(2, len(self.names), dtype=torch.float64)
        for sums in self._sums.values():
            histograms += sums.histograms.cpu()
            flow += sums.flow.cpu()
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


class _Sums:
    """The sums of one device. `flow` is [2, groups]: sum of |g|, and how many elements."""

    def __init__(self, device: torch.device, groups: int) -> None:
        import torch

        self._groups, self._bins = groups, len(HISTOGRAM_EDGES) + 1
        self._layout: list[tuple[int, int]] = []
        self.edges = torch.tensor(HISTOGRAM_EDGES, dtype=torch.float32, device=device)
        self.histograms = torch.zeros(groups, self._bins, dtype=torch.float64, device=device)
        self.flow = torch.zeros(2, groups, dtype=torch.float64, device=device)

    def add(self, found: Mapping[int, list[torch.Tensor]]) -> torch.Tensor:
        """Adds gradients by their groups' places; squared norms by group, -1: none."""
        import torch
        from torch._utils import _flatten_dense_tensors

        totals, norms, samples, layout = [], [], [], []
        for place, grads in found.items():
            flat = _flatten_dense_tensors(grads)  # type: ignore[no-untyped-call]
            # Half precision would overflow in a sum; of one flat tensor, `flat` is that tensor.
            sizes = (flat.float() if flat.element_size() < 4 else flat).abs()
            totals.append(sizes.sum())
            norms.append(torch.linalg.vector_norm(sizes))
            samples.append(sizes[:: -(-len(sizes) // SAMPLE) or 1])
            layout.append((place, len(sizes)))
        if layout != self._layout:
            self._lay_out(layout, [len(sample) for sample in samples])
        self.flow[0].index_add_(0, self._places, torch.stack(totals).double())
        self.flow[1] += self._elements
        squares = self._none.index_copy(0, self._places, torch.stack(norms).double().square())
        bins = torch.bucketize(torch.cat(samples).float().log10_(), self.edges, right=True)
        bins += self._offsets
        self.histograms.view(-1).index_add_(0, bins, self._one.expand(len(bins)))
        return squares

    def _lay_out(self, layout: list[tuple[int, int]], sampled: Sequence[int]) -> None:
        """What follows from which groups have gradients: made anew only if that changes."""
        import torch

        self._layout = layout
        device = self.edges.device
        self._places = torch.tensor([place for place, _ in layout], device=device)
        elements, offsets = [0.0] * self._groups, []
        for (place, count), length in zip(layout, sampled, strict=True):
            elements[place] = float(count)
            offsets += [place * self._bins] * length
        self._elements = torch.tensor(elements, dtype=torch.float64, device=device)
        self._offsets = torch.tensor(offsets, device=device)
        self._none = torch.full((self._groups,), -1.0, dtype=torch.float64, device=device)
        self._one = torch.ones(1, dtype=torch.float64, device=device)


def _joined(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Squared norms of two devices together, -1 where neither has any."""
    import torch

    both = one.clamp(min=0) + other.clamp(min=0)
    return torch.where((one < 0) & (other < 0), one, both)
