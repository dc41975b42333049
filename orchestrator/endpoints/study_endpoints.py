"""The endpoints of a study, from what is known of its trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.endpoints.result import StudyEndpoints
    from orchestrator.planning import Plan
    from orchestrator.study import Study


def endpoints_of(study: Study, plan: Plan) -> StudyEndpoints | None:
    """What came of the endpoints of a study; None if it states none. Raises `UsageError` for
    scores that cannot be paired."""
    endpoints = study.file.endpoints
    if not endpoints:
        return None
    from orchestrator.claims.study_claims import pending
    from orchestrator.endpoints.gathering import gather
    from orchestrator.endpoints.judging import CONFIDENCE, judge_endpoints
    from orchestrator.error_share import shared_confidence
    from orchestrator.errors import UsageError
    from orchestrator.limits import column_limits

    limits = {one.column: column_limits(study.workload, one.column) for one in endpoints.values()}
    confidence = shared_confidence(study.file, CONFIDENCE)
    try:
        return judge_endpoints(
            endpoints, gather(study, plan), pending(plan), confidence, limits=limits
        )
    except ValueError as error:
        raise UsageError(f"study '{study.name}', {error}") from error
