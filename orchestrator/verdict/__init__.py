"""Verdicts: a study's decision rule, applied to scores. Plain data in, plain data out.

Importing this loads no numpy and no scipy; judging does.
"""

from orchestrator.verdict.evidence import ArmScores, ReplicateScores, Role
from orchestrator.verdict.judge import judge
from orchestrator.verdict.plan import Resolvable, smallest_resolvable
from orchestrator.verdict.result import (
    ArmVerdict,
    Best,
    ComparisonVerdict,
    GateResult,
    Verdict,
    VerdictState,
)
from orchestrator.verdict.rule import (
    Band,
    Comparison,
    Gate,
    RangeGate,
    RatioGate,
    Rule,
    Selection,
)

__all__ = [
    "ArmScores",
    "ArmVerdict",
    "Band",
    "Best",
    "Comparison",
    "ComparisonVerdict",
    "Gate",
    "GateResult",
    "RangeGate",
    "RatioGate",
    "ReplicateScores",
    "Resolvable",
    "Role",
    "Rule",
    "Selection",
    "Verdict",
    "VerdictState",
    "judge",
    "smallest_resolvable",
]
