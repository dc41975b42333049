"""How an arm is drawn in all pictures of a study: few lines can be told apart by colour and dash,
so that others are grey and have no name there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from workloads.phase_coupling.interventions.kept import Run

COLOURS: Final = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7a3fb0",
)  # fmt: skip
"""Told apart by those who see few colours too (Okabe and Ito's, and a violet for the yellow)."""
DASHES: Final = ("solid", "dashed", "dashdot", "dotted")
MOST_NAMED: Final = len(COLOURS)
GREY: Final = "#bdbdbd"
OTHERS: Final = "other arms"
MOST_BANDS: Final = 4
"""More bands than these over one another show nothing."""


@dataclass(frozen=True)
class Style:
    """Of an arm's line. `dash` is matplotlib's name of it."""

    colour: str
    dash: str = "solid"
    named: bool = True

    @property
    def plotly_dash(self) -> str:
        """The same in plotly's words."""
        return {"dashed": "dash", "dotted": "dot"}.get(self.dash, self.dash)


def styles_of(arms: Mapping[str, Sequence[Run]]) -> dict[str, Style]:
    """Arm -> its style in all pictures. Named are the first of those with oscillators: arms that
    the study asks of before controls, each in the order of the study."""
    order = sorted(arms, key=lambda arm: _rank(arms[arm]))
    named = {
        arm: Style(COLOURS[place], DASHES[place % len(DASHES)])
        for place, arm in enumerate(order[:MOST_NAMED])
    }
    return {arm: named.get(arm, Style(GREY, named=False)) for arm in arms}


def _rank(runs: Sequence[Run]) -> tuple[bool, bool]:
    silent = not any(run.texts_r.size for run in runs)
    return silent, any(run.trial.role == "control" for run in runs)


def in_order(arms: Collection[str], styles: Mapping[str, Style]) -> list[str]:
    """Arms as they are to be drawn: grey ones below."""
    return sorted(arms, key=lambda arm: styles[arm].named)


def line_widths(arms: Collection[str], styles: Mapping[str, Style]) -> dict[str, float]:
    """Arm -> width of its line. Those of named arms are less and less: of lines that coincide each
    is seen."""
    named = [arm for arm in arms if styles[arm].named]
    widths = dict(zip(named, np.linspace(4.0, 1.4, len(named)).tolist(), strict=True))
    return {arm: widths.get(arm, 1.0) for arm in arms}


def others_text(arms: Collection[str], styles: Mapping[str, Style]) -> str:
    """`; grey: 9 other arms`; empty where every arm has a name."""
    count = sum(not styles[arm].named for arm in arms)
    if not count:
        return ""
    return f"; grey: {count} other arm{'s' if count > 1 else ''}"
