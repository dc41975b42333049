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

TURNS = 4
"""A module is looked at in one batch of so many, and in the first; they take turns."""


@dataclass(frozen=True)
class ActivationStatistics:
    """Of a window, by module; modules that were not looked at are left out."""

    means: Mapping[str, float | None]
    stds: Mapping[str, float | None]
    dead: Mapping[str, int | None]
    """Units (features, or channels of an image) that were 0 in all that was looked at."""


class ActivationGatherer:
    """Notes what one module after the other gives out; copies nothing before `read`."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self.names = list(modules)
        self._place = {name: place for place, name in enumerate(modules)}
        self._turn = 0
        self._channels_second = {name: _is_channelwise(module) for name, module in modules.items()}
        self._outputs: list[tuple[str, int]] = []
        self._moments: list[torch.Tensor] = []
        """Sum and norm of each output of the running batch."""
        self._batches: list[torch.Tensor] = []
        """The same of whole batches, one tensor each."""
        self._range: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        """Smallest and largest value by unit."""
        self._all_alive: set[str] = set()

    def gather(self, name: str, output: Any) -> None:
        """Adds one output of module `name`: a tensor of a floating type, or a tuple that starts so.

        Where no gradients are taken (an evaluation), or it is not its turn, nothing is added.
        """
        if self._turn and (self._turn + self._place[name]) % TURNS:
            return
        import torch

        if isinstance(output, tuple | list) and output:
            output = output[0]
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            return
        if not torch.is_grad_enabled() or not output.numel():
            return
        out = output.detach()
        out = out.float() if out.element_size() < 4 else out
        self._moments += (out.sum(), torch.linalg.vector_norm(out))
        self._outputs.append((name, out.numel()))
        if name not in self._all_alive:
            self._extend_range(name, out)

    def _extend_range(self, name: str, out: torch.Tensor) -> None:
        import torch

        others = self._all_but_units(name, out)
        low, high = (out.amin(others), out.amax(others)) if others else (out, out)
        before = self._range.get(name)
        if before is not None and before[0].shape == low.shape:
            low, high = torch.minimum(before[0], low), torch.maximum(before[1], high)
        self._range[name] = low, high
        # What was once alive stays so. Only the CPU can be asked without waiting.
        if out.device.type == "cpu" and not _zero_throughout(low, high):
            self._all_alive.add(name)

    def start(self) -> None:
        """The next batch is looked at by all modules."""
        self._turn = 0

    def end_batch(self) -> None:
        """Puts what the batch gave into one tensor: many small ones are dear on a device."""
        self._turn += 1
        if self._moments:
            self._batches.append(row_of(self._moments))
            self._moments.clear()

    def read(self) -> ActivationStatistics:
        """What was noted since the last `read`; waits for the device."""
        if self._moments:  # of a batch that was not ended
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


def _pooled(parts: Sequence[tuple[int, float, float]]) -> tuple[float, float]:
    """Mean and standard deviation of all elements, of parts' (count, sum, norm).

    A deviation below about a thousandth of the mean is lost to rounding.
    """
    count = sum(part[0] for part in parts)
    mean = sum(total for _, total, _ in parts) / count
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
