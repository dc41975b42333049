"""What a run of the toy model keeps in its checkpoints beside weights and optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from telemetry.probes.suite import MonitorSuite
from workloads.structural_health.toy.series import Series

FILE = "observed.safetensors"
_SERIES, _WINDOW = "series/", "window/"


@dataclass(frozen=True)
class Kept:
    """The series so far, and the window that the next value is measured in."""

    series: Series
    suite: MonitorSuite

    def save(self, folder: Path) -> None:
        """Writes both as safetensors. Nothing may be on its way from the device."""
        from safetensors.torch import save_file

        tensors = {_SERIES + name: tensor for name, tensor in self.series.to_state().items()}
        for name, tensor in self.suite.to_state().items():
            tensors[_WINDOW + name] = tensor.contiguous()
        save_file(tensors, folder / FILE)

    def load(self, folder: Path) -> None:
        """Goes on from what `save` wrote."""
        from safetensors.torch import load_file

        tensors = load_file(folder / FILE)
        parts = {
            prefix: {
                name.removeprefix(prefix): tensor
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }
            for prefix in (_SERIES, _WINDOW)
        }
        self.series.restore(parts[_SERIES])
        self.suite.restore(parts[_WINDOW])
