"""Why a decision was made and what it was worth, in words and in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from telemetry.contracts import FactoredAction, RewardComponents
from workloads.morphogenesis.policies.rewards import PARTS

SHOWN = 3


def reward_parts(components: RewardComponents) -> dict[str, float]:
    """The parts that are not 0, the largest first; they sum to the total reward."""
    parts = {name: getattr(components, name) for name in PARTS}
    present = {name: value for name, value in parts.items() if value}
    return dict(sorted(present.items(), key=lambda item: -abs(item[1])))


def explain_reward(components: RewardComponents) -> str:
    """The reward in one line: its total, and the parts it comes from.

    >>> explain_reward(RewardComponents(total_reward=1.5, bounded_attribution=2.0,
    ...     compute_rent=-0.5))
    'reward +1.50: bounded attribution +2.00, compute rent -0.50'
    """
    total = components.total_reward
    told = "n/a" if total is None else f"{total:+.2f}"
    parts = ", ".join(
        f"{name.replace('_', ' ')} {value:+.2f}" for name, value in reward_parts(components).items()
    )
    return f"reward {told}: {parts}" if parts else f"reward {told}"


def explain_choice(
    action: FactoredAction, odds: Mapping[str, float], influence: Mapping[str, float]
) -> str:
    """A learned decision in one line: how likely it was, and what moved it most.

    `odds`: probability by action, of op and slot. `influence`: by entry of the observation, how
    much the log probability of the action owes to it (see `influential`).
    """
    chosen = odds.get(str(action))
    others = sorted(
        ((name, p) for name, p in odds.items() if name != str(action) and p >= 0.005),
        key=lambda item: -item[1],
    )[: SHOWN - 1]
    what = f"{action}" + (f" of {action.blueprint}, {action.blend}" if action.blueprint else "")
    told = f"{what} with probability {'n/a' if chosen is None else f'{chosen:.2f}'}"
    if others:
        told += " over " + ", ".join(f"{name} {p:.2f}" for name, p in others)
    if influence:
        told += "; moved by " + ", ".join(f"{name} {v:+.2f}" for name, v in influence.items())
    return told


def influential(
    names: Sequence[str], observation: Sequence[float], gradient: Sequence[float]
) -> dict[str, float]:
    """The entries that moved a log probability most: gradient times entry, of the first order."""
    moved = {
        name: value * slope
        for name, value, slope in zip(names, observation, gradient, strict=True)
        if abs(value * slope) >= 0.005
    }
    return dict(sorted(moved.items(), key=lambda item: -abs(item[1]))[:SHOWN])
