"""Curves as sections of a report: answers, where each curve crosses, and its means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.counted import counted
from orchestrator.curves.curve import Curve, CurveAnswer, CurvePoint, StudyCurves
from orchestrator.curves.views import estimates_of
from orchestrator.curves.words import (
    crossing_text,
    difference_text,
    number,
    width_text,
)
from orchestrator.report.rows import level
from orchestrator.report.sections import Section, ShownTable
from orchestrator.verdict.numbers import MISSING, interval, shown
from workloads.views import Estimate

MOST_PATHS = 6
"""Columns of a table of means; more paths make another table."""
MOST_NAMED = 4
"""Incomplete curves that a line names."""
PLACES = 2
CROSSING = ("curve", "threshold", "width", "step of values there", "first", "last")
RULE = (
    "A label needs the whole interval beyond the margin, not only beyond 0 (for “as sharp” and "
    "“equal”: inside the margin); else it is inconclusive."
)


def curve_sections(
    curves: StudyCurves | None, pictures: Mapping[str, str], *, brief: bool = False
) -> list[Section]:
    """What a report says of curves; nothing for a study without.

    Args:
        pictures: file names by what they show.
        brief: for a terminal: answers and crossings, no means.
    """
    if curves is None:
        return []
    asked = curves.answers if curves.state == "answered" else ()
    others = [f"{one.name}: {one.sentence}" for one in asked[1:]]
    rule = (RULE,) if asked else ()
    told = (*_intro(curves), *_missing(curves.curves), *curves.notes)
    if brief:  # the first answer leads the page already
        told = (*told, *rule) if not others else told
        shown = Section("Curves", told, tuple(_crossings(curves, brief)))
        return [*_listed("Other answers", others, rule), shown]
    of_answers = {picture_title(one): one.name for one in asked}
    first = picture_title(asked[0]) if asked else ""
    beside = [(text, name) for text, name in pictures.items() if text != first]
    by_value = tuple(_differences(one) for one in asked if one.values)
    return [
        Section(
            "Answer",
            rule,
            pictures=tuple((text, name) for text, name in pictures.items() if text == first),
            lead=curves.answer,
        ),
        *_listed("Other answers", others, (), [one for one in beside if one[0] in of_answers]),
        Section(
            "Curves",
            told,
            tuple(_crossings(curves, brief)),
            tuple(one for one in beside if one[0] not in of_answers),
        ),
        *([Section("Answers by value", tables=by_value)] if by_value else []),
        Section("Means", tables=tuple(_means(curves.curves))),
    ]


def picture_title(answer: CurveAnswer) -> str:
    """What a picture of the two curves of a question shows."""
    return f"{answer.name}: {answer.label}"


def arm_title(arm: str) -> str:
    """What a picture of every path of an arm shows."""
    return f"Curves of {arm}, with intervals"


def _listed(
    title: str,
    lines: Sequence[str],
    more: Sequence[str],
    pictures: Sequence[tuple[str, str]] = (),
) -> list[Section]:
    """A section of lines; none without any."""
    return [Section(title, (*lines, *more), pictures=tuple(pictures))] if lines else []


def _intro(curves: StudyCurves) -> Iterator[str]:
    sure = level(curves.confidence)
    first = next((one for one in curves.curves if one.examples), None)
    if first is None:
        measured = any(point.mean is not None for one in curves.curves for point in one.points)
        why = "has no scores by example: means alone, no intervals, thresholds or widths"
        yield f"{curves.metric} {why if measured else 'is not measured yet'}."
        return
    several = any(point.draws > 1 for one in curves.curves for point in one.points)
    drawn = ", and over random draws where there are several" if several else ""
    each = first.examples == first.clusters
    texts = ", each of a text of its own" if each else f" from {first.clusters} texts or the like"
    yield f"{curves.metric}: means over {counted(first.examples or 0, 'example')}{texts}."
    yield (
        f"Threshold: where a curve reaches {curves.level:g}. Width: the distance from where it "
        f"reaches {curves.low:g} to where it reaches {curves.high:g}. The curve is the isotonic "
        "fit: of all that never turn back the nearest to the means, joined by straight lines."
    )
    yield (
        f"Intervals are {sure} over examples{drawn}, each curve's its own; those of the answers "
        f"are wider, so that all of them hold at once with {sure}."
    )
    if any(one.width is not None and one.width.censored for one in curves.curves):
        yield (
            "“At least”, and an interval that ends in “…”: the rise may begin before the first "
            "value or end after the last, so that the width is what was seen of it and has no "
            "upper end."
        )


def _missing(curves: Sequence[Curve]) -> Iterator[str]:
    """Curves that lack the same are told in one line."""
    lacking: dict[str, list[str]] = {}
    for one in curves:
        if one.problems:
            more = f"; {len(one.problems) - 1} more" if len(one.problems) > 1 else ""
            lacking.setdefault(one.problems[0] + more, []).append(one.name)
    for problem, names in lacking.items():
        others = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        yield f"Incomplete, so no threshold: {', '.join(names[:MOST_NAMED])}{others}: {problem}."


def _crossings(curves: StudyCurves, brief: bool) -> Iterator[ShownTable]:
    """Controls apart and first: what the others are held against."""
    caption = f"threshold at {curves.level:g}, width from {curves.low:g} to {curves.high:g}"
    controls = [one for one in curves.curves if one.role == "control"]
    others = [one for one in curves.curves if one.role != "control"]
    for title, chosen in (("Controls", controls), ("Curves", others)):
        if chosen:
            head = CROSSING[:3] if brief else CROSSING
            rows = tuple(_crossing_row(one)[: len(head)] for one in chosen)
            yield ShownTable(f"{title}: {caption}", head, rows, frozenset({3, 4, 5}))


def _crossing_row(one: Curve) -> tuple[str, ...]:
    return (
        one.name,
        crossing_text(one.threshold, one),
        width_text(one.width),
        number(one.threshold.step if one.threshold is not None else None),
        _end(one.points[0]),
        _end(one.points[-1]),
    )


def _end(point: CurvePoint) -> str:
    return f"{shown(point.mean, PLACES)} at {point.value:g}"


def _means(curves: Sequence[Curve]) -> Iterator[ShownTable]:
    """By arm: values down, paths across."""
    for arm in dict.fromkeys(one.arm for one in curves):
        of_arm = [one for one in curves if one.arm == arm]
        for along in dict.fromkeys(one.along for one in of_arm):
            some = [one for one in of_arm if one.along == along]
            for i in range(0, len(some), MOST_PATHS):
                yield _table(arm, along, some[i : i + MOST_PATHS])


def _table(arm: str, along: str, curves: Sequence[Curve]) -> ShownTable:
    values = sorted({point.value for one in curves for point in one.points})
    by_value = [{point.value: point for point in one.points} for one in curves]
    rows = [
        (
            f"{value:g}",
            *(mean_text(points[value]) if value in points else "" for points in by_value),
        )
        for value in values
    ]
    head = (along, *(one.path for one in curves))
    caption = f"{arm}: {curves[0].metric}, mean with its own interval"
    return ShownTable(caption, head, tuple(rows), frozenset(range(len(head))))


def mean_text(point: CurvePoint) -> str:
    """`0.41 [0.36, 0.46]`; "n/a" where there is none."""
    ends = interval(point.low, point.high, PLACES)
    value = shown(point.mean, PLACES)
    return value if ends == MISSING else f"{value} {ends}"


def _differences(answer: CurveAnswer) -> ShownTable:
    rows = tuple(
        (number(one.value), difference_text(one.difference, one.low, one.high), one.label)
        for one in answer.values
    )
    caption = (
        f"{answer.name}: {answer.curve} less {answer.than}, margin {number(answer.margin)}; "
        f"all intervals hold at once with {level(answer.confidence)}"
    )
    return ShownTable(caption, ("value", "difference", "label"), rows, frozenset({0, 1}))


def curve_rows(curves: StudyCurves) -> list[dict[str, object]]:
    """One row for each value of each curve, for other programs.

    Every metric has its column, and `_low` and `_high` beside it where there is an interval over
    examples; None is "not measured".
    """
    own = curves.metric
    found = [(one, estimates_of(one, curves)) for one in curves.curves]
    names = sorted({name for _, metrics in found for name in metrics if name != own})
    spread = {name for one in curves.curves for point in one.points for name in point.spreads}
    rows = []
    for one, metrics in found:
        for i, point in enumerate(one.points):
            row: dict[str, object] = {
                "arm": one.arm,
                "path": one.path,
                "along": one.along,
                "value": point.value,
                "draws": point.draws,
                own: point.mean,
                f"{own}_low": point.low,
                f"{own}_high": point.high,
                f"{own}_fit": point.fit,
                f"{own}_draw_sd": point.draw_sd,
            }
            for name in names:
                estimate = metrics[name][i] if name in metrics else Estimate(None)
                row[name] = estimate.value
                if name in spread:
                    row |= {f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            rows.append({**row, "problem": point.problem or None})
    return rows


def threshold_rows(curves: StudyCurves) -> list[dict[str, object]]:
    """One row for each curve: its threshold and its width."""
    rows = []
    for one in curves.curves:
        at, width = one.threshold, one.width
        rows.append(
            {
                "arm": one.arm,
                "path": one.path,
                "along": one.along,
                "level": curves.level,
                "threshold": at.at if at else None,
                "threshold_low": at.low if at else None,
                "threshold_high": at.high if at else None,
                "threshold_text": crossing_text(at, one),
                "grid_step": at.step if at else None,
                "width": width.value if width else None,
                "width_low": width.low if width else None,
                "width_high": width.high if width else None,
                "width_is_least": width.censored if width else None,
                "problem": one.problems[0] if one.problems else None,
            }
        )
    return rows
