"""Models whose parts can be switched: measured at many coalitions, sharing what they agree on."""

from workloads.switching.coalition import Coalition, all_coalitions, as_names, as_states
from workloads.switching.naive import evaluate_naively
from workloads.switching.prefix import evaluate_coalitions
from workloads.switching.results import CoalitionScores, Score
from workloads.switching.segments import Segment, check_segments, segment_passes
from workloads.switching.undisturbed import undisturbed

__all__ = [
    "evaluate_coalitions",
    "evaluate_naively",
    "Segment",
    "check_segments",
    "segment_passes",
    "CoalitionScores",
    "Score",
    "undisturbed",
    "Coalition",
    "all_coalitions",
    "as_names",
    "as_states",
]
