"""From a blueprint's name to a module with fresh parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from workloads.morphogenesis.body.blueprints import cnn, transformer
from workloads.morphogenesis.body.sizes import HostKind, parameter_count

_MODULES: Mapping[HostKind, Mapping[str, Callable[[int], nn.Module]]] = {
    "cnn": {
        "noop": lambda width: nn.Identity(),
        "norm": cnn.Norm,
        "attention": cnn.ChannelAttention,
        "depthwise": cnn.Depthwise,
        "conv_light": lambda width: cnn.Convolutions(width, 1),
        "conv_heavy": lambda width: cnn.Convolutions(width, 2),
    },
    "gpt": {
        "norm": transformer.Norm,
        "lora": transformer.LowRank,
        "attention": transformer.Attention,
        "mlp": transformer.Mlp,
        "flex_attention": transformer.FlexAttention,
    },
}


def make_seed(blueprint: str, host: HostKind, width: int) -> nn.Module:
    """A seed for a slot of `width`; its parameters are drawn from torch's global generator.

    Takes and gives [batch, channels, height, width] in a CNN, [batch, tokens, width] in a GPT.
    Raises ValueError for a blueprint that the host does not have.
    """
    parameter_count(blueprint, host, width)
    return _MODULES[host][blueprint](width)
