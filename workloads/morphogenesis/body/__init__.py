"""The body that grows: a host with slots, the life of the seeds in them, and what judges it.

What is here loads no torch. The modules themselves are in `slot`, `blueprints` and `hosts`
(`hosts.build_host` makes the whole).
"""

from workloads.morphogenesis.body.blends import alpha_schedule, blend_alpha
from workloads.morphogenesis.body.gates import GateResult
from workloads.morphogenesis.body.naming import named_slots, slot_names
from workloads.morphogenesis.body.sizes import (
    BLUEPRINTS,
    blueprints_for,
    built_widths,
    host_parameters,
    host_widths,
    parameter_count,
    slot_widths,
    widths_of_size,
)
from workloads.morphogenesis.body.stages import (
    ACTIVE,
    CULLABLE,
    EMBARGO_EPOCHS,
    TRANSITIONS,
    IllegalTransition,
    Lifecycle,
)

__all__ = [
    "ACTIVE",
    "BLUEPRINTS",
    "CULLABLE",
    "EMBARGO_EPOCHS",
    "TRANSITIONS",
    "GateResult",
    "IllegalTransition",
    "Lifecycle",
    "alpha_schedule",
    "blend_alpha",
    "blueprints_for",
    "built_widths",
    "host_parameters",
    "host_widths",
    "named_slots",
    "parameter_count",
    "slot_names",
    "slot_widths",
    "widths_of_size",
]
