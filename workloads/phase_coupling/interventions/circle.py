"""The order parameter on the circle: where the mean of all oscillators goes, token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workloads.phase_coupling.interventions.kept import Floats, Run

_COLUMNS = 5
_MOST_DOTS = 256
"""Of a core with an oscillator per channel, so many are shown."""


def mean_field(phases: Floats) -> Floats:
    """Real and imaginary part [..., 2] of the mean of exp(i phase), from phases [..., N]; its
    length is R."""
    return np.stack([np.cos(phases).mean(-1), np.sin(phases).mean(-1)], axis=-1)


def first_phases(runs: Sequence[Run]) -> Mapping[str, Run]:
    """By arm, the first run that kept phases."""
    found: dict[str, Run] = {}
    for run in runs:
        if run.phases.size:
            found.setdefault(run.arm, run)
    return found


def draw_circles(runs: Mapping[str, Run], path: Path) -> Path:
    """A circle per arm: the path of the mean field over the tokens of one text, dark to light, and
    the oscillators at its last token. Gives `path`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(runs))
    rows = -(-len(runs) // columns)
    figure = Figure(figsize=(2.7 * columns, 2.9 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for panel, (arm, run) in zip(panels, runs.items(), strict=False):
        _draw_arm(panel, arm, run)
    for panel in panels[len(runs) :]:
        panel.set_visible(False)
    figure.suptitle(
        "Oscillators at the last token of the first test text (open), and the path of their mean "
        "over its tokens, dark to light; red: where the mean ends, as long as R. One seed",
        fontsize=9,
    )
    figure.savefig(path, dpi=130)
    return path


def _draw_arm(panel: Any, arm: str, run: Run) -> None:
    around = np.linspace(0, 2 * np.pi, 181)
    panel.plot(np.cos(around), np.sin(around), color="0.7", linewidth=1)
    field = mean_field(run.phases)
    last = run.phases[-1][:_MOST_DOTS]
    panel.plot(np.cos(last), np.sin(last), "o", color="C0", markerfacecolor="none", markersize=6)
    panel.plot(field[:, 0], field[:, 1], color="0.6", linewidth=0.8)
    order = np.arange(len(field))
    panel.scatter(field[:, 0], field[:, 1], c=order, cmap="viridis", s=12, zorder=3)
    panel.plot([0, field[-1, 0]], [0, field[-1, 1]], color="C3", linewidth=1.5)
    panel.set_title(f"{arm}: R = {np.hypot(*field[-1]):.3f}", fontsize=9)
    panel.set_aspect("equal")
    panel.set_xlim(-1.15, 1.15)
    panel.set_ylim(-1.15, 1.15)
    panel.set_xticks([])
    panel.set_yticks([])
