"""The calibration of questions about curves (`fractions` designs).

The answer of such a study is that of its first question, but the ends of all are simultaneous and
each stands in the report with a label. So a verdict is wrong if anything that a reader is told of
any question is: *sharper*, *less sharp*, *higher* or *lower*, at any value, where the true
difference is not beyond the margin on that side; *equal* or *as sharp within the margin* where it
is not inside. *Inconclusive* and *identical* (which speaks of the scores) are never wrong.

What is true follows from the true means: their differences by value, and the widths of straight
lines between them, as in a report. Hardest are curves that differ by exactly the margin, where any
label is wrong. Whether a true difference of more is found is counted where it is more in truth.

All curves rise: a falling one is read from its end. For a `matched` question the other metric falls
evenly over the places of the values. Drawn clusters are averaged in single precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.calibration.cell import Cell, Counts
from orchestrator.calibration.curve_laws import Shape, draw_places, draw_track
from orchestrator.calibration.curve_questions import (
    Asked,
    AskedValues,
    AskedWidth,
    Judged,
    judge_values,
    judge_widths,
    state_of,
)
from orchestrator.calibration.curve_worlds import CurveWorld, read_world
from orchestrator.calibration.measured_curves import MeasuredWorld, measured_world
from orchestrator.curves import curve as words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.calibration.curve_laws import Drawn
    from orchestrator.calibration.layout import Layout
    from orchestrator.planning import Plan
    from orchestrator.study import Study

    Floats = NDArray[np.float64]
    Ends = tuple[Floats, Floats, Floats]
    """Lower and upper ends [studies, ...], and the truth."""

FEW = 0.02
"""Intervals of the means of one curve are not counted where they lie nearer to 0 or to 1."""
NOTES = (
    "curves: intervals of the means of one curve, which no label goes by, are counted where the "
    "true mean lies in .02 to .98",
)
CHUNK = 8
"""Studies that are drawn at once."""
CLOSE = 1e-9
"""True differences within this of the margin are the margin."""

SHAPES = {
    "texts alike": Shape(),
    "texts apart, paired": Shape(spread=4.0, alike=0.9, rise=0.2),
    "all or none": Shape(whole_part=1.0, alike=0.0, scatter=1.0, rise=0.25),
}
STEADY = {"steep": Shape(rise=0.08, spread=0.5), "all or none": Shape(whole_part=1.0, rise=0.2)}
SCATTERED = {"draws apart": Shape(rise=0.4, scatter=1.0)}
"""Shapes of single curves, without random draws and with."""
SINGLE: tuple[Literal["threshold", "width", "means"], ...] = ("threshold", "width", "means")
POWER = (2.0, 3.0)
"""Margins by which curves differ."""


def cells(study: Study, plan: Plan, layout: Layout) -> list[Cell]:
    """Those of a study's questions; none for a study without."""
    world = read_world(study, plan, layout)
    if world is None or not world.asked:
        return []
    found: list[Cell] = []
    for name, shape in SHAPES.items():
        told = _conditions(name, world, shape)
        found.append(
            QuestionsCell(
                part="curves",
                name=f"differ by the margin, {name}",
                conditions={**told, "differ by": "the margin"},
                world=world.apart(lambda margin: margin, shape),
                shape=shape,
            )
        )
    name, shape = next(iter(SHAPES.items()))
    found.append(
        QuestionsCell(
            part="curves",
            name=f"the same, {name}",
            conditions={**_conditions(name, world, shape), "differ by": "nothing"},
            world=world,
            shape=shape,
        )
    )
    for kind, of in (("widths", AskedWidth), ("values", AskedValues)):
        questions = world.of_kind(of)
        for times in POWER if questions else ():
            margin = max(one.margin for one in questions)
            found.append(
                QuestionsCell(
                    part="curves",
                    name=f"{kind} differ by {times:g} margins",
                    conditions={
                        **_conditions(name, world, shape),
                        "differ by": f"{times:g} margins ({kind})",
                    },
                    effect=times * margin,
                    world=world.apart(_times(times), shape, kind),
                    shape=shape,
                    asked=tuple(one.name for one in questions),
                )
            )
    return [*found, *_single(world), *_measured(study, plan)]


def _times(times: float) -> Callable[[float], float]:
    return lambda margin: times * margin


def _conditions(name: str, world: CurveWorld, shape: Shape) -> dict[str, str | float]:
    drawn = any(one.draws > 1 for one in world.tracks.values())
    return {
        "curves": name,
        "examples apart (scales)": shape.spread,
        **({"draws apart (scales)": shape.scatter} if drawn else {}),
    }


def _single(world: CurveWorld) -> Iterator[Cell]:
    """Of curves by themselves, the longest without random draws and the longest with."""
    longest = sorted(world.tracks.values(), key=lambda one: -len(one.values))
    for several, shapes in ((False, STEADY), (True, SCATTERED)):
        track = next((one for one in longest if one.scatters == several), None)
        if track is None:
            continue
        for name, shape in shapes.items():
            for of in SINGLE:
                yield CurveCell(
                    part="curves",
                    name=f"{of} of one curve, {name}",
                    conditions={**_conditions(name, world, shape), "interval of": of},
                    world=world,
                    shape=shape,
                    curve=track.name,
                    of=of,
                )


def _measured(study: Study, plan: Plan) -> Iterator[Cell]:
    """The curves that were measured, where all that questions ask of them is there."""
    world = measured_world(study, plan)
    if world is not None:
        yield MeasuredCell(
            part="curves",
            name="as measured, texts drawn again",
            conditions={"curves": "as measured"},
            world=world,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class QuestionsCell(Cell):
    """All questions of a study, or those that are `asked`, on curves of a shape."""

    world: CurveWorld
    shape: Shape
    asked: tuple[str, ...] = ()

    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        """So many studies; intervals are those of differences, as simultaneous as in a report."""
        world, shape = self.world, self.shape
        asked = [one for one in world.asked if not self.asked or one.name in self.asked]
        needed = {name for one in asked for name in (one.curve, one.than)}
        means = {name: world.tracks[name].means(shape) for name in sorted(needed)}
        truths = {one.name: world.truth(one, means) for one in asked}
        counts = Counts()
        for start in range(0, studies, CHUNK):
            count = min(CHUNK, studies - start)
            common = draw_places(shape, world.clusters, count, rng)
            drawn = {
                name: draw_track(world.tracks[name], shape, world.clusters, common, rng)
                for name in means
            }
            counts += counted(world, asked, drawn, truths, self.effect is not None)
        return counts


@dataclass(frozen=True, eq=False, kw_only=True)
class MeasuredCell(Cell):
    """All questions on the curves that were measured: texts and random draws are drawn again, so
    that what was measured is the truth."""

    world: MeasuredWorld

    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        """So many studies; intervals as in `QuestionsCell`."""
        world = self.world.world
        means = {name: one.scores.mean(axis=1) for name, one in self.world.curves.items()}
        truths = {one.name: world.truth(one, means) for one in world.asked}
        counts = Counts()
        for start in range(0, studies, CHUNK):
            drawn = self.world.draw(min(CHUNK, studies - start), rng)
            counts += counted(world, list(world.asked), drawn, truths, False)
        return counts


def counted(
    world: CurveWorld,
    asked: list[Asked],
    drawn: Mapping[str, Drawn],
    truths: Mapping[str, Floats],
    effects: bool,
) -> Counts:
    """What came of studies that were drawn, of which this is true."""
    import numpy as np

    judged = judged_all(world, asked, drawn)
    studies = len(next(iter(drawn.values())).scores)
    wrong = np.zeros(studies, dtype=bool)
    given_any, missed = np.zeros(studies, dtype=bool), np.zeros(studies, dtype=bool)
    intervals = covered = real = found = 0
    for one in asked:
        result, truth = judged[one.name], truths[one.name]
        given = ~(np.isnan(result.low) & np.isnan(result.high))
        # an end that is open holds everything
        held = ~(result.low > truth + CLOSE) & ~(result.high < truth - CLOSE)
        intervals += int(given.sum())
        covered += int((given & held).sum())
        given_any |= given.any(axis=1)
        missed |= (given & ~held).any(axis=1)
        for study, labels in enumerate(result.labels):
            wrong[study] |= any(
                is_wrong(label, true, one.margin) for label, true in zip(labels, truth, strict=True)
            )
            if effects:
                beyond = [right_label(one, true) for true in truth]
                real += sum(label != "" for label in beyond)
                found += sum(a == b for a, b in zip(labels, beyond, strict=True) if b)
    return Counts(
        studies=studies,
        wrong=int(wrong.sum()),
        intervals=intervals,
        covered=covered,
        families=int(given_any.sum()),
        families_covered=int((given_any & ~missed).sum()),
        effects=real,
        found=found,
    )


def judged_all(
    world: CurveWorld, asked: list[Asked], drawn: Mapping[str, Drawn]
) -> dict[str, Judged]:
    """Every question of studies that were drawn, by name."""
    widths = [one for one in asked if isinstance(one, AskedWidth)]
    judged = {}
    if widths:
        judged = judge_widths(
            widths, drawn, world.values(), world.clusters, world.asks, world.family
        )
    for one in asked:
        if isinstance(one, AskedValues):
            judged[one.name] = judge_values(one, drawn, world.clusters, world.asks, world.family)
    return judged


def is_wrong(label: str, truth: float, margin: float) -> bool:
    """Whether a label says what is not so."""
    if label in (words.SHARPER, words.LOWER):
        return truth >= -margin - CLOSE
    if label in (words.LESS_SHARP, words.HIGHER):
        return truth <= margin + CLOSE
    return label in (words.AS_SHARP, words.EQUAL) and abs(truth) >= margin - CLOSE


def right_label(asked: Asked, truth: float) -> str:
    """What a true difference beyond the margin is called; empty where it is not beyond."""
    if abs(truth) <= asked.margin + CLOSE:
        return ""
    if isinstance(asked, AskedWidth):
        return words.SHARPER if truth < 0 else words.LESS_SHARP
    return words.LOWER if truth < 0 else words.HIGHER


@dataclass(frozen=True, eq=False, kw_only=True)
class CurveCell(Cell):
    """The intervals that a report gives one curve by itself; no label goes by them."""

    world: CurveWorld
    shape: Shape
    curve: str
    of: Literal["threshold", "width", "means"]

    def simulate(self, studies: int, rng: np.random.Generator) -> Counts:
        """So many curves, each of a study of its own."""
        counts = Counts()
        for start in range(0, studies, CHUNK):
            count = min(CHUNK, studies - start)
            common = draw_places(self.shape, self.world.clusters, count, rng)
            track = self.world.tracks[self.curve]
            drawn = draw_track(track, self.shape, self.world.clusters, common, rng)
            counts += self._counted(drawn)
        return counts

    def _counted(self, drawn: Drawn) -> Counts:
        import numpy as np

        track = self.world.tracks[self.curve]
        values, means = np.asarray(track.values), track.means(self.shape)
        ends = {"threshold": _thresholds, "width": _widths, "means": _means}[self.of]
        low, high, truth = ends(values, means, drawn, self.world)
        held = (low <= truth + CLOSE) & (truth - CLOSE <= high)
        return Counts(studies=len(drawn.scores), intervals=held.size, covered=int(held.sum()))


def _thresholds(values: Floats, means: Floats, drawn: Drawn, world: CurveWorld) -> Ends:
    import numpy as np

    from orchestrator.statistics.crossing import crossing
    from orchestrator.statistics.ends import band
    from orchestrator.statistics.isotonic import isotonic

    ends = []
    for at in range(len(drawn.scores)):
        draws = drawn.draws[:, at] if len(drawn.draws) > 1 else None
        scores = drawn.scores[at].astype(np.float64)
        found = band(values, scores, world.clusters, world.asks.confidence, draws)
        ends.append(found.crossing_ends(world.asks.level))
    low, high = np.array(ends).T
    return low, high, crossing(values, isotonic(means), world.asks.level)


def _widths(values: Floats, means: Floats, drawn: Drawn, world: CurveWorld) -> Ends:
    import numpy as np

    from orchestrator.statistics.widths import (
        FEW_DRAWS,
        draw_widths,
        drawn_means,
        half_width,
        width,
    )

    levels = (world.asks.low, world.asks.high)
    average = drawn.scores.mean(axis=-1, dtype=np.float64)
    found = width(values, average, *levels)
    half, _ = half_width(
        found,
        width(values, drawn_means(drawn.scores, world.clusters, FEW_DRAWS, "float32"), *levels),
        np.bincount(world.clusters),
        [draw_widths(values, drawn.draws, *levels)],
        (1.0 - world.asks.confidence) / 2,
    )
    censored = state_of(drawn, average, world.clusters, world.asks).censored
    high = np.where(censored, np.inf, found + half)
    return found - half, high, width(values, means, *levels)


def _means(values: Floats, means: Floats, drawn: Drawn, world: CurveWorld) -> Ends:
    """Where the true mean is neither next to nothing nor next to all (`FEW`)."""
    import numpy as np

    from orchestrator.statistics.ends import mean_ends

    told = (means >= FEW) & (means <= 1.0 - FEW)
    examples = drawn.scores.shape[-1]
    flat = drawn.scores[:, told].astype(np.float64).reshape(-1, examples)
    parts = [drawn.draws[..., told].reshape(len(drawn.draws), -1)]
    ends = mean_ends(flat, world.clusters, world.asks.confidence, draws=parts)
    low, high = (end.reshape(-1, int(told.sum())) for end in ends)
    return low, high, means[told]
