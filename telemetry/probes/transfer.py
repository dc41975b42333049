"""From the device to the host: one tensor a step, and on CUDA without waiting for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from telemetry.probes.capture import Seen


@dataclass(frozen=True)
class Layout:
    """What a packed tensor holds, one after the other."""

    row: int
    """How many values the row has."""
    before: int
    """How many the row before the layer has; 0: it was not read."""
    prediction: bool
    """Whether entropy and margin of the prediction follow."""
    masked: bool = False
    """Whether a last value follows: 1 if the row is of a token, 0 if the mask has none."""


class Event(Protocol):
    """Marks a point in a device's work, as `torch.cuda.Event` does."""

    def query(self) -> bool:
        """Whether the device has come past it."""
        ...

    def synchronize(self) -> None:
        """Waits until it has."""
        ...


@dataclass(frozen=True)
class _Arriving:
    tag: Any
    host: Tensor | None
    event: Event | None


def pack(seen: Seen) -> tuple[Tensor, Layout]:
    """One float32 tensor on the model's device of what was seen, and what it holds.

    Entropy (nats) and margin (the two largest probabilities, apart) of the logits are computed
    there, so that their row stays there. Raises `ValueError` if there is no row.
    """
    if seen.row is None:
        raise ValueError("; ".join(seen.problems) or "no row was seen")
    with torch.no_grad():
        parts = [seen.row.float()]
        if seen.before is not None:
            parts.append(seen.before.float())
        if seen.logits is not None:
            parts.append(_prediction(seen.logits))
        if seen.token is not None:
            parts.append(seen.token.float())
        packed = parts[0]
        if len(parts) > 1:
            packed = torch.cat([one.to(packed.device, non_blocking=True) for one in parts])
    before = 0 if seen.before is None else len(seen.before)
    masked = seen.token is not None
    return packed, Layout(len(seen.row), before, seen.logits is not None, masked)


def _prediction(logits: Tensor) -> Tensor:
    """[2]: entropy in nats, and p1 - p2, of the softmax of logits [vocabulary]."""
    shares = logits.float().softmax(-1)
    first = shares.topk(min(2, len(shares))).values
    return torch.stack([torch.special.entr(shares).sum(), first[0] - first[1:].sum()])


class HostCopies:
    """Copies on their way to the host, in the order in which they were sent.

    From the CPU they are there at once. From CUDA each goes to pinned memory behind the work that
    made it, with an event that tells when it is there; nothing waits but `arrived(wait=True)`.
    """

    def __init__(self) -> None:
        self._arriving: deque[_Arriving] = deque()
        self._pinned: list[Tensor] = []

    def send(self, tag: Any, packed: Tensor | None) -> None:
        """Sends a tensor that nobody else writes to; None: the tag alone, in its turn."""
        if packed is None:
            self._arriving.append(_Arriving(tag, None, None))
        elif packed.device.type == "cuda":
            self._arriving.append(self._from_cuda(tag, packed))
        else:
            self._arriving.append(_Arriving(tag, packed.cpu(), None))

    def arrived(self, *, wait: bool = False) -> Iterator[tuple[Any, NDArray[np.float32] | None]]:
        """Those that are there, oldest first, each with its tag; `wait`: all, when they are.

        An array is valid until the next is asked for.
        """
        while self._arriving:
            oldest = self._arriving[0]
            if oldest.event is not None and not wait and not oldest.event.query():
                return
            if oldest.event is not None:
                oldest.event.synchronize()
            self._arriving.popleft()
            yield oldest.tag, None if oldest.host is None else oldest.host.numpy()
            if oldest.host is not None and oldest.event is not None:
                self._pinned.append(oldest.host)

    def _from_cuda(self, tag: Any, packed: Tensor) -> _Arriving:
        spare = next((one for one in self._pinned if one.shape == packed.shape), None)
        if spare is None:
            # Of one step to the next the size is the same, but for a change of what is watched.
            self._pinned.clear()
            spare = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
        else:
            self._pinned.remove(spare)
        spare.copy_(packed, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(packed.device))
        return _Arriving(tag, spare, event)
