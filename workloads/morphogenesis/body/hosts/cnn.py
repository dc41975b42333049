"""The CNN host: blocks of convolution, norm, relu and (while there is room) pooling."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from workloads.morphogenesis.body.blueprints.cnn import sample_norm
from workloads.morphogenesis.body.sizes import WIDENED_BLOCKS
from workloads.training import seeded


class Block(nn.Module):
    """[batch, inputs, height, width] to [batch, outputs, height / 2, width / 2] if it pools."""

    def __init__(self, inputs: int, outputs: int, pools: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = sample_norm(outputs)
        self.pools = pools

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.norm(self.convolution(x)))
        return functional.max_pool2d(h, 2) if self.pools else h


class Classifier(nn.Module):
    """Logits [batch, classes] from the channels' means."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3)))  # type: ignore[no-any-return]


def cnn_parts(
    widths: Sequence[int], classes: int, input_shape: Sequence[int], seed: int
) -> list[nn.Module]:
    """Blocks of these widths, then the classifier. The first three blocks halve what is at least 4
    wide."""
    inputs, side = input_shape[0], min(input_shape[1:])
    parts: list[nn.Module] = []
    for index, outputs in enumerate(widths):
        pools = index < WIDENED_BLOCKS and side >= 4
        with seeded(seed, f"host/block{index}"):
            parts.append(Block(inputs, outputs, pools))
        inputs, side = outputs, side // 2 if pools else side
    with seeded(seed, "host/head"):
        parts.append(Classifier(inputs, classes))
    return parts
