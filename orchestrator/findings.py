"""What a study found beside its verdict on trials: effects, curves, alarms, claims, endpoints.

Importing this loads no numpy; estimating does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestrator.alarms.metrics import alarm_metrics
from orchestrator.alarms.result import StudyAlarms
from orchestrator.alarms.study_alarms import alarms_of
from orchestrator.calibration.written import calibration_notes
from orchestrator.claims.metrics import claim_metrics
from orchestrator.claims.result import StudyClaims
from orchestrator.claims.study_claims import claims_of
from orchestrator.curves.curve import StudyCurves
from orchestrator.curves.metrics import curve_metrics
from orchestrator.curves.study_curves import curves_of
from orchestrator.earlier import earlier_notes
from orchestrator.effects.effect import StudyEffects
from orchestrator.effects.gathering import effects_of
from orchestrator.effects.metrics import study_metrics
from orchestrator.endpoints.metrics import endpoint_metrics
from orchestrator.endpoints.result import StudyEndpoints
from orchestrator.endpoints.study_endpoints import endpoints_of
from orchestrator.error_share import share_notes
from orchestrator.rule_hash import rule_hash
from orchestrator.verdict.answer import step_key

if TYPE_CHECKING:
    from orchestrator.planning import Plan
    from orchestrator.study import Study


@dataclass(frozen=True)
class Findings:
    """What a study asks for beside a rule for trials; None is what it does not ask for.

    Attributes:
        effects: removal costs and causal effects, of a `factorial`.
        curves: of `fractions`.
        alarms: of `alarms`: which signal alarms first.
        claims: of `claims`: whether what is said of figures holds.
        endpoints: of `endpoints`: how arms differ, and whether that matters.
        notes: whether any of these were stated, or seeds added, after there were results, and
            whether they share the error of the answer; a verdict has that in its own notes.
        next_steps: what the study says to do after this; a verdict has its own.
    """

    effects: StudyEffects | None = None
    curves: StudyCurves | None = None
    alarms: StudyAlarms | None = None
    claims: StudyClaims | None = None
    endpoints: StudyEndpoints | None = None
    notes: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether the study asks for any."""
        return any(one is not None for one in (self.effects, *self._answered))

    @property
    def answer(self) -> str:
        """In a few sentences, of those whose questions are stated in the study file; else empty."""
        return " ".join(one.answer for one in self._answered if one is not None)

    @property
    def state(self) -> str:
        """Of the first of those that answer; empty without any."""
        return next((one.state for one in self._answered if one is not None), "")

    @property
    def outcomes(self) -> frozenset[str]:
        """What came out, in the words of the report: the state, and every label that counts."""
        labels = {self.state} - {""}
        if self.curves is not None:
            labels |= {one.label for one in self.curves.answers}
        if self.alarms is not None:
            labels |= {one.label for one in self.alarms.arms if not one.synthetic}
        if self.claims is not None:
            labels |= {one.label for one in self.claims.claims}
            labels |= {one.label.partition(":")[0] for one in self.claims.claims}
        if self.endpoints is not None:
            primary = [one for one in self.endpoints.comparisons if one.primary and not one.control]
            labels |= {one.label for one in primary}
            labels |= {one.label.partition(",")[0] for one in primary}
        return frozenset(labels)

    @property
    def _answered(
        self,
    ) -> tuple[StudyCurves | StudyAlarms | StudyEndpoints | StudyClaims | None, ...]:
        return (self.curves, self.alarms, self.endpoints, self.claims)

    def metrics(self) -> dict[str, float | None]:
        """Of the study's own run."""
        return {
            **study_metrics(self.effects),
            **curve_metrics(self.curves),
            **alarm_metrics(self.alarms),
            **claim_metrics(self.claims),
            **endpoint_metrics(self.endpoints),
        }

    def to_json(self) -> dict[str, Any]:
        """For `--json`: each under its name, None for what is not asked for."""
        return {
            "effects": None if self.effects is None else self.effects.to_json(),
            "curves": None if self.curves is None else self.curves.to_json(),
            "alarms": None if self.alarms is None else self.alarms.to_json(),
            "claims": None if self.claims is None else self.claims.to_json(),
            "endpoints": None if self.endpoints is None else self.endpoints.to_json(),
            "findings_notes": list(self.notes),
            "findings_next_steps": list(self.next_steps),
        }


def findings_of(study: Study, plan: Plan) -> Findings:
    """All that a study asks for."""
    found = Findings(
        effects_of(study, plan),
        curves_of(study, plan),
        alarms_of(study, plan),
        claims_of(study, plan),
        endpoints_of(study, plan),
        _notes(study),
    )
    return replace(found, next_steps=tuple(_next_steps(study, found)))


def _next_steps(study: Study, found: Findings) -> Iterator[str]:
    """The lists of a study without a rule whose name is what came out."""
    if study.file.verdict is None:
        reached = {step_key(name) for name in found.outcomes}
        for name, steps in study.file.next_steps.items():
            if step_key(name) in reached:
                yield from steps


def _notes(study: Study) -> tuple[str, ...]:
    if study.file.verdict is not None or rule_hash(study.file) is None:
        return ()
    return (*earlier_notes(study), *calibration_notes(study), *share_notes(study.file))
