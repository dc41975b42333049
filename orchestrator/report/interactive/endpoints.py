"""The plots of endpoints: the differences of each over its margin, with those of every seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from orchestrator.endpoints.result import CANDIDATE, Comparison, StudyEndpoints
from orchestrator.endpoints.sentences import counts_text, difference_text, figure, means_text
from orchestrator.report.endpoint_pictures import FAR, TONES
from orchestrator.report.endpoints import comparisons_by_endpoint
from orchestrator.report.interactive.forest import Line, Range, Row, forest
from orchestrator.report.interactive.plot import Plot
from orchestrator.report.rows import level
from orchestrator.report.sections import ShownTable


def endpoint_plots(endpoints: StudyEndpoints) -> tuple[Plot, ...]:
    """A plot an endpoint, the primary ones first; none for one without any difference."""
    return tuple(
        _plot(group, endpoints)
        for group in comparisons_by_endpoint(endpoints)
        if any(one.value is not None for one in group)
    )


def _plot(group: Sequence[Comparison], endpoints: StudyEndpoints) -> Plot:
    first = group[0]
    place, ticks = _scale(group)
    rows = [_row(one) for one in group]
    unit = f" ({first.unit})" if first.unit else ""
    axis = f"{first.column} of {first.split}, minus {first.against}{unit}"
    axis += ",\nlogarithmic beyond the margin" if ticks else ""
    drawn, narrow = forest(
        [("", rows)],
        axis,
        [Line(0.0, "no difference")],
        [Range(-first.margin, first.margin)],
        place,
        ticks or None,
    )
    kind = "" if first.primary else " (secondary)"
    together = ", simultaneous over their family" if first.family > 1 else ""
    title = f"{first.endpoint}{kind}: difference to {first.against} by arm"
    note = (
        f"Shaded: the margin of {first.margin:g}{f' {first.unit}' if first.unit else ''} either "
        f"way, within which a difference is no effect. {level(endpoints.confidence)} intervals"
        f"{together}; small lines are single seeds."
    )
    table = ShownTable(
        title,
        ("arm", "difference", "label", "means", "by seed"),
        tuple(
            (one.arm, difference_text(one), one.label, means_text(one), _seeds(one))
            for one in group
        ),
        frozenset({1, 3}),
    )
    return Plot(title, note, drawn, table, narrow)


def _row(one: Comparison) -> Row:
    unit = f" {one.unit}" if one.unit else ""
    tone = TONES.get(one.label.removeprefix(f"{CANDIDATE} "), "unsure")
    dots = tuple(seed.value for seed in one.differences if seed.value is not None)
    said = (f"difference {difference_text(one)}{unit}", f"means {means_text(one)}")
    name = f"{one.arm} (control)" if one.control else one.arm
    of = (*said, counts_text(one), one.why)
    return Row(name, one.value, one.low, one.high, tone, one.label, of, dots)


def _seeds(one: Comparison) -> str:
    return ", ".join(
        f"{seed.seed}: {'not finite' if seed.value is None else figure(seed.value)}"
        for seed in one.differences
    )


def _scale(group: Sequence[Comparison]) -> tuple[Callable[[float], float], dict[float, str]]:
    """Where a difference is drawn: logarithmic beyond the margin, with ticks of its own, where one
    reaches so far that the margin could not be seen."""
    margin = group[0].margin
    ends = [end for one in group for end in (one.value, one.low, one.high)]
    ends += [seed.value for one in group for seed in one.differences]
    limit = max([abs(end) for end in ends if end is not None], default=0.0)
    if not math.isfinite(limit) or limit <= FAR * margin:
        return float, {}

    def place(value: float) -> float:
        far = abs(value) / margin
        return math.copysign(far if far <= 1 else 1 + math.log10(far), value)

    decades = math.ceil(math.log10(limit / margin))
    step = max(1, math.ceil(decades / 3))
    sides = [margin * 10.0**i for i in range(0, decades + 1, step)]
    return place, {value: f"{value:g}" for value in (*(-one for one in sides[::-1]), 0.0, *sides)}
