"""What an epoch does to a network: decisions, measurements, lives of seeds, rollback."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from telemetry.contracts import RewardComponents
from telemetry.events import INTERVENTION
from tests.workloads.morphogenesis.training.episodes import WAIT, episode, on, plant
from workloads.morphogenesis.checkpoints import read_episode, write_episode
from workloads.morphogenesis.episode import Episode
from workloads.morphogenesis.metrics import METRICS
from workloads.morphogenesis.restoring import REASON
from workloads.morphogenesis.telemetry import tell_epoch
from workloads.recording import RecordingEmitter


class Traces(RecordingEmitter):
    """Keeps name, reason and data of what is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.traces: list[tuple[str, str, Mapping[str, Any]]] = []

    def trace(self, name: str, data: Mapping[str, Any], *, step: int, reason: str = "") -> None:
        self.traces.append((name, reason, data))


def grown(made: Episode, *slots: str) -> None:
    """Seeds in these slots, alive and half blended in."""
    for slot in slots:
        made.step(plant(slot))
    while any(made.host.slots[slot].alpha == 0 for slot in slots):
        made.step(WAIT)


def test_a_slot_in_which_nothing_grows_changes_no_number() -> None:
    with episode() as with_slots:
        for _ in range(3):
            with_slots.step(WAIT)
        seen = with_slots.val_losses, with_slots.train_losses
    with episode(slots={}) as without:
        for _ in range(3):
            without.step(WAIT)
        assert (without.val_losses, without.train_losses) == seen


def test_a_seed_that_trains_apart_changes_nothing_but_itself() -> None:
    with episode(slots={}) as alone:
        for _ in range(3):
            alone.step(WAIT)
        seen = alone.val_losses
    with episode(training_share=1.0) as growing:
        growing.step(plant("mid"))
        planted = [each.clone() for each in growing.host.slots["mid"].parameters()]
        growing.step(WAIT)
        report = growing.step(WAIT)
        assert growing.val_losses == seen
        matrix = report.measured.matrix
        assert matrix is not None
        assert len({cell.val_accuracy for cell in matrix.configs}) == 1
        assert report.after.slots[1].contribution is None
        trained = list(growing.host.slots["mid"].parameters())
        assert not torch.equal(planted[0], trained[0])


def test_the_same_episode_gives_the_same_numbers() -> None:
    told = []
    for watched in (True, False):
        with episode(watched=watched) as made:
            grown(made, "early", "late")
            told.append((made.val_losses, made.train_losses, made.view()))
    assert told[0] == told[1]


def test_looking_at_coalitions_leaves_everything_as_it_was() -> None:
    with episode() as made:
        grown(made, "early", "late")
        before = {name: each.clone() for name, each in made.host.state_tensors().items()}
        modes = [module.training for module in made.host.modules()]
        alphas = [slot.alpha for slot in made.host.slots.values()]
        numbers = torch.get_rng_state()
        made._measure("full")
        assert torch.equal(torch.get_rng_state(), numbers)
        assert [module.training for module in made.host.modules()] == modes
        assert [slot.alpha for slot in made.host.slots.values()] == alphas
        for name, each in made.host.state_tensors().items():
            assert torch.equal(each, before[name]), name


def test_the_matrix_and_the_contributions_are_of_the_same_measurement() -> None:
    with episode() as made:
        grown(made, "early", "late")
        report = made.step(WAIT)
        matrix = report.measured.matrix
        assert matrix is not None
        assert matrix.slots == ["early", "late"]
        value = {tuple(cell.config): cell.val_accuracy for cell in matrix.configs}
        assert len(value) == 4
        whole, without = value[True, True], value[False, True]
        assert whole is not None
        assert without is not None
        assert report.measured.accuracy == whole
        assert report.measured.contributions["early"] == whole - without
        assert matrix.shapley_values is not None
        total = sum(each or 0.0 for each in matrix.shapley_values.values())
        none = value[False, False]
        assert none is not None
        assert math.isclose(total, whole - none, abs_tol=1e-9)


@pytest.mark.parametrize(("mode", "cells"), [("off", None), ("ablation", 5), ("auto", 8)])
def test_how_much_of_the_matrix_is_measured_changes_no_number(mode: str, cells: int | None) -> None:
    with episode(counterfactual=mode) as made:
        grown(made, "early", "mid", "late")
        report = made.step(WAIT)
        matrix = report.measured.matrix
        assert (None if matrix is None else len(matrix.configs)) == cells
        assert set(report.measured.contributions) == {"early", "mid", "late"}
    with episode(watched=False) as other:
        grown(other, "early", "mid", "late")
        assert other.step(WAIT).after == report.after


def test_research_mode_tells_accuracies_by_class() -> None:
    with episode(telemetry="research") as made:
        made.step(plant("mid"))
        measured = made.step(WAIT).measured
        assert measured.per_class is not None
        assert set(measured.per_class) == {str(digit) for digit in range(10)}
        assert measured.matrix is not None
        assert measured.matrix.configs[0].per_class_accuracy is not None
        targets = made.data.val.targets
        shares = [(targets == digit).float().mean().item() for digit in range(10)]
        weighted = sum(
            share * (value or 0.0)
            for share, value in zip(shares, measured.per_class.values(), strict=True)
        )
        assert math.isclose(weighted, measured.accuracy or 0.0, rel_tol=1e-5)


def test_a_culled_seed_is_seen_culled_then_under_embargo() -> None:
    with episode() as made:
        made.step(plant("mid"))
        stages = []
        for decision in (on("CULL", "mid"), WAIT, WAIT):
            stages.append(made.step(decision).after.slots[1].stage)
        assert stages == ["CULLED", "EMBARGOED", "EMBARGOED"]
        assert made.host.seed_params == 0


def test_what_is_not_allowed_has_no_effect() -> None:
    with episode() as made:
        assert made.step(WAIT).applied
        for decision in (on("FOSSILIZE", "mid"), on("CULL", "mid"), plant("mid", "mlp")):
            report = made.step(decision)
            assert not report.applied
            assert report.after.slots[1].stage == "DORMANT"


def test_all_of_a_schedule_that_is_due_is_planted_at_once() -> None:
    with episode() as made:
        both = replace(plant("early"), also=(plant("late", "norm").action,))
        after = made.step(both).after
        assert [slot.stage for slot in after.slots] == ["TRAINING", "DORMANT", "TRAINING"]


def test_a_second_seed_of_a_slot_is_another_one() -> None:
    with episode() as made:
        made.step(plant("mid"))
        first = [each.clone() for each in made.host.slots["mid"].parameters()]
        made.host.slots["mid"].cull()
        made.host.slots["mid"].life.clock.stage = "DORMANT"
        made.host.slots["mid"].life.embargo_left = 0
        made.step(plant("mid"))
        second = list(made.host.slots["mid"].parameters())
        assert not torch.equal(first[0], second[0])


def test_a_broken_network_is_put_back_and_its_live_seeds_are_dropped() -> None:
    with episode() as made:
        grown(made, "early")
        made.step(WAIT)
        assert made.step(on("FOSSILIZE", "early")).applied
        made.step(plant("late"))
        good = {name: each.clone() for name, each in made.host.state_tensors().items()}
        accuracy = made.val_accuracies[-1]
        with torch.no_grad():
            next(made.host.host_parameters()).fill_(math.nan)
        report = made.step(WAIT)
        assert report.rolled_back
        assert report.panic == "nonfinite"
        assert report.trained.lost
        told = Traces()
        tell_epoch(told, made, report, RewardComponents(), step=report.step, heuristic=None)
        epoch = report.after.epoch
        assert told.traces == [
            (
                INTERVENTION,
                f"governor: nonfinite in epoch {epoch}",
                {"done": f"epoch {epoch} was undone, the seeds of late were dropped"},
            )
        ]
        assert [slot.stage for slot in report.after.slots] == ["FOSSILIZED", "DORMANT", "CULLED"]
        assert made.host.slots["late"].life.known().cull_reason == REASON
        for name, each in made.host.state_tensors().items():
            assert torch.equal(each, good[name]), name
        assert made.val_accuracies[-1] == accuracy, "the seed that was dropped was at alpha 0"
        assert not made.step(WAIT).rolled_back


def test_without_rollback_lost_numbers_end_the_episode() -> None:
    with episode(rollback=False) as made:
        made.step(WAIT)
        with torch.no_grad():
            next(made.host.host_parameters()).fill_(math.nan)
        report = made.step(WAIT)
        assert report.panic == "nonfinite"
        assert not report.rolled_back
        assert made.done
        assert made.diverged
        assert len(made.val_losses) == 1


def test_the_figures_of_any_slots_of_a_deep_host_are_declared() -> None:
    names = ("slot2", "slot7", "slot11")
    slots = {name: {"blueprint": "norm"} for name in names}
    with episode(blocks=12, policy="static", slots=slots, samples=32, eval_samples=10) as made:
        matrix = made.step(WAIT).measured.matrix
        assert matrix is not None
        assert "interaction/slot2+slot7+slot11" in matrix.values()
        assert set(matrix.values()) <= set(METRICS)


def test_static_seeds_are_there_from_the_start_and_fully_on() -> None:
    slots = {"early": {"blueprint": "norm"}, "late": {"blueprint": "conv_light"}}
    with episode(policy="static", slots=slots) as made:
        assert [slot.alpha for slot in made.host.slots.values()] == [1.0, 1.0]
        report = made.step(WAIT)
        assert made.host.fossilized_params == made.host.seed_params > 0
        assert set(report.measured.contributions) == {"early", "late"}


def test_a_text_host_grows_too() -> None:
    with episode(
        host="gpt", data="embedded:stories", layers=3, width=24, heads=2, context=32,
        samples=32, eval_samples=20, batch_size=16, eval_batch_size=8,
    ) as made:  # fmt: skip
        grown_before = made.step(plant("mid", "lora")).after.host_params
        report = made.step(WAIT)
        assert report.after.host_params == grown_before
        assert report.measured.matrix is not None
        finished = made.finish()
        assert finished.test.scores is not None
        assert finished.test.scores.shape == (20,)
        assert made.val_losses[-1] < made.val_losses[0]


def test_an_isolated_seed_leaks_nothing_and_its_gradient_is_seen() -> None:
    with episode(training_share=1.0) as made:
        made.step(plant("mid"))
        report = made.step(WAIT)
        assert report.trained.leakage == 0.0
        assert report.trained.violations["mid"] == 0
        assert (report.trained.ratios["mid"] or 0.0) > 0
        assert report.trained.norms["mid"] > 0
        assert made.step(on("CULL", "mid")).trained.leakage is None


def test_an_episode_that_has_ended_takes_no_step() -> None:
    with episode(epochs=1, slots={}) as made:
        made.step(WAIT)
        with pytest.raises(RuntimeError, match="ended, its last epoch was 0"):
            made.step(WAIT)


def test_a_state_that_was_saved_in_suspicion_keeps_the_last_good_one(tmp_path: Path) -> None:
    with episode() as made:
        grown(made, "early")
        good = {name: each.clone() for name, each in made.good.tensors.items()}
        made.governor.history = [0.01] * 10
        with torch.no_grad():
            for each in made.host.parts[-1].parameters():
                each.mul_(1e6)
        report = made.step(WAIT)
        assert made.governor.suspicious, report.measured.loss
        write_episode(tmp_path, made, {"return": 1.5})
    with episode() as other:
        assert read_episode(tmp_path, other) == {"return": 1.5}
        assert other.governor.suspicious
        assert other.view() == report.after
        for name, each in other.good.tensors.items():
            assert torch.equal(each, good[name]), name
        assert other.step(WAIT).rolled_back


def test_an_epoch_that_is_gone_on_with_can_still_be_rolled_back(tmp_path: Path) -> None:
    def save(step: int) -> None:
        if step == made.steps + 2:
            write_episode(tmp_path, made, {})

    with episode() as made:
        grown(made, "early")
        good = {name: each.clone() for name, each in made.good.tensors.items()}
        whole = made.step(plant("late"), save)
    with episode() as other:
        read_episode(tmp_path, other)
        assert other.within_epoch
        for name, each in other.good.tensors.items():
            assert torch.equal(each, good[name]), name
        report = other.step(plant("late"))
        assert (report.after, report.trained) == (whole.after, whole.trained)
        assert not other.within_epoch
        for name, each in other.host.state_tensors().items():
            assert torch.equal(each, made.host.state_tensors()[name]), name
    with episode() as broken:
        read_episode(tmp_path, broken)
        broken.governor.judge = lambda loss: "explosion"  # type: ignore[method-assign]
        assert broken.step(plant("late")).rolled_back
        parts = {name: each for name, each in good.items() if name.startswith("parts.")}
        for name, each in parts.items():
            assert torch.equal(each, broken.host.state_tensors()[name]), name


def test_a_matrix_of_a_part_says_so_and_changes_no_number() -> None:
    part = {"matrix_examples": 30, "matrix_slots": ("early", "late")}
    reports = []
    for fields in ({}, part):
        with episode(**fields) as made:
            grown(made, "early", "mid", "late")
            reports.append(made.step(WAIT))
            alpha = made.host.slots["mid"].alpha
    whole, partly = reports
    assert partly.after == whole.after
    assert partly.measured.contributions == whole.measured.contributions
    assert whole.measured.matrix is not None
    assert whole.measured.matrix.note is None
    matrix = partly.measured.matrix
    assert matrix is not None
    assert matrix.slots == ["early", "late"]
    assert matrix.note == "the first 30 of 60 validation examples; mid left on"
    assert len(matrix.configs) == 4
    assert {cell.alpha_settings["mid"] for cell in matrix.configs} == {alpha}
    everything = next(cell for cell in matrix.configs if all(cell.config))
    assert everything.val_accuracy is not None
    assert (everything.val_accuracy * 30 / 100) % 1 == pytest.approx(0, abs=1e-6)
    with episode(eval_samples=30) as short:
        grown(short, "early", "mid", "late")
        seen = short.step(WAIT).measured.matrix
        assert seen is not None
        both = {tuple(cell.config): cell.val_loss for cell in matrix.configs}
        assert both[True, True] == next(c.val_loss for c in seen.configs if all(c.config))
        assert both[True, False] == next(
            c.val_loss for c in seen.configs if c.config == [True, True, False]
        )


def test_where_validation_has_no_number_nothing_is_derived_from_it() -> None:
    with episode() as made:
        grown(made, "early", "late")
        spoilt = made.data.val.inputs.clone()
        spoilt[7] = math.nan
        made.data = replace(made.data, val=replace(made.data.val, inputs=spoilt))
        report = made.step(WAIT)
        assert report.panic == "nonfinite"
        assert report.measured.accuracy is None
        assert set(report.measured.contributions.values()) == {None}
        matrix = report.measured.matrix
        assert matrix is not None
        assert {cell.val_accuracy for cell in matrix.configs} == {None}
        assert set((matrix.shapley_values or {"": 0}).values()) == {None}
        assert made.diverged
        assert made.finish().val.error == "score or loss of 1 of 60 examples is not finite"
        assert made.finish().test.scores is not None
