"""Parameter counts of hosts and seeds by formula, so that a plan needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import ceil
from typing import Literal

from workloads.morphogenesis.body.naming import named_slots, slot_names
from workloads.morphogenesis.config import Blend, MorphogenesisConfig

HostKind = Literal["cnn", "gpt"]

LORA_RANK = 8
SQUEEZE = 4
"""Of the channel attention: its hidden layer has a quarter of the channels."""
SEED_HEADS = 4
"""Attention heads of a seed; its inner width is a multiple of it."""
WIDENED_BLOCKS = 3
"""Blocks of the CNN host from the first on, each twice as wide as the one before."""

_HALVINGS = 40
"""Until two factors differ by less than any rounding can tell."""


def attention_width(width: int) -> int:
    """Inner width of the seed `attention`: about a twelfth of the model's."""
    return SEED_HEADS * max(1, width // 12 // SEED_HEADS)


def flex_attention_width(width: int) -> int:
    """Inner width of the seed `flex_attention`: about 3/32 of the model's."""
    return SEED_HEADS * max(1, width * 3 // 32 // SEED_HEADS)


BLUEPRINTS: Mapping[HostKind, Mapping[str, Callable[[int], int]]] = {
    "cnn": {
        "noop": lambda c: 0,
        "norm": lambda c: 2 * c + 1,
        "attention": lambda c: 2 * c * max(1, c // SQUEEZE),
        "depthwise": lambda c: 9 * c + c * c + 2 * c,
        "conv_light": lambda c: 9 * c * c + 2 * c,
        "conv_heavy": lambda c: 2 * (9 * c * c + 2 * c),
    },
    "gpt": {
        "norm": lambda w: 2 * w + 1,
        "lora": lambda w: 2 * LORA_RANK * w,
        "attention": lambda w: 4 * w * attention_width(w),
        "mlp": lambda w: 8 * w * w,
        "flex_attention": lambda w: 4 * w * flex_attention_width(w) + SEED_HEADS,
    },
}
"""What can be planted in each kind of host: parameters by width (channels, or model width)."""


def blueprints_for(host: HostKind) -> Sequence[str]:
    """Names of what can be planted in a kind of host, the cheapest kind of change first."""
    return tuple(BLUEPRINTS[host])


def parameter_count(blueprint: str, host: HostKind, width: int, blend: Blend | None = None) -> int:
    """Parameters of a seed in a slot of `width`; those of its gate too if `blend` is `gated`.

    Raises ValueError for a blueprint that the host does not have.
    """
    counts = BLUEPRINTS[host]
    if blueprint not in counts:
        raise ValueError(
            f"no blueprint {blueprint!r} for the host {host}; blueprints: {', '.join(counts)}"
        )
    return counts[blueprint](width) + (width + 1 if blend == "gated" else 0)


def host_widths(config: MorphogenesisConfig) -> tuple[int, ...]:
    """Channels of each block of a CNN: doubled over the first three, then the same. Of a GPT the
    model width alone. A `params_ratio` is not looked at."""
    if config.host == "gpt":
        return (config.width,)
    return tuple(
        config.channels * 2 ** min(block, WIDENED_BLOCKS - 1) for block in range(config.blocks)
    )


def slot_layers(config: MorphogenesisConfig) -> tuple[int, ...]:
    """After how many layers of the GPT host each of its slots comes."""
    count = len(slot_names(config))
    return tuple(ceil(config.layers * (index + 1) / count) for index in range(count))


def slot_widths(config: MorphogenesisConfig) -> dict[str, int]:
    """Width at every slot of the host: channels of a CNN, model width of a GPT."""
    names, widths = slot_names(config), host_widths(config)
    return dict(zip(names, widths if config.host == "cnn" else widths * len(names), strict=True))


def host_parameters(
    config: MorphogenesisConfig,
    classes: int,
    input_shape: Sequence[int],
    widths: Sequence[int] | None = None,
) -> int:
    """Parameters of the host without seeds.

    `classes`: classes of images, or the vocabulary. `input_shape`: [channels, height, width] of an
    image; not used by a GPT. `widths`: as of `host_widths`, which are meant if None.
    """
    widths = host_widths(config) if widths is None else widths
    if config.host == "gpt":
        w = widths[0]
        return (2 * classes + config.context) * w + config.layers * (12 * w * w + 4 * w) + 2 * w
    channels = (input_shape[0], *widths)
    convolutions = sum(9 * i * o + 2 * o for i, o in pairwise(channels))
    return convolutions + (channels[-1] + 1) * classes


def grown_parameters(config: MorphogenesisConfig, classes: int, input_shape: Sequence[int]) -> int:
    """Parameters of the host with the seeds that `slots` names grown in it.

    Raises ValueError if a named slot leaves its blueprint open.
    """
    widths = slot_widths(config)
    total = host_parameters(config, classes, input_shape)
    for name, settings in named_slots(config).items():
        if settings.blueprint is None:
            raise ValueError(
                f"params_ratio: slots.{name} names no blueprint, so that its parameters can't be "
                f"counted; name one of {', '.join(blueprints_for(config.host))}"
            )
        total += parameter_count(settings.blueprint, config.host, widths[name], settings.blend)
    return total


def widths_of_size(
    config: MorphogenesisConfig, params: int, classes: int, input_shape: Sequence[int]
) -> tuple[int, ...]:
    """Widths with which the host alone has as near to `params` parameters as widening gives.

    All widths are scaled by one factor and rounded: in a CNN each block's channels to a whole
    number, in a GPT the width to a multiple of the heads. Norms are over whole samples, so that no
    width suits them better than another.
    """
    base = host_widths(config)
    unit = 1 if config.host == "cnn" else config.heads

    def scaled(factor: float) -> tuple[int, ...]:
        return tuple(unit * max(1, round(factor * width / unit)) for width in base)

    def off(factor: float) -> int:
        return host_parameters(config, classes, input_shape, scaled(factor)) - params

    low, high = 0.0, 1.0
    while off(high) < 0:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if off(middle) < 0 else (low, middle)
    return scaled(min((low, high), key=lambda factor: abs(off(factor))))


def built_widths(
    config: MorphogenesisConfig, classes: int, input_shape: Sequence[int]
) -> tuple[int, ...]:
    """Widths of the host that is really built: with `params_ratio` those of a larger one.

    Raises ValueError if seeds are to be counted of which a blueprint is left open.
    """
    if config.params_ratio is None:
        return host_widths(config)
    params = round(config.params_ratio * grown_parameters(config, classes, input_shape))
    return widths_of_size(config, params, classes, input_shape)
