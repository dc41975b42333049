"""Alarms as metrics of the study's own run."""

from __future__ import annotations

from orchestrator.alarms.result import StudyAlarms

ALARMS = "alarms/"


def alarm_metrics(alarms: StudyAlarms | None) -> dict[str, float | None]:
    """`alarms/ARM/first`, `…/than`, `…/median_lead`, each with `/low` and `/high`; `…/lead`, the
    restricted mean, with `/lower_bound` and `/upper_bound`, which assume nothing; by signal
    `alarms/ARM/SIGNAL/detected`, `…/delay`, `…/auc`; `alarms/unseen/SIGNAL/rate` with `/upper`, and
    `alarms/calibrated` (0 or 1). ":" stands for "+" in a name; None is "not told".
    """
    if alarms is None:
        return {}
    named: dict[str, float | None] = {f"{ALARMS}calibrated": float(alarms.calibrated)}
    for one in alarms.thresholds:
        name = f"{ALARMS}{_safe(alarms.unseen)}/{_safe(one.signal)}"
        named |= {f"{name}/rate": one.false_alarms.rate, f"{name}/upper": one.upper}
    for arm in alarms.arms:
        name = ALARMS + _safe(arm.arm)
        for what in ("first", "than"):
            rate = getattr(arm, what)
            named |= _with_ends(f"{name}/{what}", rate.rate, rate.low, rate.high)
        median, lead = arm.median_lead, arm.lead
        named |= _with_ends(f"{name}/median_lead", median.value, median.low, median.high)
        named |= {
            f"{name}/lead": lead.value,
            f"{name}/lead/lower_bound": lead.low,
            f"{name}/lead/upper_bound": lead.high,
        }
        for times in arm.signals:
            signal, rate, delay = f"{name}/{_safe(times.signal)}", times.detected, times.delay
            named |= _with_ends(f"{signal}/detected", rate.rate, rate.low, rate.high)
            named |= _with_ends(f"{signal}/delay", delay.value, delay.low, delay.high)
    for roc in alarms.roc:
        name = f"{ALARMS}{_safe(roc.arm)}/{_safe(roc.signal)}/auc"
        named |= _with_ends(name, roc.area.value, roc.area.low, roc.area.high)
    return named


def _safe(name: str) -> str:
    return name.replace("+", ":")


def _with_ends(
    name: str, value: float | None, low: float | None, high: float | None
) -> dict[str, float | None]:
    return {name: value, f"{name}/low": low, f"{name}/high": high}
