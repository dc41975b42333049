"""The workload's pictures. Drawn on Agg canvases of their own: no display, no pyplot state."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from telemetry.contracts import CounterfactualMatrix

if TYPE_CHECKING:
    from workloads.morphogenesis.summary import Told

STAGE_COLOURS = {
    "DORMANT": "#eeeeee", "GERMINATED": "#d9ead3", "TRAINING": "#9fc5e8", "BLENDING": "#f6c567",
    "PROBATIONARY": "#b4a7d6", "FOSSILIZED": "#2a9d55", "CULLED": "#c0392b",
    "EMBARGOED": "#e8b0aa", "RESETTING": "#f4dcd8",
}  # fmt: skip
MOST_TIMELINES = 12
MOST_ARMS = 6


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
    axes.set_title("Stages by slot (arm and seed: slot)", fontsize=10)
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
    figure, panels = _figure(4.2 * len(arms) + 0.8, 4.0, len(arms))
    for panel, (arm, (slots, group)) in zip(panels, arms.items(), strict=True):
        configs = sorted({result.config for m in group for result in _results(m)})
        epochs = sorted({m.epoch for m in group})
        cells = [
            [
                _mean(
                    [
                        result.accuracy
                        for m in group
                        if m.epoch == epoch
                        for result in _results(m)
                        if result.config == config
                    ]
                )
                for epoch in epochs
            ]
            for config in configs
        ]
        numbers = [[float("nan") if value is None else value for value in row] for row in cells]
        drawn = panel.imshow(numbers, aspect="auto", cmap="viridis")
        panel.set_yticks(range(len(configs)), configs, fontsize=7)
        step = max(1, len(epochs) // 8)
        panel.set_xticks(range(0, len(epochs), step), [str(e) for e in epochs[::step]], fontsize=7)
        panel.set_xlabel("epoch")
        panel.set_title(f"{arm}: {', '.join(slots)}", fontsize=9)
        figure.colorbar(drawn, ax=panel, label="validation accuracy, %")
    panels[0].set_ylabel("configuration (1: on)")
    figure.savefig(path, dpi=130)
    return True


def draw_shapley(told: Sequence[Told], path: Path) -> bool:
    """Shapley values of the switched slots by epoch: each seed thin, their mean thick."""
    arms = _arms_with_matrices(told, most_slots=False)
    if not arms:
        return False
    figure, panels = _figure(4.2 * len(arms) + 0.8, 3.6, len(arms))
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
        for number, (slot, trials) in enumerate(series.items()):
            for values in trials:
                panel.plot(list(values), list(values.values()), color=f"C{number}", alpha=0.25)
            epochs = sorted({epoch for values in trials for epoch in values})
            means = [statistics.fmean(v[e] for v in trials if e in v) for e in epochs]
            panel.plot(epochs, means, color=f"C{number}", linewidth=2, label=slot)
        panel.axhline(0.0, color="#888888", linewidth=0.8)
        panel.set_xlabel("epoch")
        panel.set_title(arm, fontsize=9)
        panel.legend(fontsize=7)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("Shapley value of removal, points")
    figure.savefig(path, dpi=130)
    return True


def draw_scaling(rows: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Accuracy over size: hosts that grew nothing make the curve, grown ones stand beside it."""
    known = [r for r in rows if r["accuracy"] is not None and r["total_params"]]
    if not any(row["kind"] == "grown" for row in known) or len(known) < 2:
        return False
    figure, axes = _figure(6.4, 4.2)
    hosts = sorted(
        ((r["total_params"], r["accuracy"]) for r in known if r["kind"] != "grown"),
        key=lambda point: point[0],
    )
    if hosts:
        axes.plot(*zip(*hosts, strict=True), "o-", color="#1b6ca8", label="hosts that grow nothing")
    for number, row in enumerate(r for r in known if r["kind"] == "grown"):
        axes.plot(row["total_params"], row["accuracy"], "D", color=f"C{number + 1}")
        axes.annotate(row["arm"], (row["total_params"], row["accuracy"]), fontsize=7,
                      xytext=(4, 4), textcoords="offset points")  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("parameters")
    axes.set_ylabel("test accuracy, % (means over seeds)")
    axes.set_title("Not a verdict: intervals are in the report", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
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


def _figure(width: float, height: float, columns: int | None = None) -> tuple[Any, Any]:
    """A figure in inches with one axes, or with a row of `columns`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    if columns is None:
        return figure, figure.add_subplot()
    return figure, figure.subplots(1, columns, squeeze=False)[0]
