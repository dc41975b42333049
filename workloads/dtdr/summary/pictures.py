"""Pictures of curves, with bands. Drawn on Agg canvases of their own, so no display is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from workloads.dtdr.summary.naming import LABELS, METRICS, label_of, wide
from workloads.views import CurveView, Estimate

DPI = 150
COLUMNS = 3
_STYLES = ("-", "--", "-.", ":")
_METRIC, _BESIDE = "top10_overlap", "cosine"


def draw_by_path(curves: Sequence[CurveView], along: str, path: Path) -> Path:
    """A panel for each path, a colour for each arm: what a codec changes. Gives `path`."""
    return _draw(curves, along, path, lambda c: c.path, label_of)


def draw_by_arm(curves: Sequence[CurveView], along: str, path: Path) -> Path:
    """A panel for each arm with several paths, a colour for each path: what domain and fill change.
    Gives `path`."""
    several = [one for one in curves if sum(c.arm == one.arm for c in curves) > 1]
    return _draw(several or curves, along, path, label_of, lambda c: c.path)


def _draw(
    curves: Sequence[CurveView],
    along: str,
    path: Path,
    panel_of: Callable[[CurveView], str],
    line_of: Callable[[CurveView], str],
) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    titles = list(dict.fromkeys(map(panel_of, curves)))
    names = list(dict.fromkeys(map(line_of, curves)))
    columns = min(COLUMNS, len(titles))
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(4.2 * columns + 1.0, 3.2 * rows + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for panel, title in zip(grid, titles, strict=False):
        for curve in (one for one in curves if panel_of(one) == title):
            number = names.index(line_of(curve))
            _line(panel, curve, f"C{number % 10}", _STYLES[number % len(_STYLES)])
        _frame(panel, title, [one for one in curves if panel_of(one) == title], along)
    for spare in grid[len(titles) :]:
        spare.set_visible(False)
    for number, name in enumerate(names):
        style = _STYLES[number % len(_STYLES)]
        grid[0].plot([], [], style, color=f"C{number % 10}", label=name)
    figure.legend(loc="outside right upper", fontsize=8)
    figure.suptitle(f"{METRICS[_METRIC]} (thin: {METRICS[_BESIDE]})", fontsize=10)
    figure.savefig(path, dpi=DPI)
    return path


def _line(panel: Any, curve: CurveView, colour: str, style: str) -> None:
    levels = curve.metrics.get(_METRIC, ())
    known = [(v, one) for v, one in zip(curve.values, levels, strict=False) if _known(one)]
    panel.plot(
        [v for v, _ in known],
        [one.value for _, one in known],
        style,
        color=colour,
        marker=".",
        linewidth=1.4,
    )
    banded = [(v, one) for v, one in known if one.low is not None and one.high is not None]
    panel.fill_between(
        [v for v, _ in banded],
        [one.low for _, one in banded],
        [one.high for _, one in banded],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )
    beside = curve.metrics.get(_BESIDE, ())
    also = [(v, one) for v, one in zip(curve.values, beside, strict=False) if _known(one)]
    panel.plot(
        [v for v, _ in also],
        [one.value for _, one in also],
        style,
        color=colour,
        linewidth=0.6,
        alpha=0.7,
    )


def _known(level: Estimate) -> bool:
    return level.value is not None


def _frame(panel: Any, title: str, curves: Sequence[CurveView], along: str) -> None:
    panel.set_title(title, fontsize=9)
    panel.set_xlabel(LABELS.get(along, along), fontsize=8)
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.3)
    values = [value for curve in curves for value in curve.values]
    if along != "fraction" and values and wide(values):
        panel.set_xscale("log")
