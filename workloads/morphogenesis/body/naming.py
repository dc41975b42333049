"""The slots of a host by name. Free of torch."""

from __future__ import annotations

from workloads.morphogenesis.config import MorphogenesisConfig, SlotSettings

THIRDS = ("early", "mid", "late")


def slot_names(config: MorphogenesisConfig) -> tuple[str, ...]:
    """Every slot of the host in its order along the network, whether the study names it or not.

    A CNN has one after each block, a GPT one after each third of its layers (after each layer where
    there are fewer than three).
    """
    count = config.blocks if config.host == "cnn" else min(config.layers, len(THIRDS))
    return THIRDS if count == len(THIRDS) else tuple(f"slot{index}" for index in range(count))


def named_slots(config: MorphogenesisConfig) -> dict[str, SlotSettings]:
    """Settings of the slots that the configuration names, in their order along the network.

    Raises ValueError for a name that the host does not have.
    """
    names = slot_names(config)
    strange = sorted(set(config.slots) - set(names))
    if strange:
        raise ValueError(
            f"slots: this host has no slot {', '.join(strange)}; its slots: {', '.join(names)}"
        )
    settings = {name: config.slots.get(name) for name in names}
    return {name: given for name, given in settings.items() if given is not None}
