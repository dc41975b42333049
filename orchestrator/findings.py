"""What a study found beside its verdict on trials: effects of factors, or curves with answers.

Importing this loads no numpy; estimating does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.curves.curve import StudyCurves
from orchestrator.curves.metrics import curve_metrics
from orchestrator.curves.study_curves import curves_of
from orchestrator.effects.effect import StudyEffects
from orchestrator.effects.gathering import effects_of
from orchestrator.effects.metrics import study_metrics

if TYPE_CHECKING:
    from orchestrator.planning import Plan
    from orchestrator.study import Study


@dataclass(frozen=True)
class Findings:
    """What the design of a study asks for; None is what it does not ask for.

    Attributes:
        effects: removal costs and causal effects, of a `factorial`.
        curves: of `fractions`.
    """

    effects: StudyEffects | None = None
    curves: StudyCurves | None = None

    def __bool__(self) -> bool:
        """Whether the design asks for any."""
        return self.effects is not None or self.curves is not None

    @property
    def answer(self) -> str:
        """In a sentence, if its questions are stated in the design; else empty."""
        return self.curves.answer if self.curves is not None else ""

    def metrics(self) -> dict[str, float | None]:
        """Of the study's own run."""
        return {**study_metrics(self.effects), **curve_metrics(self.curves)}

    def to_json(self) -> dict[str, Any]:
        """For `--json`: each under its name, None for what is not asked for."""
        return {
            "effects": None if self.effects is None else self.effects.to_json(),
            "curves": None if self.curves is None else self.curves.to_json(),
        }


def findings_of(study: Study, plan: Plan) -> Findings:
    """All that a study's design asks for."""
    return Findings(effects_of(study, plan), curves_of(study, plan))
