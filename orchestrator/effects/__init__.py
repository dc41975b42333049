"""Effects of switches and factors, with intervals: removal costs and causal effects.

Importing this loads no numpy; estimating does.
"""

from orchestrator.effects.effect import (
    CoalitionMean,
    Effect,
    EffectTable,
    Question,
    StudyEffects,
)
from orchestrator.effects.gathering import effects_of, trial_effects
from orchestrator.effects.metrics import figures_by_name, model_metrics, study_metrics

__all__ = [
    "CoalitionMean",
    "Effect",
    "EffectTable",
    "Question",
    "StudyEffects",
    "effects_of",
    "figures_by_name",
    "model_metrics",
    "study_metrics",
    "trial_effects",
]
