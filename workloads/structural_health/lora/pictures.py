"""The picture of the trajectories, drawn on an Agg canvas of its own: no display, no pyplot."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from workloads.structural_health.lora.metrics import BAND
from workloads.structural_health.lora.series import Series

_PANELS = {
    "sv_ratio": "ratio of singular values",
    "implied_cosine": "mean pairwise cosine it implies",
    "loss": "loss of the batch, nats",
}
_STYLES = ("-", (0, (1, 2)), "-.", (0, (2, 3)), (0, (4, 3)))
_TAIL = 10.0
"""The shaded band of an arm leaves out so many per cent of the runs on either side."""


def draw_trajectories(
    arms: Mapping[str, Mapping[int, Series]], thresholds: Collection[float], path: Path
) -> Path:
    """Median over runs by step, and where the middle 80 % lie; a colour per arm."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(_PANELS))
    for panel, (column, title) in zip(panels, _PANELS.items(), strict=True):
        for number, (arm, several) in enumerate(arms.items()):
            runs = [one.columns.get(column, []) for one in several.values()]
            _draw_arm(panel, runs, arm, number)
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("step")
        panel.grid(alpha=0.3)
    panels[0].axhspan(*BAND, color="#2a9d55", alpha=0.12, linewidth=0)
    for threshold in thresholds:
        panels[0].axhline(threshold, color="#c0392b", linestyle=":", linewidth=1)
    panels[0].set_ylim(0, 1.02)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=6, fontsize=8, loc="outside lower center")
    figure.suptitle(
        "Median of the runs and their middle 80 %. Green: the band that is claimed, at a window of "
        "5. Dotted: the threshold of a collapse",
        fontsize=9,
    )
    figure.savefig(path, dpi=130)
    return path


def _draw_arm(panel: Any, columns: Sequence[Sequence[float | None]], arm: str, number: int) -> None:
    """Of lines that lie on each other, the dashes of the later one leave the earlier to be seen."""
    import numpy as np

    steps, middle, low, high = [], [], [], []
    for step in range(max(map(len, columns), default=0)):
        here = [
            value
            for column in columns
            if step < len(column) and (value := column[step]) is not None and math.isfinite(value)
        ]
        if here:
            steps.append(step + 1)
            middle.append(float(np.median(here)))
            low.append(float(np.percentile(here, _TAIL)))
            high.append(float(np.percentile(here, 100 - _TAIL)))
    colour, style = f"C{number}", _STYLES[number % len(_STYLES)]
    panel.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)
    panel.plot(steps, middle, color=colour, linestyle=style, linewidth=2, label=arm)
