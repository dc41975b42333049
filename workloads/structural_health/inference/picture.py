"""The phase plot as a picture. Drawn on an Agg canvas of its own, so no display is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from workloads.structural_health.inference.metrics import ZONE
from workloads.structural_health.inference.phase import (
    COLOURS,
    ENTROPY_TITLE,
    KAPPA_TITLE,
    NO_KAPPA,
    Point,
    by_group,
    kappa_range,
)

DPI = 150


def draw_phase(points: Sequence[Point], path: Path) -> Path:
    """Every chunk as a point, a colour for each group, and each group's medians as a large one.

    Chunks without a consistency stand in a strip of their own at the left. Gives `path`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    strip, panel = figure.subplots(1, 2, sharey=True, width_ratios=(1, 9))
    panel.axvspan(*ZONE, color="0.85", zorder=0, label=f"κ {ZONE[0]:g} to {ZONE[1]:g}")
    groups = by_group(points)
    for number, (group, of) in enumerate(groups.items()):
        colour = COLOURS[number % len(COLOURS)]
        known = [(p.row.kappa, p.row.entropy) for p in of if p.row.kappa is not None]
        without = [p.row.entropy for p in of if p.row.kappa is None]
        place = [(number + 1) / (len(groups) + 1)] * len(without)
        strip.plot(place, without, "x", color=colour, markersize=5, alpha=0.7)
        panel.plot([], [], "o", color=colour, label=group)
        if known:
            kappas, entropies = zip(*known, strict=True)
            panel.plot(kappas, entropies, "o", color=colour, markersize=3, alpha=0.4)
            panel.plot(
                [median(kappas)],
                [median(entropies)],
                "o",
                color=colour,
                markersize=10,
                markeredgecolor="black",
            )
    strip.set_xlim(0, 1)
    strip.set_xticks([])
    strip.set_xlabel(NO_KAPPA)
    strip.set_ylabel(ENTROPY_TITLE)
    panel.set_xlim(*kappa_range(points))
    panel.set_xlabel(KAPPA_TITLE)
    for one in (strip, panel):
        one.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    figure.suptitle("Every chunk; large: medians of a regime's chunks that have a κ", fontsize=10)
    figure.savefig(path, dpi=DPI)
    return path
