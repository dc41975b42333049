"""The statistics that every study's verdict shares: intervals, gates, rates and power.

The seed is the unit of replication; the question is the unit of observation and belongs to a
cluster; questions are the same in all arms. ``contrasts`` holds the derivation of the interval.
"""

from orchestrator.statistics.contrasts import Estimate, contrast, difference, mean
from orchestrator.statistics.moments import (
    Moments,
    cluster_index,
    moments,
    moments_of_means,
    negated,
)
from orchestrator.statistics.power import (
    Noise,
    Resolution,
    measured_noise,
    questions_needed,
    resolution,
)
from orchestrator.statistics.proportions import Proportion, exact_proportion
from orchestrator.statistics.ratios import RatioInterval, floor_corrected_ratio
from orchestrator.statistics.scores import (
    Aligned,
    ScoredQuestions,
    align,
    align_means,
    scored_questions,
)
from orchestrator.statistics.simulation import StudyModel, simulate
from orchestrator.statistics.simultaneous import simultaneous_half_widths

__all__ = [
    "Aligned",
    "Estimate",
    "Moments",
    "Noise",
    "Proportion",
    "RatioInterval",
    "Resolution",
    "ScoredQuestions",
    "StudyModel",
    "align",
    "align_means",
    "cluster_index",
    "contrast",
    "difference",
    "exact_proportion",
    "floor_corrected_ratio",
    "mean",
    "measured_noise",
    "moments",
    "moments_of_means",
    "negated",
    "questions_needed",
    "resolution",
    "scored_questions",
    "simulate",
    "simultaneous_half_widths",
]
