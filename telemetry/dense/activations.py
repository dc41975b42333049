"""What modules give out in training: mean, deviation and dead units, gathered on the device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from telemetry.dense.gradients import row_of

if TYPE_CHECKING:
    import torch
    from torch import nn

SAMPLE = 16384
"""Of an output with more elements, mean and deviation are those of some of its samples."""


@dataclass(frozen=True)
class ActivationStatistics:
    """Of a window, by module; modules that gave out nothing are left out.

    Means and deviations of large outputs are those of evenly spaced samples of each batch.
    """

    means: Mapping[str, float | None]
    stds: Mapping[str, float | None]
    dead: Mapping[str, int | None]
    """Units (features, or channels of an image) that were 0 for every sample and place."""


class ActivationGatherer:
    """Notes what one module after the other gives out; copies nothing before `read`."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self.names = list(modules)
        self._channels_second = {name: _is_channelwise(module) for name, module in modules.items()}
        self._outputs: list[tuple[str, int]] = []
        self._moments: list[torch.Tensor] = []
        """Mean and norm of each output of the running batch."""
        self._batches: list[torch.Tensor] = []
        """The same of whole batches, one tensor each."""
        self._range: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        """Smallest and largest value by unit."""
        self._all_alive: set[str] = set()

    def gather(self, name: str, output: Any) -> None:
        """Adds one output of module `name`: a tensor of a floating type, or a tuple that starts so.

        Where no gradients are taken (an evaluation), nothing is added.
        """
        import torch

        if isinstance(output, tuple | list) and output:
            output = output[0]
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            return
        if not torch.is_grad_enabled() or not output.numel():
            return
        out = output.detach()
        some = _sampled(out)
        some = some.float() if some.element_size() < 4 else some
        self._moments += (some.mean(), torch.linalg.vector_norm(some))
        self._outputs.append((name, some.numel()))
        if name not in self._all_alive:
            self._gather_range(name, out, some)

    def _gather_range(self, name: str, out: torch.Tensor, some: torch.Tensor) -> None:
        # What was once alive stays so. Only the CPU can be asked without waiting.
        told = out.device.type == "cpu"
        for seen in (some, out) if told and some.numel() < out.numel() else (out,):
            self._extend_range(name, seen)
            if told and not _zero_throughout(*self._range[name]):
                self._all_alive.add(name)
                return

    def _extend_range(self, name: str, out: torch.Tensor) -> None:
        import torch

        others = self._all_but_units(name, out)
        low, high = (out.amin(others), out.amax(others)) if others else (out, out)
        before = self._range.get(name)
        if before is not None and before[0].shape == low.shape:
            low, high = torch.minimum(before[0], low), torch.maximum(before[1], high)
        self._range[name] = low, high

    def end_batch(self) -> None:
        """Puts what the batch gave into one tensor: many small ones are dear on a device."""
        if self._moments:
            self._batches.append(row_of(self._moments))
            self._moments.clear()

    def read(self) -> ActivationStatistics:
        """What was noted since the last `read`; waits for the device."""
        self.end_batch()
        moments = iter(_numbers(self._batches))
        gathered: dict[str, list[tuple[int, float, float]]] = {}
        for name, count in self._outputs:
            gathered.setdefault(name, []).append((count, next(moments), next(moments)))
        names = [name for name in self.names if name in gathered]
        pooled = {name: _pooled(gathered[name]) for name in names}
        silent = _numbers([_zero_throughout(*self._range[name])[None] for name in names])
        self.forget()
        return ActivationStatistics(
            means={name: mean for name, (mean, _) in pooled.items()},
            stds={name: std for name, (_, std) in pooled.items()},
            dead={name: int(count) for name, count in zip(names, silent, strict=True)},
        )

    def forget(self) -> None:
        """Drops what was noted."""
        self._outputs.clear()
        self._moments.clear()
        self._batches.clear()
        self._range.clear()
        self._all_alive.clear()

    def _all_but_units(self, name: str, out: torch.Tensor) -> list[int]:
        """The dimensions of an output that count samples or places, and not units."""
        if out.dim() < 2:
            return list(range(out.dim()))
        channels = out.dim() > 3 or (out.dim() == 3 and self._channels_second[name])
        unit = 1 if channels else out.dim() - 1
        return [dimension for dimension in range(out.dim()) if dimension != unit]


def _sampled(out: torch.Tensor) -> torch.Tensor:
    """Evenly spaced samples (the first dimension) of an output, about `SAMPLE` elements of it."""
    if out.numel() <= SAMPLE or out.dim() < 2:
        return out
    wanted = max(1, SAMPLE * len(out) // out.numel())
    return out[:: -(-len(out) // wanted)]


def _pooled(parts: Sequence[tuple[int, float, float]]) -> tuple[float, float]:
    """Mean and standard deviation of all elements, of parts' (count, mean, norm).

    A deviation below about a thousandth of the mean is lost to rounding.
    """
    count = sum(part[0] for part in parts)
    mean = sum(n * m for n, m, _ in parts) / count
    variance = sum(norm * norm for _, _, norm in parts) / count - mean * mean
    return mean, variance if math.isnan(variance) else math.sqrt(max(variance, 0.0))


def _zero_throughout(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """How many units never left 0."""
    return ((low == 0) & (high == 0)).sum()


def _numbers(rows: Sequence[torch.Tensor]) -> list[float]:
    """The numbers of tensors [n], one after the other, in one copy from the device."""
    import torch

    if not rows:
        return []
    device = rows[0].device
    numbers: list[float] = torch.cat([row.to(device) for row in rows]).tolist()
    return numbers


def _is_channelwise(module: nn.Module) -> bool:
    """Whether a module gives out `[batch, channels, length]` where it gives three dimensions."""
    from torch import nn

    kinds = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
    return isinstance(module, kinds)
