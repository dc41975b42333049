"""Which alarm comes first: signals of every step of every trial, judged at one false-alarm rate.

Importing this loads no numpy; judging does.
"""

from orchestrator.alarms.metrics import alarm_metrics
from orchestrator.alarms.result import (
    ArmAlarms,
    Rate,
    RatePoint,
    Roc,
    RunAlarm,
    SignalTimes,
    StudyAlarms,
    Threshold,
    Trajectory,
)
from orchestrator.alarms.study_alarms import alarms_of

__all__ = [
    "ArmAlarms",
    "Rate",
    "RatePoint",
    "Roc",
    "RunAlarm",
    "SignalTimes",
    "StudyAlarms",
    "Threshold",
    "Trajectory",
    "alarm_metrics",
    "alarms_of",
]
