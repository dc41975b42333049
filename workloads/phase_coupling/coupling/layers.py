"""Which block and which site: what can be said of them without torch, before anything is loaded."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Final

from workloads.errors import InputError, did_you_mean

SITES: Final = ("residual", "mixer", "before_norm", "logits")
"""Where oscillators can be joined to a model; every known family has all of them."""
FAMILIES: Final = ("llama", "mamba", "mamba2", "qwen2", "rwkv")
"""The values of `model_type` in a model's config.json whose blocks are known."""


def resolve_layer(layer: int | str, blocks: int) -> int:
    """The block that is meant, counted from 0, in a model of so many.

    A share of the depth is rounded to the nearest block, a half down, so that "1/2" of an odd
    number is the middle one; the whole depth is the last block.

    >>> resolve_layer("32/64", 64), resolve_layer("1/2", 3), resolve_layer("1/1", 4)
    (32, 1, 3)

    Raises `InputError` for a block beyond the model, a share outside 0 to 1, and any other text.
    """
    if isinstance(layer, bool) or not isinstance(layer, int | str):
        raise InputError(f"layer={layer!r} is no block and no share: {_valid(blocks)}")
    if isinstance(layer, int) or layer.strip().isdecimal():
        index = int(layer)
        if not 0 <= index < blocks:
            raise InputError(f"layer={index} is beyond the model: {_valid(blocks)}")
        return index
    share = _share(layer, blocks)
    return min(math.ceil(share * blocks - Fraction(1, 2)), blocks - 1)


def check_family(model_type: str, model: str) -> None:
    """Refuses (`InputError`) a model in whose blocks no site is known."""
    if model_type not in FAMILIES:
        raise InputError(
            f"model {model} is of the type {model_type!r}, whose blocks are not known here; "
            f"valid: {', '.join(FAMILIES)}"
        )


def check_site(site: str) -> None:
    """Refuses (`InputError`) a word that is no site."""
    if site not in SITES:
        raise InputError(f"site={site!r} is not known; {did_you_mean(site, SITES)}")


def _share(layer: str, blocks: int) -> Fraction:
    written = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", layer)
    if not written:
        raise InputError(f"layer={layer!r} is no block and no share: {_valid(blocks)}")
    if int(written[2]) == 0:
        raise InputError(f"layer={layer!r} divides by 0: {_valid(blocks)}")
    share = Fraction(int(written[1]), int(written[2]))
    if share > 1:
        raise InputError(f"layer={layer!r} is beyond the model: {_valid(blocks)}")
    return share


def _valid(blocks: int) -> str:
    return (
        f"the model has {blocks} blocks; give 0 to {blocks - 1}, or a share of the depth from "
        "'0/1' to '1/1', such as '1/2'"
    )
