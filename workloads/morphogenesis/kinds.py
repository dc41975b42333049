"""What kind of network an arm's trials train, as the summary's tables and pictures name it."""

from __future__ import annotations

from workloads.views import TrialView

ALONE, LARGER = HOSTS = ("host alone", "larger host")
"""Hosts that grow nothing."""
GROWN = "grown"
AT_ONCE = "seeds from the start"


def is_host_alone(trial: TrialView) -> bool:
    """Whether a trial is the host of the configured size in which nothing grew."""
    return kind_of(trial) == ALONE


def kind_of(trial: TrialView) -> str:
    """One of `HOSTS`, `GROWN` and `AT_ONCE`."""
    config = trial.config
    if config.get("params_ratio") is not None:
        return LARGER
    named = any(slot is not None for slot in (config.get("slots") or {}).values())
    if config.get("policy") == "none" or not named:
        return ALONE
    return AT_ONCE if config.get("policy") == "static" else GROWN
