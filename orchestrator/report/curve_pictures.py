"""Pictures of curves as PNG files: means with bands, the fit, and where it crosses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.curves.curve import Curve, CurveAnswer, StudyCurves
from orchestrator.curves.words import crossing_text, width_text
from orchestrator.report.plots import FAINT, INK, new_figure, save
from orchestrator.report.rows import level

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INKS = ("#2f5d9b", "#0b7a57", "#b3261e", "#8a5a00", "#6b3fa0")
MARKERS = ("o", "s", "v", "D", "^")
MOST_LINES = len(INKS)
"""Curves in a panel."""
MOST_PANELS = 6
LOGARITHMIC = 1000.0
"""Largest value over least, both positive, from which an axis is logarithmic."""


def plot_arm(curves: StudyCurves, arm: str, path: Path) -> Path | None:
    """Every path of an arm, a few to a panel. None, and no file, without any mean."""
    chosen = [one for one in curves.curves if one.arm == arm and is_measured(one)]
    groups: list[list[Curve]] = []
    for along in dict.fromkeys(one.along for one in chosen):
        some = [one for one in chosen if one.along == along]
        groups += [some[i : i + MOST_LINES] for i in range(0, len(some), MOST_LINES)]
    groups = groups[:MOST_PANELS]
    if not groups:
        return None
    figure = new_figure(7.5, 0.6 + 3.4 * len(groups))
    axes = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    for axis, group in zip(axes, groups, strict=True):
        _panel(axis, group, [one.path for one in group], curves)
    axes[0].set_title(f"{arm}, {level(curves.confidence)} intervals over examples", fontsize=10)
    return save(figure, path)


def plot_pair(curves: StudyCurves, answer: CurveAnswer, path: Path) -> Path | None:
    """The two curves of a question. None, and no file, where one has no mean."""
    shown = pair_of(curves, answer)
    if len(shown) < 2:
        return None
    figure = new_figure(7.5, 4.2)
    axis = figure.subplots()
    _panel(axis, shown, (answer.curve, answer.than), curves)
    axis.set_title(f"{answer.name}: {answer.label}", fontsize=10)
    return save(figure, path)


def pair_of(curves: StudyCurves, answer: CurveAnswer) -> list[Curve]:
    """Those of the two curves of a question that have a mean."""
    pair = [
        next((c for c in curves.curves if name in (c.name, _at_name(c, name))), None)
        for name in (answer.curve, answer.than)
    ]
    return [one for one in pair if one is not None and is_measured(one)]


def _at_name(curve: Curve, name: str) -> str:
    """The name that is asked for if it is that of one point of the curve."""
    return name if name.startswith(f"{curve.name} at {curve.along} ") else curve.name


def is_measured(curve: Curve) -> bool:
    """Whether it has any mean to draw."""
    return any(point.mean is not None for point in curve.points)


def _panel(axis: Axes, group: Sequence[Curve], names: Sequence[str], curves: StudyCurves) -> None:
    for i, (one, name) in enumerate(zip(group, names, strict=True)):
        known = [(point, point.mean) for point in one.points if point.mean is not None]
        x, means = [point.value for point, _ in known], [mean for _, mean in known]
        colour = INKS[i % len(INKS)]
        low = [mean if point.low is None else point.low for point, mean in known]
        high = [mean if point.high is None else point.high for point, mean in known]
        axis.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
        fit = [(point.value, point.fit) for point in one.points if point.fit is not None]
        if fit:
            axis.plot(*zip(*fit, strict=True), color=colour, linewidth=1, linestyle="dotted")
        at, wide = crossing_text(one.threshold, one), width_text(one.width)
        said = f"{name}: threshold {at}, width {wide}"
        axis.plot(
            x, means, color=colour, linewidth=1.6, markersize=4,
            marker=MARKERS[i % len(MARKERS)], label=said,
        )  # fmt: skip
    for height, style in (
        (curves.level, "dashed"),
        (curves.low, "dotted"),
        (curves.high, "dotted"),
    ):
        axis.axhline(height, color=FAINT, linewidth=0.8, linestyle=style, zorder=0)
    values = [point.value for one in group for point in one.points]
    if min(values) > 0 and max(values) / min(values) >= LOGARITHMIC:
        axis.set_xscale("log")
    unit = f" ({group[0].unit})" if group[0].unit else ""
    axis.set_ylabel(f"{curves.metric}{unit}", fontsize=9, color=INK)
    axis.set_xlabel(" / ".join(dict.fromkeys(one.along for one in group)), fontsize=9, color=INK)
    axis.grid(color="#e6e8eb", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(0.0, -0.16))
