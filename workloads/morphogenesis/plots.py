"""The workload's pictures. Drawn on Agg canvases of their own: no display, no pyplot state."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from telemetry.contracts import CounterfactualMatrix
from workloads.morphogenesis.kinds import AT_ONCE, GROWN, HOSTS

if TYPE_CHECKING:
    from workloads.morphogenesis.summary import Told

STAGE_COLOURS = {
    "DORMANT": "#eeeeee", "GERMINATED": "#d9ead3", "TRAINING": "#9fc5e8", "BLENDING": "#f6c567",
    "PROBATIONARY": "#b4a7d6", "FOSSILIZED": "#2a9d55", "CULLED": "#c0392b",
    "EMBARGOED": "#e8b0aa", "RESETTING": "#f4dcd8",
}  # fmt: skip
MOST_TIMELINES = 12
MOST_ARMS = 6
"""Of the panels by arm; those that grow most slots."""
COLUMNS = 3
LABEL_STEP_PT = 11.0
"""Between the lines of labels that would lie on each other."""


def draw_timeline(told: Sequence[Told], path: Path) -> bool:
    """Stages of every slot over the epochs, a row per trial and slot; False if nothing grew.

    Of each arm its first seed, and further seeds while there is room.
    """
    grown = [one for one in told if one.history.slots]
    if not grown:
        return False
    chosen = sorted(grown, key=lambda one: _replicate(grown, one))[:MOST_TIMELINES]
    chosen.sort(key=grown.index)
    rows = [
        (one, slot)
        for one in chosen
        for slot in dict.fromkeys(name for slots in one.history.slots.values() for name in slots)
    ]
    figure, axes = _figure(8.0, 1.4 + 0.24 * len(rows))
    seen: dict[str, None] = {}
    for y, (one, slot) in enumerate(reversed(rows)):
        for epoch, slots in sorted(one.history.slots.items()):
            if slot not in slots:
                continue
            stage = slots[slot].stage
            seen[stage] = None
            axes.barh(y, 1.0, left=epoch - 0.5, color=STAGE_COLOURS.get(stage, "white"))
    labels = [f"{one.trial.arm} {one.trial.seed}: {slot}" for one, slot in reversed(rows)]
    axes.set_yticks(range(len(rows)), labels, fontsize=7)
    axes.set_xlabel("epoch")
    left_out = len(grown) - len(chosen)
    more = f"; {left_out} more trials are in growth.csv" if left_out else ""
    axes.set_title(f"Stages by slot (arm and seed: slot){more}", fontsize=10)
    for name in (name for name in STAGE_COLOURS if name in seen):
        axes.barh(-10, 0, color=STAGE_COLOURS[name], label=name.lower())
    axes.set_ylim(-0.6, len(rows) - 0.4)
    figure.legend(fontsize=7, ncols=5, loc="outside lower center")
    figure.savefig(path, dpi=130)
    return True


def draw_matrices(told: Sequence[Told], path: Path) -> bool:
    """Mean validation accuracy by configuration (down) and epoch (across), a panel per arm."""
    arms = _arms_with_matrices(told, most_slots=True)
    if not arms:
        return False
    grids = {arm: _mean_cells(group) for arm, (_, group) in arms.items()}
    known = [
        value for grid in grids.values() for row in grid.cells for value in row if value == value
    ]
    if not known:
        return False
    figure, panels = _panels(len(arms), 3.4)
    drawn = None
    for panel, (arm, (slots, _)) in zip(panels, arms.items(), strict=True):
        grid = grids[arm]
        drawn = panel.imshow(
            grid.cells, aspect="auto", cmap="viridis", vmin=min(known), vmax=max(known)
        )
        panel.set_yticks(range(len(grid.configs)), grid.configs, fontsize=8)
        step = max(1, math.ceil(len(grid.epochs) / 8))
        shown = grid.epochs[::step]
        panel.set_xticks(range(0, len(grid.epochs), step), [str(e) for e in shown], fontsize=8)
        panel.set_title(_titled(arm, slots), fontsize=9)
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel("configuration (1: on)", fontsize=10)
    figure.colorbar(drawn, ax=panels, label="mean validation accuracy, %")
    _say_left_out(figure, told)
    figure.savefig(path, dpi=130)
    return True


class _Grid(NamedTuple):
    """Mean accuracies ``[configs][epochs]``, NaN where nothing was measured."""

    configs: list[str]
    epochs: list[int]
    cells: list[list[float]]


def _mean_cells(group: Sequence[CounterfactualMatrix]) -> _Grid:
    found: dict[tuple[str, int], list[float | None]] = {}
    for matrix in group:
        for config, accuracy in _results(matrix):
            found.setdefault((config, matrix.epoch), []).append(accuracy)
    configs = sorted({config for config, _ in found})
    epochs = sorted({epoch for _, epoch in found})
    means = {cell: _mean(values) for cell, values in found.items()}
    nan = float("nan")
    cells = [
        [nan if (mean := means.get((c, e))) is None else mean for e in epochs] for c in configs
    ]
    return _Grid(configs, epochs, cells)


def _titled(arm: str, slots: Sequence[str]) -> str:
    """The arm, and its slots in the order of the bits unless its name is that already."""
    return arm if arm == "+".join(slots) else f"{arm}\n({', '.join(slots)})"


def draw_shapley(told: Sequence[Told], path: Path) -> bool:
    """Shapley values of the switched slots by epoch: each seed thin, their mean thick."""
    arms = _arms_with_matrices(told, most_slots=False)
    if not arms:
        return False
    figure, panels = _panels(len(arms), 3.0, share_y=True)
    names = list(dict.fromkeys(slot for slots, _ in arms.values() for slot in slots))
    for panel, (arm, _) in zip(panels, arms.items(), strict=True):
        series: dict[str, list[dict[int, float]]] = {}
        for one in (one for one in told if one.trial.arm == arm):
            of_trial: dict[str, dict[int, float]] = {}
            for epoch, matrix in sorted(one.history.matrices.items()):
                for slot, value in (matrix.shapley_values or {}).items():
                    if value is not None:
                        of_trial.setdefault(slot, {})[epoch] = value
            for slot, values in of_trial.items():
                series.setdefault(slot, []).append(values)
        for slot, trials in series.items():
            number = names.index(slot)  # a slot has one colour in all panels
            for values in trials:
                panel.plot(list(values), list(values.values()), color=f"C{number}", alpha=0.25)
            epochs = sorted({epoch for values in trials for epoch in values})
            means = [statistics.fmean(v[e] for v in trials if e in v) for e in epochs]
            panel.plot(epochs, means, color=f"C{number}", linewidth=2, label=slot)
        panel.axhline(0.0, color="#888888", linewidth=0.8)
        panel.set_title(arm, fontsize=10)
        panel.tick_params(labelsize=8)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.legend(fontsize=8)
        panel.grid(alpha=0.3)
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel("Shapley value of removal, points", fontsize=10)
    _say_left_out(figure, told)
    figure.savefig(path, dpi=130)
    return True


def draw_scaling(rows: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Accuracy over size: hosts that grew nothing make the curve, grown ones stand beside it."""
    known = [r for r in rows if r["accuracy"] is not None and r["total_params"]]
    if all(row["kind"] in HOSTS for row in known) or len(known) < 2:
        return False
    figure, axes = _figure(7.2, 4.4)
    hosts = sorted(
        ((r["total_params"], r["accuracy"]) for r in known if r["kind"] in HOSTS),
        key=lambda point: point[0],
    )
    if hosts:
        axes.plot(*zip(*hosts, strict=True), "o-", color="#1b6ca8", label="hosts that grow nothing")
    for kind, marker in ((GROWN, "D"), (AT_ONCE, "s")):
        there = [(r["total_params"], r["accuracy"]) for r in known if r["kind"] == kind]
        if there:
            axes.plot(*zip(*there, strict=True), marker, color="#d1662a", label=kind)
    axes.set_xscale("log")
    axes.set_xlabel("parameters")
    axes.set_ylabel("test accuracy, % (means over seeds)")
    axes.set_title("Not a verdict: intervals are in the report", fontsize=9)
    axes.grid(alpha=0.3)
    axes.margins(x=0.12, y=0.12)
    axes.legend(fontsize=8)
    _label_points(axes, [(r["arm"], r["total_params"], r["accuracy"]) for r in known])
    figure.savefig(path, dpi=130)
    return True


class _Cell(NamedTuple):
    """A configuration of a matrix as a bit string, with its accuracy."""

    config: str
    accuracy: float | None


def _results(matrix: CounterfactualMatrix) -> list[_Cell]:
    return [
        _Cell("".join("1" if on else "0" for on in result.config), result.val_accuracy)
        for result in matrix.configs
    ]


def _arms_with_matrices(
    told: Sequence[Told], *, most_slots: bool
) -> dict[str, tuple[tuple[str, ...], list[CounterfactualMatrix]]]:
    """By arm: its slots and matrices; with `most_slots` those of the largest set of slots only,
    the arms with most slots first."""
    found: dict[str, list[CounterfactualMatrix]] = {}
    for one in told:
        found.setdefault(one.trial.arm, []).extend(
            m for m in one.history.matrices.values() if m.slots
        )
    arms: dict[str, tuple[tuple[str, ...], list[CounterfactualMatrix]]] = {}
    for arm, matrices in found.items():
        if matrices:
            slots = max((tuple(m.slots) for m in matrices), key=lambda names: len(names))
            kept = [m for m in matrices if tuple(m.slots) == slots or not most_slots]
            arms[arm] = (slots, kept)
    widest = sorted(arms, key=lambda arm: -len(arms[arm][0]))
    return {arm: arms[arm] for arm in widest[:MOST_ARMS]}


def _replicate(grown: Sequence[Told], one: Told) -> int:
    """How many trials of its arm come before it."""
    same = [other for other in grown if other.trial.arm == one.trial.arm]
    return same.index(one)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _label_points(axes: Any, points: Sequence[tuple[str, float, float]]) -> None:
    """Names beside points of the final axes: to the side where there is room, none over another."""
    axes.figure.draw_without_rendering()
    left, right = axes.get_window_extent().intervalx
    dots = axes.figure.dpi / 72
    taken: list[tuple[float, float, float]] = []
    at = [(name, x, y, *axes.transData.transform((x, y))) for name, x, y in points]
    for name, x, y, across, up in sorted(at, key=lambda point: point[4]):
        outward = across > (left + right) / 2
        width = len(name) * 4.5 * dots
        start = across - width - 5 * dots if outward else across + 5 * dots
        height = up
        while any(
            abs(height - other) < LABEL_STEP_PT * dots and start < end and begin < start + width
            for begin, end, other in taken
        ):
            height += 2 * dots
        taken.append((start, start + width, height))
        axes.annotate(
            name, (x, y), xytext=(-5 if outward else 5, (height - up) / dots), fontsize=8,
            textcoords="offset points", ha="right" if outward else "left", va="center",
        )  # fmt: skip


def _say_left_out(figure: Any, told: Sequence[Told]) -> None:
    """In the title, how many arms with matrices have no panel."""
    arms = {one.trial.arm for one in told if any(m.slots for m in one.history.matrices.values())}
    if len(arms) > MOST_ARMS:
        text = f"{MOST_ARMS} of {len(arms)} arms, those with most slots; all are in matrices.csv"
        figure.suptitle(text, fontsize=10)


def _panels(count: int, height: float, *, share_y: bool = False) -> tuple[Any, list[Any]]:
    """A figure of `count` axes in rows of at most `COLUMNS`, each row `height` inches."""
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    figure, first = _figure(1.4 + 3.2 * columns, 0.6 + height * rows)
    first.remove()
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share_y).ravel()
    for spare in grid[count:]:
        spare.remove()
    return figure, list(grid[:count])


def _figure(width: float, height: float) -> tuple[Any, Any]:
    """A figure in inches, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()
