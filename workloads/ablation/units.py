"""The parts of a model that have a switch, by name and in their order along the network."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workloads.ablation.config import MOST, AblationConfig
from workloads.errors import InputError, did_you_mean
from workloads.models import describe

_NAME = re.compile(r"L(\d+)(?:H(\d+))?")


@dataclass(frozen=True, order=True)
class Part:
    """A layer (or its adapters), or one head of it. Counted from 0."""

    layer: int
    head: int | None = None

    @property
    def name(self) -> str:
        """`L3`, or `L3H0`."""
        return f"L{self.layer}" if self.head is None else f"L{self.layer}H{self.head}"


def part(name: str) -> Part:
    """The part of that name. Raises `InputError` for what is no name."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError(f"which: '{name}' names no part; valid: L3 (a layer) or L3H0 (a head)")
    return Part(int(match[1]), None if match[2] is None else int(match[2]))


def switched_parts(config: AblationConfig) -> tuple[Part, ...]:
    """The parts with a switch, in order along the network. Reads the model's description only.

    Raises `InputError` for a part that the model does not have, for a head and its layer together,
    and for more than 12 parts.
    """
    valid = _parts_of(config)
    found: list[Part] = []
    for name in config.which or [each.name for each in valid]:
        asked = part(name)
        heads = [each for each in valid if each.head is not None and each.layer == asked.layer]
        if config.units == "heads" and asked.head is None and heads:
            found += heads
        elif asked in valid:
            found.append(asked)
        else:
            names = [each.name for each in valid]
            raise InputError(
                f"which: the model has no {name} to switch ({config.units}: {names[0]} to "
                f"{names[-1]}); {did_you_mean(name, names)}. 'which' may be of the study or its "
                "preset: -s which=null gives every part a switch"
            )
    twice = sorted({each.name for each in found if found.count(each) > 1})
    if twice:
        raise InputError(
            f"which: {', '.join(twice)} is named twice, by itself and with its layer: switches "
            "must not overlap; leave one out"
        )
    if len(found) > MOST:
        example = ", ".join(each.name for each in valid[:3])
        raise InputError(
            f"{len(found)} {config.units} would have a switch, and {MOST} can; name some: "
            f"-s 'which=[{example}]'"
        )
    return tuple(sorted(found))


def _parts_of(config: AblationConfig) -> list[Part]:
    shape = describe(config.model)
    if config.units != "heads":
        return [Part(layer) for layer in range(shape.layers)]
    text = shape.config.get("text_config", shape.config)
    heads = next((text[key] for key in ("num_attention_heads", "n_head") if key in text), None)
    if not isinstance(heads, int):
        raise InputError(
            f"the config.json of {config.model} does not say how many attention heads there are; "
            "give units=layers"
        )
    return [Part(layer, head) for layer in range(shape.layers) for head in range(heads)]
