"""The workload `structural_health`. Importing it loads no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from workloads.contract import Metric, Result, TrialContext, Workload
from workloads.errors import InputError
from workloads.structural_health.config import StructuralHealthConfig
from workloads.structural_health.metrics import METRICS
from workloads.structural_health.toy.series import COLUMNS

_READ_BY: Mapping[str, frozenset[str]] = {
    "onset": frozenset(
        {"numeric_explosion", "representation_collapse", "true_collapse", "slow_collapse"}
    ),
    "ramp": frozenset({"representation_collapse", "true_collapse", "slow_collapse"}),
    "exploding_learning_rate": frozenset({"numeric_explosion"}),
    "pull": frozenset({"slow_collapse"}),
}
"""Which faults read a field; for the others it says nothing."""


class StructuralHealth(Workload[StructuralHealthConfig]):
    """A toy transformer trains, healthy or with a fault, and is measured at every step."""

    name: ClassVar[str] = "structural_health"
    version: ClassVar[int] = 1
    reusable: ClassVar[bool] = True
    Config: ClassVar[type[StructuralHealthConfig]] = StructuralHealthConfig
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    score_columns: ClassVar[Mapping[str, Sequence[str]]] = {"steps": COLUMNS}
    sources: ClassVar[tuple[str, ...]] = (
        "workloads.structural_health.config",
        "workloads.structural_health.metrics",
        "workloads.structural_health.workload",
        "workloads.structural_health.toy",
        "workloads.training",
        "telemetry.probes",  # which make the scores here
    )

    def resolve(self, config: StructuralHealthConfig) -> StructuralHealthConfig:
        """What the fault does not read returns to its default: healthy runs are healthy runs."""
        unread: dict[str, Any] = {
            name: StructuralHealthConfig.model_fields[name].default
            for name, faults in _READ_BY.items()
            if config.fault not in faults
        }
        return config.model_copy(update=unread)

    def check(self, config: StructuralHealthConfig) -> None:
        """Refuses a model that cannot be built, and what the run is too short to show."""
        if config.width % config.heads:
            raise InputError(
                f"width={config.width} cannot be shared among heads={config.heads}: give a "
                "multiple of heads."
            )
        if config.monitor_window > config.steps:
            raise InputError(
                f"monitor_window={config.monitor_window} is never full in steps={config.steps}: "
                f"give a window of 2 to {config.steps}, or more steps."
            )
        if config.collapse_threshold < 1 / config.monitor_window:
            raise InputError(
                f"collapse_threshold={config.collapse_threshold:g}: of {config.monitor_window} "
                f"vectors no ratio is below {1 / config.monitor_window:.6g}; give a threshold "
                "from there to 1."
            )
        if config.fault != "healthy" and config.onset >= config.steps:
            raise InputError(
                f"onset={config.onset}: the run has ended by then (steps 0 to {config.steps - 1})."
            )
        if config.monitor_layer is not None:
            raise InputError(
                f"monitor_layer={config.monitor_layer}: structural_health always watches its last "
                "layer; leave monitor_layer out."
            )

    def factors(self, config: StructuralHealthConfig) -> Mapping[str, str | int | float]:
        """The fault, and when it sets in."""
        if config.fault == "healthy":
            return {"fault": config.fault}
        return {"fault": config.fault, "onset": config.onset}

    def covers(self, observed: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
        """How often a trial saved on its way is no reason to run it again."""
        read = {name: value for name, value in asked.items() if name != "checkpoint_steps"}
        return super().covers(observed, read)

    def run(self, config: StructuralHealthConfig, context: TrialContext) -> Result:
        """Trains one model to the last step, whatever becomes of it."""
        from workloads.structural_health.toy.trial import run_trial

        return run_trial(config, context)
