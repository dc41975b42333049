"""What monitors report, and when what a trial has watched is enough. Importable without torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Final

from workloads.errors import InputError, nearest

if TYPE_CHECKING:
    from workloads.contract import WorkloadConfig

PREFIX: Final = "health/"
"""How the names of what monitors report begin."""
MONITORS, WINDOW, LAYER = "monitors", "monitor_window", "monitor_layer"
"""The settings, as every configuration names them."""
SETTINGS: Final = (MONITORS, WINDOW, LAYER)
WINDOWED: Final = frozenset({"svd_ratio", "rank", "effective_rank", "implied_cosine"})
"""Monitors that look at a window of steps: they have no value before it is full."""

DESCRIPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "svd_ratio": ("Largest singular value of the window's hidden states over their sum", ""),
    "rank": ("Singular values of the window above 1e-6 of the largest", ""),
    "effective_rank": ("Exponential of the entropy of the window's singular values", ""),
    "implied_cosine": ("Mean pairwise cosine of the window that the SVD ratio implies", ""),
    "layer_delta": ("1 - cosine of the last two blocks' hidden states", ""),
    "activation_energy": ("Norm of the last block's hidden state", ""),
    "entropy": ("Entropy of the next token's distribution", "nats"),
    "margin": ("Likeliest next token's probability less the second's", ""),
}
"""By monitor, what its row says and in which unit."""
_SLIP: Final = 0.9
"""Names this much alike are one name and a slip of the finger."""
FLAGS: Final[Mapping[str, str]] = {
    "collapsed": "Whether the SVD ratio is above its threshold (1) or not (0)",
    "nonfinite": "Whether a hidden state within the window is NaN or infinite (1) or not (0)",
}
"""Rows that come with the monitors; what one rank sees counts."""


def watched_enough(
    observed: Mapping[str, Any], asked: Mapping[str, Any], by_default: Mapping[str, Any]
) -> bool:
    """Whether what an outcome has watched holds what is asked for beyond the workload's default.

    All three hold some of `SETTINGS`. What is watched by default is no reason to train again: an
    outcome from before there were monitors is as good as another. What is asked for beyond it has
    to have been seen in the same window, and in the same layer.
    """
    default, seen = set(by_default[MONITORS]), set(observed.get(MONITORS, ()))
    wanted = set(asked.get(MONITORS, ()))
    if not wanted - default <= seen:
        return False
    for name, readers in ((WINDOW, wanted & WINDOWED), (LAYER, wanted)):
        if name not in asked or not readers or observed.get(name) == asked[name]:
            continue
        if asked[name] != by_default[name] or readers - default:
            return False
    return True


def check_window(config: WorkloadConfig, steps: int, what: str) -> None:
    """Refuses a window that the trial's `steps` never fill. The default one may be too long: then
    nothing that needs it is measured. Raises `InputError`.

    `what`: the steps in words, as "steps of training".
    """
    fields = type(config).model_fields
    asked = (config.monitors, config.monitor_window)
    if asked == (fields[MONITORS].default, fields[WINDOW].default):
        return
    windowed = _listed(WINDOWED.intersection(config.monitors))
    if windowed and config.monitor_window > steps:
        raise InputError(
            f"monitor_window={config.monitor_window}: the trial has {steps} {what}, so {windowed} "
            f"would never be measured; give 2 to {steps}"
            + ("" if steps >= 2 else ", or more of them")
        )


def check_layer(
    layer: str | None, weighted: Collection[str], setting: str = "monitor_layer"
) -> None:
    """Refuses the name of a module that the model does not have. Raises `InputError`.

    `weighted`: the full names of its modules with weights, without torch all that is known. What
    holds some of them is a module too, and what lies within one and is like none of its parts may
    be: an activation function has no weights, and whoever loads the model will know.
    """
    if layer is None:
        return
    split = [name.split(".") for name in weighted]
    known = {".".join(parts[:depth]) for parts in split for depth in range(1, len(parts) + 1)}
    # As PEFT names it, and as a head puts one more name before those of its body's own file.
    plain = layer.removeprefix("base_model.model.")
    if plain == "lm_head" or {plain, plain.partition(".")[2]} & known:
        return
    parent, _, last = plain.rpartition(".")
    near = nearest(plain, known)
    alike = near is not None and SequenceMatcher(None, plain, near).ratio() > _SLIP
    if parent in known and not last.isdigit() and not alike:
        return
    hint = f"did you mean {near}?" if near else f"give a module's name, such as {max(known)}."
    raise InputError(f"{setting}: this model has no module '{layer}'; {hint}")


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
