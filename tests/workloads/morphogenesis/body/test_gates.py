"""Gates judge at the stated boundaries, and what was not measured does not pass."""

from __future__ import annotations

import math

import msgspec
import pytest

from workloads.morphogenesis.body import gates

GOOD = {
    "improvement": 0.5,
    "isolation_violations": 10,
    "epochs_in_stage": 3,
    "gradient_ratio": 0.05,
}


def below(value):
    return math.nextafter(value, -math.inf)


@pytest.mark.parametrize("missing", [{"seed_id": None}, {"seed_id": ""}, {"blueprint": None}])
def test_g0_needs_a_seed_id_and_a_blueprint(missing) -> None:
    asked = {"seed_id": "early-0", "blueprint": "norm"}
    assert gates.g0(**asked).passed
    judged = gates.g0(**{**asked, **missing})
    assert not judged.passed
    assert len(judged.checks_failed) == len(judged.checks_passed) == 1


@pytest.mark.parametrize("stage", ["DORMANT", "TRAINING", "CULLED"])
def test_g1_needs_the_stage_germinated(stage) -> None:
    assert gates.g1("GERMINATED").passed
    assert not gates.g1(stage).passed


def test_g2_passes_with_every_value_on_its_boundary() -> None:
    judged = gates.g2(**GOOD)
    assert judged.passed
    assert len(judged.checks_passed) == 4
    assert judged.score == pytest.approx(0.1)
    assert judged.message == "G2 passed"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("improvement", below(0.5)),
        ("isolation_violations", 11),
        ("epochs_in_stage", 2),
        ("gradient_ratio", below(0.05)),
        ("improvement", None),
        ("gradient_ratio", None),
        ("improvement", math.nan),
        ("gradient_ratio", math.nan),
    ],
)
def test_g2_fails_with_one_value_just_beyond_its_boundary_or_not_measured(name, value) -> None:
    judged = gates.g2(**{**GOOD, name: value})
    assert not judged.passed
    assert len(judged.checks_failed) == 1
    assert len(judged.checks_passed) == 3
    assert judged.checks_failed[0] in judged.message


@pytest.mark.parametrize(
    ("improvement", "score"), [(None, 0), (-3.0, 0), (0.0, 0), (2.5, 0.5), (5.0, 1), (9.0, 1)]
)
def test_the_score_of_g2_is_a_fifth_of_the_points_and_at_most_1(improvement, score) -> None:
    assert gates.g2(**{**GOOD, "improvement": improvement}).score == score


@pytest.mark.parametrize(
    ("epochs", "alpha", "passed"),
    [(3, 0.95, True), (2, 0.95, False), (3, below(0.95), False), (2, 0.5, False), (5, 1.0, True)],
)
def test_g3_needs_3_epochs_and_alpha_of_95_percent(epochs, alpha, passed) -> None:
    judged = gates.g3(epochs_blending=epochs, alpha=alpha)
    assert judged.passed is passed
    assert judged.score == alpha


@pytest.mark.parametrize(
    ("contribution", "healthy", "passed"),
    [
        (1.0, True, True),
        (below(1.0), True, False),
        (1.0, False, False),
        (None, True, False),
        (math.nan, True, False),
        (-2.0, False, False),
    ],
)
def test_g5_needs_a_measured_contribution_of_a_point_and_health(
    contribution, healthy, passed
) -> None:
    assert gates.g5(contribution=contribution, healthy=healthy).passed is passed


@pytest.mark.parametrize(("contribution", "score"), [(None, 0), (-1.0, 0), (5.0, 0.5), (20.0, 1)])
def test_the_score_of_g5_is_a_tenth_of_the_points_and_at_most_1(contribution, score) -> None:
    assert gates.g5(contribution=contribution, healthy=True).score == score


def test_a_contribution_that_was_not_measured_is_told_as_such() -> None:
    assert "contribution n/a points" in gates.g5(contribution=None, healthy=True).message


def test_a_result_becomes_a_telemetry_contract_that_survives_json() -> None:
    judged = gates.g2(**{**GOOD, "improvement": None})
    trace = judged.trace("mid")
    again = msgspec.json.decode(msgspec.json.encode(trace), type=type(trace))
    assert again == trace
    assert (again.gate, again.slot_id, again.passed) == ("G2", "mid", False)
    assert tuple(again.checks_failed) == judged.checks_failed
