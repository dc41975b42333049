"""Encoded models of a few tensors, small enough to be rebuilt many times in a test."""

from __future__ import annotations

import torch
from torch import Tensor

from workloads.dtdr.anchors import Anchor
from workloads.dtdr.asking import Asked
from workloads.dtdr.codec.recipe import Quantiser, Recipe, Transform
from workloads.dtdr.codec.tensors import encode_tensor
from workloads.dtdr.files.encoding import EncodedModel
from workloads.dtdr.reconstruction import Reconstruction

SHAPES = {"embed": (40, 24), "up": (33, 100), "conv": (4, 3, 8), "one": (1, 5)}
"""Blocks that do not divide the rows, rows that are no power of two, three axes, a single row."""


def weights(seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Compressed tensors of `SHAPES`, and three that are stored as they are."""
    stream = torch.Generator().manual_seed(seed)
    made = {name: torch.randn(shape, generator=stream) for name, shape in SHAPES.items()}
    made["norm"] = torch.randn(24, generator=stream)
    made["empty"] = torch.zeros(0, 7)
    tensors = {name: tensor.to(dtype) for name, tensor in made.items()}
    return {**tensors, "steps": torch.arange(6).view(2, 3)}


def encoded_model(
    transform: Transform = "hadamard",
    quantiser: Quantiser = "row",
    block_rows: int = 3,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> EncodedModel:
    """The weights encoded, in memory."""
    recipe = Recipe(transform, quantiser, block_rows)
    tensors = {
        name: encode_tensor(name, tensor, recipe) for name, tensor in weights(seed, dtype).items()
    }
    return EncodedModel.of(tensors, {}, {})


def another_model() -> Anchor:
    """An anchor of the same shapes and other numbers."""
    other = encoded_model(transform="none", seed=1)
    return Anchor("another model", other.__getitem__)


def blank(encoded: EncodedModel, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Places for the weights, holding what no decoding gives."""
    return {
        name: torch.full(
            tensor.shape, 7, dtype=dtype if tensor.dtype.is_floating_point else tensor.dtype
        )
        for name, tensor in encoded.items()
    }


def rebuilt(
    encoded: EncodedModel,
    asked: Asked,
    anchor: Anchor | None = None,
    dtype: torch.dtype | None = None,
) -> dict[str, Tensor]:
    """All tensors of a point, from scratch."""
    return dict(Reconstruction(encoded, anchor, dtype).tensors(asked))
