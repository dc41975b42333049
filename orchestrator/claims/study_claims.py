"""The claims of a study beside its figures, from what is known of its trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.claims.result import StudyClaims
    from orchestrator.planning import Plan
    from orchestrator.study import Study


def claims_of(study: Study, plan: Plan) -> StudyClaims | None:
    """What came of the claims of a study; None if it states none."""
    claims = study.file.claims
    if not claims:
        return None
    from orchestrator.claims.gathering import gather
    from orchestrator.claims.judging import CONFIDENCE, judge_claims
    from orchestrator.error_share import shared_confidence
    from orchestrator.limits import column_limits

    runs = {name: gather(study, plan, claim) for name, claim in claims.items()}
    limits = {one.column: column_limits(study.workload, one.column) for one in claims.values()}
    confidence = shared_confidence(study.file, CONFIDENCE)
    return judge_claims(claims, runs, pending(plan), confidence, limits=limits)


def pending(plan: Plan) -> str:
    """Nothing is called anything before all planned trials ended: how far they are, else empty."""
    from orchestrator.claims.gathering import FAILED

    ended = [i for i in plan.trials if i.record.outcome is not None or i.state in FAILED]
    if len(ended) == len(plan.trials):
        return ""
    return f"{len(ended)} of {len(plan.trials)} trials have ended"
