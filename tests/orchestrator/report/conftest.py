"""Verdicts to report, made by hand so that a report's test fails for the report's sake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.report import StudyInfo
from orchestrator.verdict import ArmVerdict, Best, GateResult, Verdict


@pytest.fixture
def make_arm() -> Callable[..., ArmVerdict]:
    def make(arm: str, **stated: Any) -> ArmVerdict:
        usual: dict[str, Any] = {
            "role": "arm",
            "n": 5,
            "planned": 5,
            "mean": 41.5,
            "ci_low": 40.25,
            "ci_high": 42.75,
            "delta": 1.5,
            "delta_ci_low": -0.5,
            "delta_ci_high": 3.5,
            "label": "inconclusive",
            "band": "<2",
            "extra": {"floor_corrected": 26.5, "collapsed": 0, "diverged": 0, "failed": 0},
        }
        return ArmVerdict(arm=arm, **(usual | stated))

    return make


@pytest.fixture
def unmeasured() -> dict[str, Any]:
    names = ("mean", "ci_low", "ci_high", "delta", "delta_ci_low", "delta_ci_high")
    missing: dict[str, Any] = dict.fromkeys(names)
    return missing | {"n": 0, "label": "incomplete", "band": "", "extra": {"failed": 5}}


@pytest.fixture
def make_verdict(make_arm: Callable[..., ArmVerdict]) -> Callable[..., Verdict]:
    def make(*arms: ArmVerdict, **stated: Any) -> Verdict:
        no_delta = dict.fromkeys(("delta", "delta_ci_low", "delta_ci_high"))
        base = make_arm("base", role="comparator", label="comparator", band="", **no_delta)
        usual: dict[str, Any] = {
            "study": "lora-sweep",
            "question": "Does it help?",
            "metric": "f1",
            "unit": "points",
            "direction": "higher",
            "comparator": "base",
            "confidence": 0.95,
            "simultaneous": "bonferroni",
            "family": len(arms),
            "bands": ((2.0, "marginal"), (5.0, "significant"), (10.0, "strong")),
            "state": "verdict",
            "outcome": "inconclusive",
            "gate": GateResult(
                met=True,
                value=0.5,
                ci_low=0.4,
                ci_high=0.6,
                floor=15.0,
                target=0.25,
                kind="floor_corrected_ratio",
                confidence=0.9,
                control="plain",
                reference="text",
                reference_value=62.0,
                floor_arm="constant",
            ),
            "arms": (base, *arms),
            "controls": (make_arm("text", role="control", label="control", mean=62.0),),
            "best": Best("a", "dev", 44.0, "test", 41.5, 1.5, "inconclusive"),
            "answer": "Inconclusive: nothing is known.",
        }
        return Verdict(**(usual | stated))

    return make


@pytest.fixture
def info() -> StudyInfo:
    return StudyInfo(
        name="lora-sweep",
        instance="lora-sweep-0123456789ab",
        question="Does it help?",
        reproduce="orrery run lora-sweep",
        provenance={"Git commit": "abc", "Python": None},
        wall_time_s=3720.0,
        disk_bytes=3 * 1024**2,
    )
