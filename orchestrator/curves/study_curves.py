"""The curves of a study and its answers, from what is known of its models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from orchestrator.counted import counted
from orchestrator.curves.curve import CurveAnswer, StudyCurves
from orchestrator.study_file import Fractions

if TYPE_CHECKING:
    from orchestrator.curves.gathering import Gathered
    from orchestrator.planning import Plan
    from orchestrator.study import Study

CONDITIONAL = (
    "Every interval is over examples like these and holds for these models: another model of the "
    "same kind may differ."
)
DRAWN = (
    "Where something is random, intervals are over draws of it too: few draws make them wide, "
    "however many examples there are."
)
ONE_DRAW = (
    "Of one random draw alone, so that another may differ by more than the interval says: {}. "
    "Give their paths more draws."
)


def curves_of(study: Study, plan: Plan) -> StudyCurves | None:
    """Curves and answers of a study; None if its design asks for none."""
    design = study.file.design
    if not isinstance(design, Fractions):
        return None
    from orchestrator.curves.estimating import Asks, curve_of
    from orchestrator.curves.gathering import gather
    from orchestrator.curves.questions import answers_of
    from orchestrator.error_share import shared_confidence
    from orchestrator.fractions import curves_asked

    declared = {**study.workload.metrics, **study.workload.point_metrics}
    limits = {name: one.limits for name, one in declared.items() if one.limits != (None, None)}
    confidence = shared_confidence(study.file, design.confidence)
    asks = Asks(
        design.metric,
        design.level,
        design.low,
        design.high,
        confidence,
        limits.get(design.metric, (None, None)),
    )
    told = declared.get(design.metric)
    unit = told.unit if told is not None else ""
    gathered = gather(study, plan, curves_asked(study), design.metric)
    roles = {arm.name: arm.role for arm in design.arms}
    curves = tuple(
        curve_of(one, asks, unit, design.paths[one.path].about, roles[one.arm]) for one in gathered
    )
    pending = _pending(gathered, plan)
    answers = answers_of(design.questions, gathered, asks, unit, pending)
    answer, state = _answer(answers, pending)
    return StudyCurves(
        metric=design.metric,
        confidence=confidence,
        level=design.level,
        low=design.low,
        high=design.high,
        curves=curves,
        answers=answers,
        answer=answer,
        state=state,
        notes=tuple(_notes(gathered)),
        limits=limits,
    )


def _notes(gathered: Sequence[Gathered]) -> Iterator[str]:
    yield CONDITIONAL
    if any(one.draws is not None for one in gathered):
        yield DRAWN
    if single := [one.name for one in gathered if one.one_draw]:
        yield ONE_DRAW.format(", ".join(single))


def _pending(gathered: Sequence[Gathered], plan: Plan) -> str:
    """Nothing is answered before all that was planned is measured: how far it is, else empty."""
    first = next((one for one in gathered if one.waits), None)
    if first is None:
        return ""
    known, asked = (sum(getattr(one, of) for one in plan.subjects) for of in ("known", "asked"))
    why = next(one.problem for one in first.values if one.waits)
    return (
        f"no verdict yet: {known} of {counted(asked, 'point')} are measured ({first.name}: {why})"
    )


def _answer(
    answers: Sequence[CurveAnswer], pending: str
) -> tuple[str, Literal["answered", "no verdict yet", "no question"]]:
    if pending:
        return f"N{pending[1:]}.", "no verdict yet"
    if not answers:
        return "The study states no question; its curves are as they are.", "no question"
    return answers[0].sentence, "answered"
