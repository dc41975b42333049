"""The alarms of a study, from what is known of its trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.alarms.result import StudyAlarms
    from orchestrator.planning import Plan
    from orchestrator.study import Study


def alarms_of(study: Study, plan: Plan) -> StudyAlarms | None:
    """Who alarms first in a study; None if it does not ask."""
    from orchestrator.error_share import judged_alarms

    rule = judged_alarms(study.file)
    if rule is None:
        return None
    from orchestrator.alarms.gathering import gather
    from orchestrator.alarms.judging import judge_alarms

    return judge_alarms(rule, gather(study, plan, rule))
