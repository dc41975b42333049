"""How a text begins for the oscillators while they are measured: drawn, carried, set or held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.phase_coupling.config import PhaseCouplingConfig
from workloads.training import stream_seed

if TYPE_CHECKING:
    from torch import Tensor

    from workloads.phase_coupling.coupling.attach import Coupling


@dataclass(frozen=True)
class Beginnings:
    """Begins batches of texts as the configuration says.

    Random phases are drawn by the text's id, so that a text's are the same whatever is read with
    it, and in every arm of the same seed.
    """

    config: PhaseCouplingConfig
    seed: int

    def begin(self, coupling: Coupling, units: Sequence[str]) -> None:
        """A batch of these texts begins."""
        if self.config.mode == "off":
            return
        target = self._target_phases(coupling.core.oscillators)
        coupling.begin(len(units), [stream_seed(self.seed, f"phases/{unit}") for unit in units])
        coupling.hold(target if self.config.hold else None)
        if target is not None and not self.config.hold:
            coupling.set(target, len(units))

    def batch_size(self, largest: int) -> int:
        """Texts that are read at once: one where phases go on from text to text."""
        carried = self.config.mode != "off" and self.config.state == "carried"
        return 1 if carried else largest

    def _target_phases(self, oscillators: int) -> Tensor | None:
        """[oscillators]: phases of the order parameter that is asked for; None if none is."""
        if self.config.target_r is None:
            return None
        from workloads.phase_coupling.cores.phases import linspace_phases
        from workloads.phase_coupling.cores.solver import phases_for

        make = phases_for if self.config.set_by == "solver" else linspace_phases
        return make(self.config.target_r, oscillators)
