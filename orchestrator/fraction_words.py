"""A design `fractions` in words: what a plan says of its paths and questions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.counted import counted
from orchestrator.curve_design import (
    CurveFile,
    Fractions,
    Higher,
    PathFile,
    Question,
    Sharper,
)

if TYPE_CHECKING:
    from orchestrator.study import Study
    from orchestrator.trials import Trial


def fractions_notes(study: Study, trials: Sequence[Trial]) -> Iterator[str]:
    """What a plan and a run say of the curves: how many, and seeds that change nothing."""
    design = study.file.design
    if not isinstance(design, Fractions):
        return
    paths = design.paths
    yield (
        f"{counted(sum(len(design.arms_of(path)) for path in paths.values()), 'curve')} of "
        f"{design.metric}: {counted(len(paths), 'path')} on {counted(len(design.arms), 'arm')}"
    )
    yield from _resolution(design, study, trials)
    if _ignores_seeds(study, trials):
        yield (
            f"seeds {', '.join(map(str, study.file.seeds))} change nothing: a model is computed "
            "from its configuration alone, and each arm is one trial"
        )


def _resolution(design: Fractions, study: Study, trials: Sequence[Trial]) -> Iterator[str]:
    """What so many examples tell at most, where that is known before the run: scores in 0 to 1 have
    a standard deviation of 0.5 at most."""
    from orchestrator.error_share import shared_confidence
    from orchestrator.statistics.quantiles import t_upper
    from orchestrator.statistics.widths import FEWEST

    counts = [study.workload.scored_units(trial.config) for trial in trials]
    known = [count for count in counts if count is not None]
    if not known or len(known) < len(counts) or min(known) < 2:
        return
    count = min(known)
    if design.low >= 0 and design.high <= 1:
        confidence = shared_confidence(study.file, design.confidence)
        half = float(t_upper((1 - confidence) / 2, count - 1)) * 0.5 / math.sqrt(count - 1)
        yield (
            f"{count} examples: scores in 0 to 1 give each mean a {100 * confidence:g} % "
            f"interval of about ±{half:.2f} at most, if each is of a text of its own"
        )
    asked = [name for name, one in design.questions.items() if isinstance(one, Sharper)]
    if asked and count < FEWEST:
        yield (
            f"{', '.join(asked)}: no interval of a width with {count} examples, so inconclusive; "
            f"it takes {FEWEST} texts"
        )


def fractions_lines(design: Fractions) -> Iterator[str]:
    """Every path and every question, a line each."""
    for name, path in design.paths.items():
        yield f"  path {name}: {_path_words(design, path)}"
    for name, question in design.questions.items():
        yield f"  asks {name}: {question_words(question)}"


def _ignores_seeds(study: Study, trials: Sequence[Trial]) -> bool:
    seeds = study.file.seeds
    told = len(seeds) > 1 and seeds != type(study.file).model_fields["seeds"].default
    return told and all(study.workload.deterministic(trial.config) for trial in trials)


def _path_words(design: Fractions, path: PathFile) -> str:
    values = design.along_values(path)
    fixed = ", ".join(f"{key}={_plain(value)}" for key, value in path.point.items())
    span = f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g}"
    words = f"{fixed or 'defaults'}; {design.key(path)} {span} ({counted(len(values), 'value')})"
    if len(path.draws) > 1:
        words += f", {counted(len(path.draws), 'draw')} where something is random"
    return words + (f"; of {', '.join(path.of)}" if path.of else "")


def question_words(question: Question) -> str:
    """A question in words, with its margin."""
    one, other = curve_words(question.curve), curve_words(question.than)
    within = f"(margin {question.margin:g})"
    if isinstance(question, Sharper):
        return f"does {one} rise more sharply than {other}? {within}"
    if isinstance(question, Higher):
        at = "" if question.values is None else f" for {listed(question.values)}"
        return f"is {one} above {other}{at}? {within}"
    return f"is {one} above {other} at the same {question.by}? {within}"


def curve_words(curve: CurveFile) -> str:
    """`ARM/PATH`, with the value if the curve is one point."""
    words = f"{curve.arm}/{curve.path}"
    return words if curve.at is None else f"{words} (always at {curve.at:g})"


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def listed(values: Sequence[float]) -> str:
    """`0.1, 0.5, 1`."""
    return ", ".join(f"{value:g}" for value in values)
