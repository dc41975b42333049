"""Where the values come from that stand for what is missing: noise and anchor, kept while they fit.

Points along a path need the same noise and the same anchor again and again; to draw or decode them
costs more than to write them. What is kept changes no result.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from workloads.dtdr.asking import Asked
from workloads.dtdr.files.checksums import block_checksums
from workloads.dtdr.fills import gaussian
from workloads.errors import InputError

if TYPE_CHECKING:
    from workloads.dtdr.anchors import Anchor
    from workloads.dtdr.codec.tensors import EncodedTensor

T = TypeVar("T")


class Memory:
    """Keeps what was made, up to so many bytes; then what was not used for longest goes."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """What was made under this key, or is made now. A key has one type of value."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]  # type: ignore[return-value]
        made = make()
        self._kept[key] = made, size(made)
        self._bytes += size(made)
        while self._bytes > self._limit:
            _, (_, freed) = self._kept.popitem(last=False)
            self._bytes -= freed
        return made

    def tensor(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """As `get`, of a tensor."""
        return self.get(key, make, lambda tensor: tensor.numel() * tensor.element_size())


class Sources:
    """Noise and anchor of every tensor, as `[rows, length]` weights or `[rows, columns]`
    coefficients, on the device of the encoded tensor."""

    def __init__(self, anchor: Anchor | None, memory: Memory) -> None:
        self._anchor = anchor
        self.memory = memory

    def check(self, asked: Asked, lost: bool = False) -> None:
        """Raises `InputError` where a fill is needed (also by what is `lost`) and it needs an
        anchor, and there is none."""
        if asked.anchored and (asked.incomplete or lost) and self._anchor is None:
            raise InputError(
                f"fill: {asked.fill} takes its values from an anchor and there is none; "
                "give an anchor, or the fill zero or random"
            )

    def checksums(self, encoded: EncodedTensor) -> tuple[int, ...]:
        """CRC-32 of each block of rows, before damage."""
        return self.memory.get(
            ("checksums", encoded.name),
            lambda: block_checksums(encoded),
            lambda made: 4 * len(made),
        )

    def noise(self, encoded: EncodedTensor, asked: Asked, width: int) -> Tensor:
        """Standard normal noise ``[rows, width]`` float32, of the draw."""
        name, draw, shape = encoded.name, asked.draw, (encoded.rows, width)
        return self.memory.tensor(
            ("noise", name, draw, width), lambda: gaussian(shape, draw, name, device_of(encoded))
        )

    def anchor_weights(self, encoded: EncodedTensor, asked: Asked) -> Tensor:
        """What the anchor has at the places of the weights, unscaled."""
        return self.memory.tensor(
            ("anchor weights", encoded.name, _order(asked)),
            lambda: self._asked_anchor(asked).values(encoded.name, encoded).to(device_of(encoded)),
        )

    def anchor_coefficients(self, encoded: EncodedTensor, asked: Asked) -> Tensor:
        """What the anchor has at the places of the coefficients, unscaled, in float32."""
        return self.memory.tensor(
            ("anchor coefficients", encoded.name, _order(asked)),
            lambda: (
                self._asked_anchor(asked)
                .coefficients(encoded.name, encoded)
                .to(device_of(encoded))
                .float()
            ),
        )

    def _asked_anchor(self, asked: Asked) -> Anchor:
        self.check(asked, lost=True)
        assert self._anchor is not None
        return self._anchor.shuffled(asked.draw) if asked.shuffled else self._anchor


def device_of(encoded: EncodedTensor) -> torch.device:
    """Where the parts of an encoded tensor are."""
    return next(iter(encoded.parts.values())).device


def _order(asked: Asked) -> int | None:
    """Which permutation of the anchor is asked; None: as it is."""
    return asked.draw if asked.shuffled else None
