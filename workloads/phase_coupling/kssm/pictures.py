"""Pictures of training and of the oscillators, on an Agg canvas: no display, no pyplot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from workloads.phase_coupling.kssm.summary import Run

_PANELS = {"ce": "cross-entropy of the batch, nats", "loss": "the same with the loss's terms"}
_OSCILLATING = {"r": "R, mean over tokens", "u": "u, mean over tokens"}
_LEVELS = (0.10, 0.30, 0.40, 0.55, 0.80)
"""Where tones of R part."""
_U_SHOWN = (-3.0, 11.0)
"""A u that is held in no bounds goes far beyond at times."""


def draw_training(runs: Mapping[str, Mapping[int, Run]], path: Path) -> Path:
    """The median over seeds by step, with the range over seeds; a colour per arm."""
    figure = _figure(13.0, 4.4)
    panels = figure.subplots(1, 4)
    for panel, (column, title) in zip(panels, (_PANELS | _OSCILLATING).items(), strict=True):
        for number, (arm, several) in enumerate(runs.items()):
            columns = [run.history.columns.get(column, []) for run in several.values()]
            _draw_arm(panel, columns, f"C{number}", arm)
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("step")
        panel.grid(alpha=0.3)
    panels[2].set_ylim(0, 1)
    panels[3].set_ylim(*_U_SHOWN)
    for level in _LEVELS:
        panels[2].axhline(level, color="#888888", linestyle=":", linewidth=0.8)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=5, fontsize=8, loc="outside lower center")
    figure.suptitle("Training: median over seeds and their range. Dotted: where tones part")
    figure.savefig(path, dpi=130)
    return path


def draw_oscillators(runs: Mapping[str, Mapping[int, Run]], path: Path) -> Path:
    """By arm: the learned angles of the first seed's blocks on the circle with their order
    parameter as an arrow, and how R is distributed on test texts, all seeds together."""
    figure = _figure(3.2 * len(runs) + 0.6, 6.0)
    for number, (arm, several) in enumerate(runs.items()):
        circle = figure.add_subplot(2, len(runs), number + 1, projection="polar")
        first = several[min(several)]
        for block, phases in enumerate(first.phases):
            _draw_circle(circle, np.asarray(phases), block)
        circle.set_ylim(0, 1.4)
        circle.set_yticks([0.5, 1.0])
        circle.set_yticklabels([])
        circle.set_title(arm, fontsize=10)
        below = figure.add_subplot(2, len(runs), len(runs) + number + 1)
        counts = [run.histogram for run in several.values() if run.histogram is not None]
        _draw_histogram(below, np.sum(counts, axis=0))
    figure.suptitle(
        "Learned angles of each block with their order parameter, and R on test texts", fontsize=10
    )
    figure.savefig(path, dpi=130)
    return path


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw_arm(panel: Any, columns: Sequence[Sequence[float | None]], colour: str, arm: str) -> None:
    length = max(map(len, columns), default=0)
    table = np.full((len(columns), length), np.nan)
    for row, column in zip(table, columns, strict=True):
        row[: len(column)] = [np.nan if value is None else value for value in column]
    measured = ~np.isnan(table).all(axis=0)
    steps, values = np.flatnonzero(measured) + 1, table[:, measured]
    if not len(steps):
        panel.plot([], [], color=colour, label=arm)
        return
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    panel.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
    panel.plot(steps, np.nanmedian(values, axis=0), color=colour, linewidth=1.5, label=arm)


def _draw_circle(panel: Any, phases: np.ndarray[Any, Any], block: int) -> None:
    ring = 1.0 + 0.12 * block
    panel.plot(phases, np.full(len(phases), ring), ".", color=f"C{block}", markersize=4)
    mean = np.exp(1j * phases).mean()
    panel.plot([np.angle(mean)] * 2, [0, abs(mean)], color=f"C{block}", linewidth=2)


def _draw_histogram(panel: Any, counts: np.ndarray[Any, Any]) -> None:
    edges = np.linspace(0, 1, len(counts) + 1)
    shares = counts / max(1, counts.sum())
    panel.bar(edges[:-1], shares, width=np.diff(edges), align="edge", color="#4c72b0")
    for level in _LEVELS:
        panel.axvline(level, color="#888888", linestyle=":", linewidth=0.8)
    panel.set_xlim(0, 1)
    panel.set_xlabel("R")
    panel.set_ylabel("share of tokens")
