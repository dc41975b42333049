"""The plots of claims: each figure on a scale of its own, over where it is said to lie."""

from __future__ import annotations

import math

from orchestrator.claims.result import CANDIDATE, ClaimResult, StudyClaims
from orchestrator.claims.sentences import figure_text, figure_words, range_text
from orchestrator.report.claim_pictures import TONES
from orchestrator.report.interactive.forest import Range, Row, forest
from orchestrator.report.interactive.plot import Plot
from orchestrator.report.rows import level
from orchestrator.report.sections import ShownTable

MOST = 24


def claim_plots(claims: StudyClaims) -> tuple[Plot, ...]:
    """A plot a claim that has a figure."""
    known = [one for one in claims.claims if one.value is not None][:MOST]
    return tuple(_plot(one, claims) for one in known)


def _plot(one: ClaimResult, claims: StudyClaims) -> Plot:
    label = one.label.removeprefix(f"{CANDIDATE}: ")
    runs = [r.value for r in one.figures if r.value is not None and math.isfinite(r.value)]
    said = (
        figure_text(one),
        f"claimed: {range_text(one.expected)}",
        f"{one.runs} of {one.planned} runs, {one.units:,} units measured",
        one.why,
    )
    dots = tuple(runs) if one.statistic != "runs" else ()
    row = Row(
        one.name, one.value, one.low, one.high, TONES.get(label, "unsure"), one.label, said, dots
    )
    claimed = Range(*one.expected, "gain", 0.14)
    figure, narrow = forest([("", [row])], figure_words(one), (), [claimed])
    title = f"Claim {one.name}: {figure_words(one)}"
    together = f", simultaneous over {one.family} claims" if one.family > 1 else ""
    note = (
        f"Shaded: where the whole interval is said to lie, {range_text(one.expected)}. "
        f"{level(claims.confidence)} interval over runs{together}; small lines are single runs."
    )
    head = ("claim", "figure", "claimed", "label", "runs")
    cells = (one.name, figure_text(one), range_text(one.expected), one.label)
    table = ShownTable(title, head, ((*cells, f"{one.runs} of {one.planned}"),), frozenset({1}))
    return Plot(title, note, figure, table, narrow)
