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
from orchestrator.effects.gathering import effects_of, figures_by_name, trial_effects

__all__ = [
    "CoalitionMean",
    "Effect",
    "EffectTable",
    "Question",
    "StudyEffects",
    "effects_of",
    "figures_by_name",
    "trial_effects",
]
