"""The gates between stages: pure functions of what was measured.

Source: the seed lifecycle's G0 to G5. G4 belonged to a stage that is no longer used. What was not
measured (None, NaN) does not pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from telemetry.contracts import GateEvaluationTrace, Stage

Gate = Literal["G0", "G1", "G2", "G3", "G5"]

MIN_IMPROVEMENT = 0.5
"""Points since TRAINING began (G2). The host's own progress in that time is in it."""
MIN_TRAINING_EPOCHS = 3
MAX_ISOLATION_VIOLATIONS = 10
MIN_GRADIENT_RATIO = 0.05
MIN_BLENDING_EPOCHS = 3
MIN_ALPHA = 0.95
MIN_CONTRIBUTION = 1.0
"""Points of accuracy (G5)."""


@dataclass(frozen=True)
class GateResult:
    """How a gate judged.

    Attributes:
        score: 0 to 1, how well; of a check without degrees 0 or 1.
        checks_passed: one line each, with the value seen; `checks_failed` likewise.
        message: one line for people.
    """

    gate: Gate
    passed: bool
    score: float
    checks_passed: tuple[str, ...]
    checks_failed: tuple[str, ...]
    message: str

    def trace(self, slot: str) -> GateEvaluationTrace:
        """As a telemetry contract."""
        return GateEvaluationTrace(
            gate=self.gate,
            slot_id=slot,
            passed=self.passed,
            score=self.score,
            checks_passed=list(self.checks_passed),
            checks_failed=list(self.checks_failed),
            message=self.message,
        )


def g0(seed_id: str | None, blueprint: str | None) -> GateResult:
    """Into GERMINATED: the seed has a name and a blueprint."""
    checks = {
        f"seed id {seed_id or 'missing'}": bool(seed_id),
        f"blueprint {blueprint or 'missing'}": bool(blueprint),
    }
    return _judged("G0", checks)


def g1(stage: Stage) -> GateResult:
    """Into TRAINING: the seed has germinated."""
    return _judged("G1", {f"stage {stage}, to be GERMINATED": stage == "GERMINATED"})


def g2(
    *,
    improvement: float | None,
    isolation_violations: int,
    epochs_in_stage: int,
    gradient_ratio: float | None,
) -> GateResult:
    """Into BLENDING: the network improved while the seed trained apart, and the seed did train.

    `improvement`: points since TRAINING began. Score min(1, improvement / 5).
    """
    checks = {
        f"improvement {_shown(improvement)} points, at least {MIN_IMPROVEMENT}": _at_least(
            improvement, MIN_IMPROVEMENT
        ),
        f"{isolation_violations} isolation violations, at most {MAX_ISOLATION_VIOLATIONS}": (
            isolation_violations <= MAX_ISOLATION_VIOLATIONS
        ),
        f"epochs in training {epochs_in_stage}, at least {MIN_TRAINING_EPOCHS}": (
            epochs_in_stage >= MIN_TRAINING_EPOCHS
        ),
        f"gradient ratio {_shown(gradient_ratio)}, at least {MIN_GRADIENT_RATIO}": _at_least(
            gradient_ratio, MIN_GRADIENT_RATIO
        ),
    }
    return _judged("G2", checks, _share(improvement, 5.0))


def g3(*, epochs_blending: int, alpha: float) -> GateResult:
    """Into PROBATIONARY: the seed is blended in. Score alpha."""
    checks = {
        f"epochs blending {epochs_blending}, at least {MIN_BLENDING_EPOCHS}": (
            epochs_blending >= MIN_BLENDING_EPOCHS
        ),
        f"alpha {alpha:.3g}, at least {MIN_ALPHA}": alpha >= MIN_ALPHA,
    }
    return _judged("G3", checks, alpha)


def g5(*, contribution: float | None, healthy: bool) -> GateResult:
    """Into FOSSILIZED: the seed is worth keeping, as measured with and without it.

    `contribution`: points. There is no stand-in for one that was not measured. Score
    min(1, contribution / 10).
    """
    checks = {
        f"contribution {_shown(contribution)} points, at least {MIN_CONTRIBUTION}": _at_least(
            contribution, MIN_CONTRIBUTION
        ),
        f"seed {'healthy' if healthy else 'not healthy'}": healthy,
    }
    return _judged("G5", checks, _share(contribution, 10.0))


def _judged(gate: Gate, checks: Mapping[str, bool], score: float | None = None) -> GateResult:
    failed = tuple(check for check, held in checks.items() if not held)
    return GateResult(
        gate=gate,
        passed=not failed,
        score=float(not failed) if score is None else score,
        checks_passed=tuple(check for check, held in checks.items() if held),
        checks_failed=failed,
        message=f"{gate} failed: {'; '.join(failed)}" if failed else f"{gate} passed",
    )


def _at_least(value: float | None, least: float) -> bool:
    return value is not None and value >= least  # a NaN is not


def _share(value: float | None, whole: float) -> float:
    return min(1.0, value / whole) if value is not None and value > 0 else 0.0


def _shown(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3g}"
