"""What the heuristic, the random and the fixed policies do in front of a view."""

from __future__ import annotations

from collections import Counter

import pytest

from telemetry.contracts import FactoredAction
from tests.workloads.morphogenesis.policies.simulated import SimulatedEpisode, settled, slot, view
from workloads.morphogenesis.config import MorphogenesisConfig, SlotSettings
from workloads.morphogenesis.policies.fixed import Random, Schedule
from workloads.morphogenesis.policies.heuristic import (
    Heuristic,
    has_stabilised,
    plateau_epochs,
)
from workloads.morphogenesis.policies.making import make_policy
from workloads.morphogenesis.policies.masks import CULL, FOSSILIZE, GERMINATE, WAIT, allowed
from workloads.morphogenesis.policies.observation import LIMIT, entry_names, observe

FLAT = (60.0,) * 6


def test_a_plateau_is_epochs_in_a_row_that_gain_less_than_half_a_point() -> None:
    assert plateau_epochs((10, 20, 20.4, 20.8)) == 2
    assert plateau_epochs((10, 20, 20.5)) == 0
    assert plateau_epochs((20, 10)) == 1
    assert plateau_epochs(()) == plateau_epochs((5.0,)) == 0


def test_a_host_that_was_stable_once_stays_stable() -> None:
    assert not has_stabilised((2.0, 1.99, 1.98))
    assert has_stabilised((2.0, 1.99, 1.98, 1.97))
    assert has_stabilised((2.0, 1.99, 1.98, 1.97, 1.0, 0.5))
    assert not has_stabilised((2.0, 1.99, 1.98, 1.9, 1.89, 1.8))
    assert not has_stabilised((2.0, 1.99, 3.1, 3.1, 3.1))


def test_the_heuristic_plants_on_a_plateau_of_a_settled_host() -> None:
    decision = Heuristic().decide(settled())
    assert decision.action == FactoredAction(GERMINATE, "early", "norm", "sigmoid")
    assert "no gain for 5 epochs" in decision.explanation


def test_the_heuristic_waits_before_epoch_five_and_while_accuracy_rises() -> None:
    assert Heuristic().decide(settled(epochs=4)).action.op == WAIT
    rising = view(accuracies=tuple(float(x) for x in range(10)))
    assert Heuristic().decide(rising).action.op == WAIT


def test_the_heuristic_waits_until_the_host_has_settled() -> None:
    unsettled = view(accuracies=FLAT, val_losses=(6.0, 5.0, 4.0, 3.0, 2.0, 1.0))
    decision = Heuristic().decide(unsettled)
    assert (decision.action.op, decision.explanation) == (WAIT, "the host has not stabilised")


def test_the_heuristic_grows_one_seed_at_a_time() -> None:
    assert Heuristic().decide(settled(slot("early", "TRAINING", 1), slot("mid"))).action.op == WAIT
    fossil = settled(slot("early", "FOSSILIZED", 1), slot("mid"))
    assert Heuristic().decide(fossil).action.slot == "mid"


@pytest.mark.parametrize(
    ("contribution", "op"), [(0.1, FOSSILIZE), (0.0, CULL), (-3.0, CULL), (None, WAIT)]
)
def test_the_heuristic_judges_probation_by_contribution(
    contribution: float | None, op: str
) -> None:
    waiting = slot(stage="PROBATIONARY", epochs=1, contribution=contribution)
    assert Heuristic().decide(settled(waiting)).action.op == op


@pytest.mark.parametrize(
    ("epochs", "improvement", "op"), [(5, -2.1, CULL), (4, -9.0, WAIT), (5, -2.0, WAIT)]
)
def test_the_heuristic_culls_what_fails_for_five_epochs(
    epochs: int, improvement: float, op: str
) -> None:
    failing = slot(stage="BLENDING", epochs=epochs, stage_improvement=improvement)
    assert Heuristic().decide(settled(failing)).action.op == op


def test_after_a_cull_the_heuristic_waits_five_epochs_and_takes_the_next_blueprint() -> None:
    heuristic = Heuristic()
    heuristic.decide(settled(slot(stage="TRAINING", blueprint="norm"), epochs=8))
    ops = [heuristic.decide(settled(epochs=9 + n)).action for n in range(6)]
    assert [action.op for action in ops] == [WAIT] * 5 + [GERMINATE]
    assert ops[-1].blueprint == "conv_light"


def test_the_heuristic_passes_over_a_blueprint_that_was_culled_again_and_again() -> None:
    heuristic = Heuristic()
    for epoch in (6, 8):
        growing = slot(stage="TRAINING", blueprint="conv_heavy")
        heuristic.decide(settled(growing, epochs=epoch))
        heuristic.decide(settled(epochs=epoch + 1))
    assert heuristic.memory()["penalties"]["conv_heavy"] == pytest.approx(2.5)
    again = settled(slot(stage="TRAINING", blueprint="conv_heavy"), epochs=9)
    heuristic.decide(again)
    heuristic.decide(settled(epochs=10))
    assert heuristic.memory()["penalties"]["conv_heavy"] == pytest.approx(2.625)
    heuristic._penalties["norm"] = 1e3
    for epoch in range(11, 15):
        heuristic.decide(settled(epochs=epoch))
    assert heuristic.decide(settled(epochs=15)).action.blueprint == "conv_light"


def test_the_heuristic_goes_on_from_its_memory() -> None:
    first, second = Heuristic(), Heuristic()
    first.decide(settled(slot(stage="TRAINING", blueprint="norm"), epochs=8))
    first.decide(settled(epochs=9))
    second._recall(first.memory())
    assert second.decide(settled(epochs=10)) == first.decide(settled(epochs=10))
    assert Heuristic().decide(settled(epochs=10)).action.op == GERMINATE


def test_random_draws_only_what_is_allowed_and_all_of_it() -> None:
    here = settled(slot("early", "PROBATIONARY", 1), slot("mid"))
    drawn = Counter(str(Random(seed).decide(here).action) for seed in range(400))
    assert set(drawn) == {
        "WAIT", "GERMINATE(mid)", "CULL(early)", "FOSSILIZE(early)",
    }  # fmt: skip
    assert min(drawn.values()) > 60
    assert all(allowed(here).permits(Random(seed).decide(here).action) for seed in range(50))


def test_random_decides_alike_at_the_same_epoch_of_the_same_seed() -> None:
    here = settled(slot("early"), slot("mid"), slot("late"))
    assert Random(3).decide(here) == Random(3).decide(here)


def test_a_schedule_plants_all_that_is_due_at_once_and_then_fossilises() -> None:
    schedule = Schedule(
        {
            "early": SlotSettings(blueprint="norm"),
            "mid": SlotSettings(blueprint="conv_light", blend="linear"),
            "late": SlotSettings(germinate_at=2),
        }
    )
    start = view(slot("early"), slot("mid"), slot("late"))
    first = schedule.decide(start)
    assert [first.action, *first.also] == [
        FactoredAction(GERMINATE, "early", "norm", "sigmoid"),
        FactoredAction(GERMINATE, "mid", "conv_light", "linear"),
    ]
    later = settled(
        slot("early", "PROBATIONARY", 1), slot("mid", "TRAINING", 1), slot("late"), epochs=2
    )
    second = schedule.decide(later)
    assert [second.action.op, *(a.op for a in second.also)] == [GERMINATE, FOSSILIZE]
    assert schedule.decide(settled(slot("late"), epochs=3)).action.op == WAIT


@pytest.mark.parametrize("name", ["none", "static"])
def test_policies_that_do_nothing_wait(name: str) -> None:
    policy = make_policy(MorphogenesisConfig(policy=name), 0)  # type: ignore[arg-type]
    assert policy.decide(settled()).action.op == WAIT


@pytest.mark.parametrize("name", ["none", "static", "schedule", "heuristic", "random"])
def test_every_policy_plays_a_whole_episode_within_the_masks(name: str) -> None:
    config = MorphogenesisConfig(policy=name, slots={"early": {}, "mid": {}})  # type: ignore
    policy, episode = make_policy(config, 1), SimulatedEpisode(max_epochs=20)
    while not episode.done:
        episode.step(policy.decide(episode.view()))
    assert len(episode.actions) == 20


def test_a_learned_policy_needs_episodes() -> None:
    with pytest.raises(ValueError, match="give an episode_factory"):
        make_policy(MorphogenesisConfig(policy="learned"), 0)


def test_observations_of_a_host_always_have_the_same_entries() -> None:
    start, later = view(slot("early"), slot("mid")), settled(slot("early", "BLENDING"), slot("mid"))
    assert entry_names(start) == entry_names(later)
    assert len(observe(start)) == len(entry_names(start)) == len(set(entry_names(start)))


def test_what_was_not_measured_is_told_from_zero() -> None:
    names = entry_names(settled(slot(stage="BLENDING")))
    unknown = dict(zip(names, observe(settled(slot(stage="BLENDING"))), strict=True))
    zero = dict(zip(names, observe(settled(slot(stage="BLENDING", contribution=0.0))), strict=True))
    differing = {name for name in names if unknown[name] != zero[name]}
    assert differing == {"early: contribution measured"}


def test_observations_stay_bounded_when_the_loss_explodes() -> None:
    broken = view(
        slot(stage="BLENDING", contribution=-1e9), accuracies=FLAT,
        val_losses=(2.0,) * 5 + (float("inf"),), train_losses=(float("nan"),) * 6,
    )  # fmt: skip
    assert all(-LIMIT <= value <= LIMIT for value in observe(broken))
