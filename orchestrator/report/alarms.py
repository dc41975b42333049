"""Alarms as sections of a report: who is first, when, at what rate of false alarms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.alarms.result import (
    ArmAlarms,
    Rate,
    RatePoint,
    SignalTimes,
    StudyAlarms,
    Threshold,
)
from orchestrator.intervals import Interval, Median
from orchestrator.report.rows import level
from orchestrator.report.sections import Section, ShownTable
from orchestrator.verdict.numbers import MISSING

TIMELINE = "Steps at which each run alarms, by arm and signal"
TRAJECTORIES = "Mean of each signal by step, with the band outside which a step alarms"
ROC = "Runs that alarm against false alarms, by arm and signal"
BY_RATE = "Who is first, by the rate of false alarms"
PICTURES = (TIMELINE, TRAJECTORIES, ROC, BY_RATE)
APART = "Synthetic signal: drawn into the measurement, so that its lead is made; never counted"
DIGITS = 3
BRIEF_COLUMNS = 5
"""Of the table of who is first, in a terminal."""
MOST_RATES = 12


def alarm_sections(
    alarms: StudyAlarms | None, pictures: Mapping[str, str], *, brief: bool = False
) -> list[Section]:
    """What a report says of alarms; nothing for a study without.

    Args:
        pictures: file names by what they show.
        brief: for a terminal: who is first, and the thresholds; the answer leads the page.
    """
    if alarms is None:
        return []
    told = (*_intro(alarms), *alarms.problems, *alarms.notes)
    first = tuple(_first_tables(alarms, brief))
    thresholds = _threshold_table(alarms, brief)
    if brief:
        tables = (*first, _times_table(alarms, brief), thresholds)
        return [Section("Alarms", (*told, *_whys(alarms)), tables)]

    def shown(*texts: str) -> tuple[tuple[str, str], ...]:
        return tuple((text, pictures[text]) for text in texts if text in pictures)

    return [
        Section("Alarms", (*told, *_whys(alarms)), first, shown(TIMELINE), lead=alarms.answer),
        Section(
            "When they alarm",
            _times_words(alarms),
            (_times_table(alarms, brief), _means_table(alarms)),
        ),
        Section(
            "Thresholds",
            _threshold_words(alarms),
            (thresholds, _leaning_table(alarms)),
            shown(TRAJECTORIES),
        ),
        Section(
            "Any threshold",
            (
                "The largest deviation of each run from its onset on, against those of unseen "
                "healthy runs from the same step on. The area is the chance that a run of the arm "
                "deviates more than a healthy one; 0.5 is a signal that tells nothing.",
            ),
            tuple(_area_tables(alarms)),
            shown(ROC),
        ),
        Section(
            "Other rates of false alarms",
            ("Intervals are pointwise, of each rate alone.",),
            tuple(_rate_tables(alarms)),
            shown(BY_RATE),
        ),
    ]


def rate_text(rate: Rate) -> str:
    """`18 of 20 [0.683, 0.988]`."""
    if rate.low is None or rate.high is None:
        return f"{rate.events} of {rate.runs}"
    return f"{rate.events} of {rate.runs} [{rate.low:.{DIGITS}f}, {rate.high:.{DIGITS}f}]"


def brief_rate(rate: Rate) -> str:
    """`18/20 [.68, .99]`: for a terminal."""
    if rate.low is None or rate.high is None:
        return f"{rate.events}/{rate.runs}"
    ends = (f"{end:.2f}" for end in (rate.low, rate.high))
    low, high = ("0" if end == "0.00" else "1" if end == "1.00" else end[1:] for end in ends)
    return f"{rate.events}/{rate.runs} [{low}, {high}]"


def interval_text(found: Interval, *, sign: bool = False) -> str:
    """`+3.2 [+1.1, +5.3]`; "n/a" where there is none."""
    value = _number(found.value, sign)
    if found.low is None or found.high is None:
        return value
    return f"{value} [{_number(found.low, sign)}, {_number(found.high, sign)}]"


def median_text(found: Median, *, sign: bool = False) -> str:
    """`19 [17, 22]`; `not reached` where half of the runs never alarm, `never` for an end there."""
    if found.value is None:
        value = MISSING if found.reached else "not reached"
    else:
        value = _number(found.value, sign)
    low = "never" if found.open_low else _number(found.low, sign)
    high = "never" if found.open_high else _number(found.high, sign)
    return value if MISSING in (low, high) else f"{value} [{low}, {high}]"


def _number(value: float | None, sign: bool = False) -> str:
    if value is None or value != value:
        return MISSING
    return f"{value:+.{DIGITS}g}" if sign else f"{value:.{DIGITS}g}"


def _intro(alarms: StudyAlarms) -> Iterator[str]:
    sure = level(alarms.confidence)
    arms = (
        f"; those of who is first and of leads are simultaneous over the {alarms.family} arms that "
        "count, all others hold one by one"
        if alarms.family > 1
        else ""
    )
    yield (
        f"All signals are held to the same rate of false alarms: thresholds are set for "
        f"{alarms.rate * 100:g} % of healthy runs. Intervals are {sure}{arms}."
    )


def _whys(alarms: StudyAlarms) -> tuple[str, ...]:
    return tuple(f"{one.arm}: {one.why}" for one in alarms.arms if one.why)


def _first_tables(alarms: StudyAlarms, brief: bool) -> Iterator[ShownTable]:
    """Those that count, and apart from them those whose signal is synthetic."""
    head = (
        "arm", "label", f"{alarms.first} first", f"{alarms.than} first", "median lead",
        "same step", "neither",
    )  # fmt: skip
    kept = BRIEF_COLUMNS if brief else len(head)
    ahead = f"Who alarms first; lead of {alarms.first} in steps"
    for caption, synthetic in ((ahead, False), (APART, True)):
        chosen = [one for one in alarms.arms if one.synthetic is synthetic]
        rows = [_first_row(one, brief) for one in chosen]
        if rows:
            yield ShownTable(
                caption,
                head[:kept],
                tuple(row[:kept] for row in rows),
                frozenset(range(2, kept)),
            )


def _first_row(one: ArmAlarms, brief: bool) -> tuple[str, ...]:
    text = brief_rate if brief else rate_text
    return (
        one.arm,
        one.label,
        text(one.first),
        text(one.than),
        interval_text(one.median_lead, sign=True),
        str(one.ties),
        str(one.neither),
    )


def _leaning_table(alarms: StudyAlarms) -> ShownTable:
    """What the labels go by."""
    rows = tuple(
        (one.arm, _rate_or_missing(one.first_at_least), _rate_or_missing(one.than_at_least))
        for one in alarms.arms
        if not one.synthetic
    )
    return ShownTable(
        "What labels go by: how often each signal is first at the least, its own threshold at the "
        "upper limit and the other's at the lower",
        ("arm", f"{alarms.first} first", f"{alarms.than} first"),
        rows,
        frozenset({1, 2}),
    )


def _rate_or_missing(rate: Rate | None) -> str:
    return MISSING if rate is None else rate_text(rate)


def _means_table(alarms: StudyAlarms) -> ShownTable:
    """Restricted means, beside what they may be where runs that were not seen may be anything."""
    rows = []
    for arm in alarms.arms:
        mark = " (synthetic)" if arm.synthetic else ""
        figures = [(f"lead of {alarms.first}", arm.lead, True)]
        figures += [(f"delay of {one.signal}", one.mean_delay, False) for one in arm.signals]
        rows += [
            (f"{arm.arm}{mark}", what, _number(found.value, sign), _ends(found, sign))
            for what, found, sign in figures
        ]
    return ShownTable(
        "Restricted means over runs, in steps",
        ("arm", "of", "mean", "bounds without assumptions"),
        tuple(rows),
        frozenset({2, 3}),
    )


def _ends(found: Interval, sign: bool) -> str:
    if found.low is None or found.high is None:
        return MISSING
    return f"{_number(found.low, sign)} to {_number(found.high, sign)}"


def _times_words(alarms: StudyAlarms) -> tuple[str, ...]:
    last = f"step {alarms.steps[-1]}" if alarms.steps else "the last step"
    return (
        "Delays are from the onset of the fault. A run that never alarms lies beyond every step in "
        f"medians, and counts as alarming one step after {last} in means.",
        "Alarms before the onset are false ones and counted apart.",
        "Go by the medians. The bounds of a mean assume nothing of runs that were not seen: some "
        "of them may lie the whole length away, though all that were seen agree. So they are wide "
        "with few runs, and no interval of the mean as it was seen.",
    )


def _times_table(alarms: StudyAlarms, brief: bool) -> ShownTable:
    head = ("arm", "signal", "alarms", "median delay", "median step", "before onset")
    kept = 4 if brief else len(head)
    rows = [_times_row(arm, one, brief) for arm in alarms.arms for one in arm.signals]
    numbers = frozenset(range(2, kept))
    caption = "When each signal alarms, in steps from the onset"
    return ShownTable(caption, head[:kept], tuple(row[:kept] for row in rows), numbers)


def _times_row(arm: ArmAlarms, one: SignalTimes, brief: bool) -> tuple[str, ...]:
    mark = " (synthetic)" if arm.synthetic else ""
    return (
        f"{arm.arm}{mark}",
        one.signal,
        brief_rate(one.detected) if brief else rate_text(one.detected),
        median_text(one.delay),
        median_text(one.step),
        str(one.before_onset),
    )


def _threshold_words(alarms: StudyAlarms) -> tuple[str, ...]:
    return (
        f"Made from the runs of {alarms.calibration}, checked on those of {alarms.unseen}: the "
        f"one-sided upper {level(alarms.confidence)} bound of the rate there must be at most "
        f"{alarms.allowed * 100:g} %.",
        f"The threshold of exactly {alarms.rate * 100:g} % may lie in the stated range, which is "
        "made from all healthy runs together; labels allow for that.",
        *(f"{one.signal}: {one.why}" for one in alarms.thresholds if one.why),
    )


def _threshold_table(alarms: StudyAlarms, brief: bool) -> ShownTable:
    head = (
        "signal", "threshold", "false alarms unseen", "at most", "calibrated", "may lie in",
        "made from", "column", "from step",
    )  # fmt: skip
    kept = 5 if brief else len(head)
    rows = [_threshold_row(one, brief) for one in alarms.thresholds]
    caption = f"Thresholds for {alarms.rate * 100:g} % of healthy runs"
    numbers = frozenset(i for i in (1, 2, 3, 5, 6, 8) if i < kept)
    return ShownTable(caption, head[:kept], tuple(row[:kept] for row in rows), numbers)


def _threshold_row(one: Threshold, brief: bool) -> tuple[str, ...]:
    return (
        one.signal,
        _number(one.threshold),
        brief_rate(one.false_alarms) if brief else rate_text(one.false_alarms),
        MISSING if one.upper is None else f"{one.upper * 100:.1f} %",
        "yes" if one.calibrated else "no",
        f"{_number(one.at_least)} to {_number(one.at_most)}",
        f"{one.calibration_runs} runs",
        one.column if one.direction == "either" else f"{one.column}, {one.direction}",
        MISSING if one.first_step is None else str(one.first_step),
    )


def _area_tables(alarms: StudyAlarms) -> Iterator[ShownTable]:
    rows = tuple(
        (f"{one.arm} (synthetic)" if one.synthetic else one.arm, one.signal, area_text(one.area))
        for one in alarms.roc
    )
    if rows:
        yield ShownTable("Area under the curve", ("arm", "signal", "area"), rows, frozenset({2}))


def area_text(area: Interval) -> str:
    if area.value is None:
        return MISSING
    ends = (area.low, area.high)
    told = f"{area.value:.{DIGITS}f}"
    if ends[0] is None or ends[1] is None:
        return told
    return f"{told} [{ends[0]:.{DIGITS}f}, {ends[1]:.{DIGITS}f}]"


def _rate_tables(alarms: StudyAlarms) -> Iterator[ShownTable]:
    head = (
        "rate", f"{alarms.first} unseen", f"{alarms.than} unseen", f"{alarms.first} first",
        f"{alarms.than} first", "same step", "neither",
    )  # fmt: skip
    for arm in alarms.arms:
        if arm.by_rate:
            rows = tuple(_rate_row(one) for one in _some(arm.by_rate))
            mark = " (synthetic signal)" if arm.synthetic else ""
            yield ShownTable(f"{arm.arm}{mark}", head, rows, frozenset(range(7)))


def _some(points: Sequence[RatePoint]) -> Sequence[RatePoint]:
    """At most so many, evenly chosen; all of them are in the file."""
    if len(points) <= MOST_RATES:
        return points
    last = len(points) - 1
    return [points[round(i * last / (MOST_RATES - 1))] for i in range(MOST_RATES)]


def _rate_row(one: RatePoint) -> tuple[str, ...]:
    return (
        f"{one.rate:.3g}",
        _number(one.unseen_first),
        _number(one.unseen_than),
        rate_text(one.first),
        rate_text(one.than),
        str(one.ties),
        str(one.neither),
    )
