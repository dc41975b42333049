"""A model as a point asks for it: from scratch, or in place from where it stands."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from workloads.dtdr.asking import Asked
from workloads.dtdr.live import LiveTensor
from workloads.dtdr.rebuilding import rebuilt
from workloads.dtdr.sources import Memory, Sources
from workloads.errors import InputError

if TYPE_CHECKING:
    from workloads.dtdr.anchors import Anchor
    from workloads.dtdr.codec.tensors import EncodedTensor
    from workloads.dtdr.files.encoding import EncodedModel

NOTHING_LOST: Final[Mapping[str, Collection[int]]] = MappingProxyType({})
MEMORY_BYTES = 4 << 30
"""What noise, anchors and sums of a path may take up beside the model and its full decode."""


class Reconstruction:
    """Every tensor from scratch. `dtype`: of what it gives; None: each tensor's own."""

    def __init__(
        self, encoded: EncodedModel, anchor: Anchor | None, dtype: torch.dtype | None = None
    ) -> None:
        self._encoded = encoded
        self._sources = Sources(anchor, Memory(0))
        self._dtype = dtype

    def tensors(
        self, asked: Asked, lost: Mapping[str, Collection[int]] = NOTHING_LOST
    ) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors in the shape of the model's own, one at a time; tied ones once. What is
        not of floats keeps its dtype. `lost`: by name the blocks of rows that are missing already,
        and filled. Raises `InputError` where the fill needs an anchor and there is none, or one
        that does not fit."""
        self._sources.check(asked, lost=bool(lost))
        return (
            (name, self._cast(rebuilt(tensor, asked, self._sources, lost.get(name, ()))))
            for name, tensor in self._encoded.items()
        )

    def _cast(self, tensor: Tensor) -> Tensor:
        if self._dtype is None or not tensor.is_floating_point():
            return tensor
        return tensor.to(self._dtype)


class Incremental:
    """A model in memory whose weights are written in place, from point to point.

    Along a path of fractions only what changes is computed and written. In the domain rows the
    weights are bit for bit those of `Reconstruction`, in the others within 1e-5 of them.

    Args:
        parameters: the model's own tensors by their names in the encoding. Tensors of the encoding
            that are not among them are left out, and parameters that it lacks are left as they are.
        memory_bytes: for what is kept between points beside the full decode; what does not fit
            costs time and changes no result.

    Raises:
        InputError: a parameter has not the shape that the encoding has.
    """

    def __init__(
        self,
        encoded: EncodedModel,
        anchor: Anchor | None,
        parameters: Mapping[str, Tensor],
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._sources = Sources(anchor, Memory(memory_bytes))
        self._live: list[LiveTensor] = []
        for name in encoded:
            if name in parameters:
                self._add(encoded[name], parameters[name].detach())
        self.move_to(Asked())

    def move_to(self, asked: Asked) -> None:
        """Writes what the point asks for. Raises `InputError` where the fill needs an anchor and
        there is none, or one that does not fit; some tensors may then have been written already."""
        self._sources.check(asked)
        for tensor in self._live:
            tensor.move_to(asked)

    def relative_l2(self) -> float:
        """Norm of the difference between the weights and the full decode over the norm of the full
        decode, all compressed tensors together. 0 for none; not finite where weights are not."""
        squares = [tensor.squares() for tensor in self._live]
        difference = math.fsum(square for square, _ in squares)
        whole = math.fsum(square for _, square in squares)
        if difference == 0:
            return 0.0
        return math.sqrt(difference / whole) if whole > 0 else math.inf

    def _add(self, tensor: EncodedTensor, parameter: Tensor) -> None:
        if parameter.shape != tensor.shape:
            raise InputError(
                f"{tensor.name} is {list(parameter.shape)} in the model and "
                f"{list(tensor.shape)} in its encoding; give the model that was encoded"
            )
        if tensor.plain:
            parameter.copy_(tensor.decoded())
        else:
            self._live.append(LiveTensor(tensor, parameter, self._sources))
