"""Scores that are stated as a mean only."""

from __future__ import annotations

from orchestrator.verdict import ArmScores, ReplicateScores, Rule, judge

RULE = Rule(metric="x", comparator="a", bands=({"at_least": 1, "name": "some"},))  # type: ignore[arg-type]


def arm(name: str, role: str, *values: float) -> ArmScores:
    replicates = tuple(
        ReplicateScores(seed=seed, state="done", value=value) for seed, value in enumerate(values)
    )
    return ArmScores(name, role, replicates)  # type: ignore[arg-type]


def test_a_mean_of_zero_is_a_measurement() -> None:
    verdict = judge(RULE, [arm("a", "comparator", 0, 0, 0, 0, 1), arm("b", "arm", 5, 5, 5, 6, 5)])
    found = verdict.find("a")
    assert found is not None
    assert found.mean == 0.2
    assert verdict.find("b").label.startswith("at least 1")  # type: ignore[union-attr]
