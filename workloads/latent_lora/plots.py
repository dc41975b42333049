"""The sweep's plots. Drawn on Agg canvases of their own, so no display and no pyplot state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_COLOURS = {"comparator": "#1b6ca8", "arm": "#2a9d55", "control": "#8a8a8a"}
_MARKERS = {"comparator": "D", "arm": "o", "control": "s"}


def plot_by_configuration(table: pd.DataFrame, path: Path) -> bool:
    """F1 of every arm with its interval; False, and no file, if nothing was measured."""
    if "mean" not in table or not len(rows := table[table["mean"].notna()]):
        return False
    figure, axes = _figure(8.0, 1.2 + 0.32 * len(rows))
    for y, (_, row) in enumerate(rows.iloc[::-1].iterrows()):
        role = str(row["role"])
        axes.errorbar(
            row["mean"],
            y,
            xerr=_whiskers(row),
            fmt=_MARKERS.get(role, "o"),
            color=_COLOURS.get(role, "black"),
            capsize=3,
        )
    axes.set_yticks(range(len(rows)), rows["arm"].iloc[::-1])
    baseline = rows[rows["role"] == "comparator"]
    if len(baseline):
        axes.axvline(
            baseline["mean"].iloc[0], color=_COLOURS["comparator"], linestyle=":", linewidth=1
        )
    axes.set_xlabel("F1 on the test split, points")
    axes.set_title("Mean over replicates with its interval (blue: comparator, grey: controls)")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=130)
    return True


def plot_by_lora(table: pd.DataFrame, path: Path) -> bool:
    """F1 over rank, a panel per number of layers, a colour per alpha; False if there is none."""
    if not {"rank", "alpha", "layers", "mean"} <= set(table.columns):
        return False
    import pandas as pd

    rows = table[(table["role"] == "arm") & table["mean"].notna()].copy()
    for name in ("rank", "alpha", "layers"):
        rows[name] = pd.to_numeric(rows[name], errors="coerce")
    rows = rows[rows["rank"] > 0]
    if not len(rows):
        return False
    depths = sorted(rows["layers"].unique())
    alphas = sorted(rows["alpha"].unique())
    figure, panels = _figure(2.6 * len(depths) + 1.4, 3.6, columns=len(depths))
    baseline = table[(table["role"] == "comparator") & table["mean"].notna()]
    for panel, depth in zip(panels, depths, strict=True):
        if len(baseline):
            _band(panel, baseline.iloc[0])
        for number, alpha in enumerate(alphas):
            of = rows[(rows["layers"] == depth) & (rows["alpha"] == alpha)].sort_values("rank")
            for _, row in of.iterrows():
                panel.errorbar(
                    row["rank"] * (1 + 0.06 * (number - len(alphas) / 2)),
                    row["mean"],
                    yerr=_whiskers(row),
                    fmt="o",
                    color=f"C{number}",
                    capsize=3,
                )
        panel.set_xscale("log", base=2)
        panel.set_xlim(rows["rank"].min() / 1.6, rows["rank"].max() * 1.6)
        ranks = sorted(rows["rank"].unique())
        panel.set_xticks(ranks, [f"{rank:g}" for rank in ranks])
        panel.set_title(f"{depth:g} layers")
        panel.set_xlabel("rank")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("F1, points (band: no LoRA)")
    for number, alpha in enumerate(alphas):
        panels[-1].plot([], [], "o", color=f"C{number}", label=f"α = {alpha:g}")
    panels[-1].legend(fontsize=8)
    figure.savefig(path, dpi=130)
    return True


def _figure(width: float, height: float, columns: int | None = None) -> tuple[Any, Any]:
    """A figure in inches with one axes, or with a row of `columns` that share their y axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    if columns is None:
        return figure, figure.add_subplot()
    return figure, figure.subplots(1, columns, sharey=True, squeeze=False)[0]


def _band(axes: Any, row: Any) -> None:
    axes.axhline(row["mean"], color=_COLOURS["comparator"], linestyle=":", linewidth=1)
    if row["ci_low"] == row["ci_low"]:
        axes.axhspan(row["ci_low"], row["ci_high"], color=_COLOURS["comparator"], alpha=0.12)


def _whiskers(row: Any) -> list[list[float]] | None:
    """Distances to the interval's ends as matplotlib wants them; None without an interval."""
    low, high = row["ci_low"], row["ci_high"]
    if low is None or high is None or low != low or high != high:
        return None
    return [[max(0.0, row["mean"] - low)], [max(0.0, high - row["mean"])]]
