"""Probes of hidden states, and monitors that watch them: they observe, and change nothing.

In a loop of one's own:

    from telemetry.probes import MonitorSuite
    suite = MonitorSuite.attach(model, monitors=("svd_ratio",))
    status = suite.observe(step)        # after the forward of each step

Names are loaded when they are first used: importing this package imports neither torch nor numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from telemetry.probes.discovery import (
        Blocks,
        LayerNotFoundError,
        find_blocks,
        module_named,
    )
    from telemetry.probes.gram import GramWindow
    from telemetry.probes.health import HealthState, HealthStatus, TrainingMonitor
    from telemetry.probes.positions import last_token, last_token_position
    from telemetry.probes.probes import (
        ActivationEnergyProbe,
        EffectiveRankProbe,
        EntropyProbe,
        LayerDeltaProbe,
        MarginProbe,
        MultiProbe,
        Probe,
        SVDProbe,
    )
    from telemetry.probes.spectrum import (
        effective_rank,
        implied_cosine,
        normalised_ratio,
        numerical_rank,
        ratio_of_cosine,
        sv_ratio,
    )
    from telemetry.probes.suite import MonitorSuite
    from telemetry.probes.trainer import HealthCallback

__all__ = [
    "MonitorSuite",
    "HealthCallback",
    "TrainingMonitor",
    "HealthStatus",
    "HealthState",
    "Probe",
    "SVDProbe",
    "EffectiveRankProbe",
    "EntropyProbe",
    "MarginProbe",
    "LayerDeltaProbe",
    "ActivationEnergyProbe",
    "MultiProbe",
    "GramWindow",
    "sv_ratio",
    "numerical_rank",
    "effective_rank",
    "ratio_of_cosine",
    "implied_cosine",
    "normalised_ratio",
    "last_token",
    "last_token_position",
    "Blocks",
    "find_blocks",
    "module_named",
    "LayerNotFoundError",
]

_HOMES = {
    "MonitorSuite": "suite",
    "HealthCallback": "trainer",
    "TrainingMonitor": "health",
    "HealthStatus": "health",
    "HealthState": "health",
    "Probe": "probes",
    "SVDProbe": "probes",
    "EffectiveRankProbe": "probes",
    "EntropyProbe": "probes",
    "MarginProbe": "probes",
    "LayerDeltaProbe": "probes",
    "ActivationEnergyProbe": "probes",
    "MultiProbe": "probes",
    "GramWindow": "gram",
    "sv_ratio": "spectrum",
    "numerical_rank": "spectrum",
    "effective_rank": "spectrum",
    "ratio_of_cosine": "spectrum",
    "implied_cosine": "spectrum",
    "normalised_ratio": "spectrum",
    "last_token": "positions",
    "last_token_position": "positions",
    "Blocks": "discovery",
    "find_blocks": "discovery",
    "module_named": "discovery",
    "LayerNotFoundError": "discovery",
}


def __getattr__(name: str) -> Any:
    """Loads a public name from the module that holds it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
