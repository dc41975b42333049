"""Studies of `TwoSeries`: healthy runs twice, and runs whose ratio or loss rises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.orchestrator.quick_study import arm

SERIES = "tests.series_workload:TwoSeries"


def seeded(listed: Mapping[str, Any], seeds: Any) -> dict[str, Any]:
    """An arm with seeds of its own."""
    return {**listed, "seeds": seeds}


def alarm_rule(**parts: Any) -> dict[str, Any]:
    return {
        "signals": {"structure": {"column": "sv_ratio"}, "loss": {"column": "loss"}},
        "first": "structure",
        "than": "loss",
        "calibration": "healthy",
        "unseen": "unseen",
        "onset": "onset_step",
        "synthetic": ["drawn"],
        **parts,
    }


def claims() -> dict[str, Any]:
    return {
        "in-zone": {
            "arm": "healthy",
            "statistic": "share",
            "column": "sv_ratio",
            "within": [0.2, 0.4],
            "expected": [0.9, None],
            "source": "the card",
        },
        "collapses": {
            "arm": "healthy",
            "statistic": "runs",
            "column": "sv_ratio",
            "within": [0.8, None],
            "expected": [None, 0.9],
            "about": "no run should",
        },
        "middle": {
            "arm": "healthy",
            "statistic": "median",
            "column": "loss",
            "expected": [5, None],
        },
    }


def series_study(calibration: Any = "0-9", unseen: Any = "100-105", **parts: Any) -> dict[str, Any]:
    """A study of two series as the mapping that its file would hold: alarms and claims."""
    return {
        "name": "series-study",
        "question": "Which warns first?",
        "workload": SERIES,
        "seeds": "200-205",
        "design": {
            "kind": "configurations",
            "arms": [
                seeded(arm("healthy", "control"), calibration),
                seeded(arm("unseen", "control"), unseen),
                arm("collapse", ratio_rise=0.1, loss_rise=0.02),
                arm("explosion", loss_rise=3.0, loss_breaks=8),
                arm("drawn", ratio_rise=0.2),
            ],
        },
        "alarms": alarm_rule(),
        "claims": claims(),
        **parts,
    }
