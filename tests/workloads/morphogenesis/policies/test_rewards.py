"""The parts of the reward: each formula at its edges, and that they sum to the total."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from telemetry.contracts import STAGES, FactoredAction, PolicySnapshot, Stage
from tests.workloads.morphogenesis.policies.simulated import slot, view
from workloads.morphogenesis.policies.explain import explain_reward, reward_parts
from workloads.morphogenesis.policies.masks import CULL, FOSSILIZE, GERMINATE, WAIT
from workloads.morphogenesis.policies.rewards import (
    PARTS,
    attribution,
    blending_warning,
    cull_shaping,
    discount_of,
    fossilise_shaping,
    potential,
    probation_warning,
    rent,
    reward,
)
from workloads.morphogenesis.view import Decision


@pytest.mark.parametrize(
    ("contribution", "progress", "value"),
    [
        (-2.0, 5.0, -2.0),
        (3.0, 0.0, 0.0),
        (3.0, -1.0, 0.0),
        (9.0, 4.0, 6.0),
        (4.0, 4.0, 4.0),
        (3.0, 4.0, 3.0),
        (3.0, None, 1.5),
    ],
)
def test_credit_is_bounded_by_progress(
    contribution: float, progress: float | None, value: float
) -> None:
    assert attribution(contribution, progress, None, 1.0).value == pytest.approx(value)


def test_without_a_measurement_the_gain_stands_in() -> None:
    assert attribution(None, 3.0, 3.0, 2.0).value == pytest.approx(0.6)
    assert attribution(None, 3.0, 3.0, -2.0).value == 0
    assert attribution(None, None, None, None).value == 0


def test_the_discount_begins_where_accuracy_fell() -> None:
    assert discount_of(None) == discount_of(0.0) == discount_of(3.0) == 1
    assert discount_of(-0.1) == pytest.approx(1 / (1 + math.e))
    assert discount_of(-1000.0) == pytest.approx(0)
    assert attribution(-2.0, -0.1, -0.1, 0.0).value == pytest.approx(-2 / (1 + math.e))


@pytest.mark.parametrize(
    ("contribution", "improvement", "penalty"),
    [
        (1.0, 0.05, 0.0),
        (5.0, 0.05, -0.15),
        (20.0, 0.1, -0.3),
        (5.0, 1.0, 0.0),
        (6.0, 1.0, -0.02),
        (60.0, 1.0, -0.3),
        (5.0, -1.0, 0.0),
        (5.0, None, 0.0),
    ],
)
def test_a_contribution_beyond_the_improvement_is_penalised(
    contribution: float, improvement: float | None, penalty: float
) -> None:
    found = attribution(contribution, 10.0, improvement, 0.0).ratio_penalty
    assert found == pytest.approx(penalty)


def test_rent_grows_with_the_logarithm_of_the_growth() -> None:
    assert rent(0.0) == 0
    assert rent(1.0) == pytest.approx(-0.5 * math.log(2))
    assert rent(1e9) == -8


def test_blending_with_falling_accuracy_is_warned_of() -> None:
    falling = slot(stage="BLENDING", epochs=2, total_improvement=-0.1)
    assert blending_warning(falling) == pytest.approx(-0.2)
    assert blending_warning(
        slot(stage="BLENDING", epochs=9, total_improvement=-0.1)
    ) == pytest.approx(-0.4)
    assert blending_warning(slot(stage="BLENDING", epochs=2, total_improvement=0.0)) == 0
    assert blending_warning(slot(stage="TRAINING", epochs=2, total_improvement=-1.0)) == 0


@pytest.mark.parametrize(
    ("epochs", "warning"), [(1, 0.0), (2, -1.0), (3, -3.0), (4, -9.0), (5, -10.0), (99, -10.0)]
)
def test_waiting_on_probation_costs_three_times_as_much_each_epoch(
    epochs: int, warning: float
) -> None:
    waiting = slot(stage="PROBATIONARY", epochs=epochs)
    assert probation_warning(waiting, 1.0) == warning
    assert probation_warning(waiting, 0.0) == 0


@pytest.mark.parametrize(
    ("stage", "base"),
    [("DORMANT", 0), ("GERMINATED", 1), ("TRAINING", 2), ("BLENDING", 3.5), ("PROBATIONARY", 5.5),
     ("FOSSILIZED", 6)],
)  # fmt: skip
def test_the_potential_rises_by_stage_and_a_little_by_time(stage: Stage, base: float) -> None:
    assert potential(slot(stage=stage)) == base
    if base:
        assert potential(slot(stage=stage, epochs=2)) == pytest.approx(base + 0.6)
        assert potential(slot(stage=stage, epochs=50)) == base + 2


@pytest.mark.parametrize(
    ("contribution", "improvement", "epochs", "shaping"),
    [
        (5.0, 3.0, 5, 1.0),
        (5.0, 3.0, 2, 0.4),
        (1.0, 3.0, 9, 0.6),
        (0.99, 3.0, 9, -0.2),
        (None, 3.0, 9, -0.2),
        (0.0, -0.1, 9, -0.52),
        (5.0, -1.0, 9, -1.0),
        (5.0, -50.0, 9, -1.8),
        (5.0, -0.1, 9, -0.52),
    ],
)
def test_fossilising_pays_for_what_contributes(
    contribution: float | None, improvement: float, epochs: int, shaping: float
) -> None:
    kept = slot(
        stage="PROBATIONARY", epochs=epochs, contribution=contribution,
        total_improvement=improvement,
    )  # fmt: skip
    assert fossilise_shaping(kept) == pytest.approx(shaping)


@pytest.mark.parametrize(
    ("contribution", "shaping"), [(-1.0, 0.3), (-0.5, 0.1), (0.0, -0.3), (4.0, -0.5), (None, 0.0)]
)
def test_culling_pays_for_what_did_harm(contribution: float | None, shaping: float) -> None:
    assert cull_shaping(slot(stage="BLENDING", contribution=contribution)) == pytest.approx(shaping)


def test_planting_costs_a_little_and_moves_the_potential() -> None:
    parts = reward(
        view(slot(), accuracies=(50.0,)),
        Decision(FactoredAction(GERMINATE, "early", "conv_light", "sigmoid")),
        view(slot(stage="TRAINING", epochs=1), accuracies=(50.0, 52.0)),
    )
    assert parts.action_shaping == -0.02
    assert parts.pbrs_bonus == pytest.approx(0.3 * 0.995 * 2.3)
    assert parts.bounded_attribution == pytest.approx(0.6)
    assert parts.compute_rent == pytest.approx(-0.5 * math.log(1.1))
    assert parts.growth_ratio == pytest.approx(0.1)
    assert parts.action_success is True


def test_culling_turns_the_sign_of_the_credit() -> None:
    good = slot(
        stage="PROBATIONARY", epochs=1, contribution=3.0, total_improvement=5.0,
        accuracy_at_germination=45.0,
    )  # fmt: skip
    parts = reward(
        view(good, accuracies=(50.0,)),
        Decision(FactoredAction(CULL, "early")),
        view(slot(stage="EMBARGOED"), accuracies=(50.0, 47.0)),
    )
    assert parts.bounded_attribution == pytest.approx(-3.0)
    assert parts.action_shaping == pytest.approx(-0.005 - 0.45)
    assert parts.seed_contribution == 3.0
    assert parts.host_baseline_acc == 44.0


def test_a_fossilised_seed_earns_nothing_more_until_the_end() -> None:
    fossil = slot(stage="FOSSILIZED", epochs=9, contribution=4.0, total_improvement=5.0)
    weak = slot("mid", "FOSSILIZED", 9, contribution=0.9)
    before = view(fossil, weak, accuracies=(80.0,) * 23)
    middle = view(fossil, weak, accuracies=(80.0,) * 24)
    assert reward(before, Decision(FactoredAction(WAIT)), middle).bounded_attribution == 0
    assert reward(before, Decision(FactoredAction(WAIT)), middle).terminal_bonus == 0
    end = reward(
        middle, Decision(FactoredAction(WAIT)), view(fossil, weak, accuracies=(80.0,) * 25)
    )
    assert end.terminal_bonus == pytest.approx(4.0)
    assert end.fossilize_terminal_bonus == 3.0
    assert (end.num_fossilized_seeds, end.num_contributing_fossilized) == (2, 1)


def test_a_fossilisation_that_was_refused_earns_no_bonus() -> None:
    waiting = slot(stage="PROBATIONARY", epochs=5, contribution=4.0, total_improvement=5.0)
    before = view(waiting, accuracies=(50.0,))
    after = view(waiting, accuracies=(50.0, 51.0))
    parts = reward(before, Decision(FactoredAction(FOSSILIZE, "early")), after)
    assert parts.action_success is False
    assert parts.action_shaping == 0
    given = reward(before, Decision(FactoredAction(FOSSILIZE, "early")), after, success=True)
    assert given.action_shaping == pytest.approx(-0.01 + 0.9)


def test_fossilising_a_seed_since_which_accuracy_fell_gets_no_credit() -> None:
    bad = slot(
        stage="PROBATIONARY", epochs=5, contribution=4.0, total_improvement=-1.0,
        accuracy_at_germination=60.0,
    )  # fmt: skip
    parts = reward(
        view(bad, accuracies=(50.0,)),
        Decision(FactoredAction(FOSSILIZE, "early")),
        view(slot(stage="FOSSILIZED", epochs=1, contribution=4.0), accuracies=(50.0, 51.0)),
    )
    assert parts.bounded_attribution == 0
    assert parts.action_shaping == pytest.approx(-0.01 - 1.0)


def test_a_rollback_costs_ten() -> None:
    here = view(slot(), accuracies=(50.0,))
    parts = reward(here, Decision(FactoredAction(WAIT)), here, rolled_back=True)
    assert parts.rollback_penalty == -10
    assert parts.total_reward == -10


def test_gain_without_a_measurement_is_shared_among_the_seeds() -> None:
    two = (slot("early", "TRAINING", 1), slot("mid", "TRAINING", 1))
    parts = reward(
        view(*two, accuracies=(50.0,)),
        Decision(FactoredAction(WAIT)),
        view(*two, accuracies=(50.0, 54.0)),
    )
    assert parts.bounded_attribution == pytest.approx(0.3 * 4)


def test_parts_sum_to_the_total_whatever_happens() -> None:
    draw = random.Random(5)

    def some(*choices: Any) -> Any:
        return draw.choice(choices)

    def drawn() -> list[Any]:
        return [
            slot(
                name, some(*STAGES), draw.randrange(12),
                contribution=some(None, draw.gauss(1, 4)),
                total_improvement=some(None, draw.gauss(1, 4)),
                accuracy_at_germination=some(None, draw.uniform(20, 90)),
            )
            for name in ("early", "mid", "late")
        ]  # fmt: skip

    for _ in range(500):
        length = draw.randrange(25)
        scores = tuple(draw.uniform(20, 90) for _ in range(length + 1))
        op = some(WAIT, GERMINATE, CULL, FOSSILIZE)
        action = FactoredAction(op, None if op == WAIT else some("early", "mid", "late"))
        parts = reward(
            view(*drawn(), accuracies=scores[:-1]), Decision(action),
            view(*drawn(), accuracies=scores), rolled_back=some(True, False),
        )  # fmt: skip
        measured = [getattr(parts, name) for name in PARTS]
        assert parts.total_reward == pytest.approx(math.fsum(measured))
        assert parts.total_reward == pytest.approx(sum(reward_parts(parts).values()))
        assert PolicySnapshot(reward_components=parts).values()["reward/total"] is not None


def test_a_reward_is_explained_by_its_largest_parts_first() -> None:
    fossil = slot(stage="FOSSILIZED", epochs=9, contribution=4.0)
    here = view(fossil, accuracies=(80.0,) * 24)
    parts = reward(here, Decision(FactoredAction(WAIT)), view(fossil, accuracies=(80.0,) * 25))
    assert explain_reward(parts) == (
        "reward +6.94: terminal bonus +4.00, fossilize terminal bonus +3.00, "
        "compute rent -0.05, pbrs bonus -0.01"
    )
