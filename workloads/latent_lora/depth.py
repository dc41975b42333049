"""How many layers LoRA adapts: an absolute count, a fraction of the depth, or all."""

from __future__ import annotations

import re
from fractions import Fraction

from workloads.errors import InputError

ALL = "all"


def parse_layers(layers: int | str) -> int | Fraction:
    """An absolute count as int, a share of the depth as Fraction ("all" is 1).

    >>> parse_layers("8/32"), parse_layers("all"), parse_layers(8), parse_layers("8")
    (Fraction(1, 4), Fraction(1, 1), 8, 8)

    Raises `InputError` for a count below 1, a share outside (0, 1] or any other text.
    """
    if isinstance(layers, int) or layers.isdecimal():
        if int(layers) < 1:
            raise InputError(f"lora.layers={layers}: at least 1 layer, or lora: null for none.")
        return int(layers)
    if layers == ALL:
        return Fraction(1)
    written = re.fullmatch(r"(\d+)/(\d+)", layers)
    if not written or int(written[2]) == 0:
        raise InputError(
            f"lora.layers={layers!r}: give a count (8), a share of the depth ('8/32') or 'all'."
        )
    share = Fraction(int(written[1]), int(written[2]))
    if not 0 < share <= 1:
        raise InputError(f"lora.layers={layers!r}: a share of the depth lies above 0 and up to 1.")
    return share


def layer_count(layers: int | str, depth: int) -> int:
    """The number of adapted layers in a model of `depth` layers: shares are rounded half up.

    >>> [layer_count(share, 8) for share in ("8/32", "12/32", "16/32", "all")]
    [2, 3, 4, 8]
    >>> layer_count("12/32", 5), layer_count("1/32", 5)
    (2, 1)

    Raises `InputError` for an absolute count beyond the depth.
    """
    parsed = parse_layers(layers)
    if isinstance(parsed, Fraction):
        return max(1, int(parsed * depth + Fraction(1, 2)))
    if parsed > depth:
        raise InputError(
            f"lora.layers={parsed}: the model has {depth} layers. "
            f"Give 1 to {depth}, a share of the depth such as '8/32', or 'all'."
        )
    return parsed
