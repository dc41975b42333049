"""What an epoch makes of a seed's life, given what was measured in it."""

from __future__ import annotations

import json

import pytest

from workloads.morphogenesis.body.life import EpochFacts, LifeTerms, SlotLife
from workloads.morphogenesis.body.stages import IllegalTransition
from workloads.morphogenesis.config import MorphogenesisConfig

TERMS = LifeTerms(training_epochs=5, blend_epochs=5, probation_epochs=5)


class Epochs:
    """Ends epoch after epoch, each a point better than the last unless told otherwise."""

    def __init__(self, life):
        self.life = life
        self.epoch = 0
        self.gates = []

    def end(self, count=1, **facts):
        for _ in range(count):
            measured = {"accuracy": 50.0 + self.epoch, "contribution": 2.0, "gradient_ratio": 1.0}
            self.gates = self.life.end_epoch(EpochFacts(self.epoch, **{**measured, **facts}))
            self.epoch += 1
        return self.life.stage

    def end_until(self, stage, **facts):
        for _ in range(30):
            if self.end(**facts) == stage:
                return self
        raise AssertionError(f"never {stage}, but {self.life.stage}")


def planted(terms=TERMS, blend="sigmoid"):
    life = SlotLife("mid", terms)
    life.germinate("norm", blend, 1, accuracy=49.0, epoch=0)
    return Epochs(life)


def test_a_seed_that_does_well_goes_through_all_stages_at_the_stated_epochs() -> None:
    epochs = planted()
    stages = [epochs.end() for _ in range(12)]
    assert stages == ["TRAINING"] * 5 + ["BLENDING"] * 5 + ["PROBATIONARY"] * 2
    assert epochs.life.fossilize(2.0, healthy=True, enforce=True).passed
    assert epochs.life.stage == "FOSSILIZED"
    assert epochs.end(20, contribution=-5.0) == "FOSSILIZED"


def test_each_epoch_gives_the_gates_that_were_judged_in_it() -> None:
    epochs = planted()
    judged = []
    for _ in range(12):
        epochs.end()
        judged.append("".join(gate.gate for gate in epochs.gates))
    assert judged == ["G1", "", "", "", "", "G2", "", "", "", "", "G3", ""]


def test_the_dwell_is_a_share_of_all_epochs_and_at_least_one() -> None:
    def dwell(epochs, share):
        config = MorphogenesisConfig(epochs=epochs, training_share=share)
        return LifeTerms.of(config).training_epochs

    assert [dwell(25, 0.2), dwell(4, 0.2), dwell(9, 0.25)] == [5, 1, 2]


@pytest.mark.parametrize(("epochs", "timeout"), [(1, 5), (50, 5), (59, 5), (60, 6), (200, 20)])
def test_probation_lasts_a_tenth_of_all_epochs_and_at_least_five(epochs, timeout) -> None:
    assert LifeTerms.of(MorphogenesisConfig(epochs=epochs)).probation_epochs == timeout


def test_a_short_dwell_still_waits_for_the_three_epochs_of_g2() -> None:
    epochs = planted(LifeTerms(training_epochs=1, blend_epochs=5, probation_epochs=5))
    stages = [epochs.end() for _ in range(4)]
    assert stages == ["TRAINING", "TRAINING", "TRAINING", "BLENDING"]


def test_a_seed_stays_in_training_until_g2_passes() -> None:
    epochs = planted().end_until("TRAINING")
    assert epochs.end(8, gradient_ratio=0.04) == "TRAINING"
    assert not epochs.gates[0].passed
    assert epochs.life.known().last_gate == epochs.gates[0]
    assert epochs.end() == "BLENDING"


def test_g2_counts_the_improvement_from_the_beginning_of_training() -> None:
    epochs = planted()
    epochs.end(accuracy=60.0)
    assert epochs.end(5, accuracy=60.25) == "TRAINING"
    assert epochs.end(1, accuracy=60.5) == "BLENDING"


def test_a_seed_that_was_not_in_the_forward_pass_has_no_gradient_ratio() -> None:
    epochs = planted()
    epochs.end(gradient_ratio=0.0)
    assert epochs.life.known().gradient_ratio is None
    epochs.end(gradient_ratio=0.0)
    assert epochs.life.known().gradient_ratio == 0.0
    epochs.life.cull("decided")
    epochs.end(gradient_ratio=0.0)
    assert epochs.life.known().gradient_ratio is None


def test_isolation_violations_add_up_while_the_seed_trains() -> None:
    epochs = planted().end_until("TRAINING")
    assert epochs.end(5, isolation_violations=2) == "BLENDING"
    epochs = planted().end_until("TRAINING")
    epochs.end(4, isolation_violations=2)
    assert epochs.end(1, isolation_violations=3) == "TRAINING"
    assert epochs.life.known().isolation_violations == 11


def test_alpha_takes_one_step_an_epoch_and_is_1_from_probation_on() -> None:
    epochs = planted().end_until("BLENDING")
    alphas = [epochs.life.alpha]
    while epochs.life.stage == "BLENDING":
        epochs.end()
        alphas.append(round(epochs.life.alpha, 3))
    assert alphas == [0, 0.182, 0.378, 0.622, 0.818, 1]
    assert epochs.life.stage == "PROBATIONARY"


def test_a_short_blend_waits_at_alpha_1_for_the_three_epochs_of_g3() -> None:
    epochs = planted(LifeTerms(training_epochs=3, blend_epochs=1, probation_epochs=5))
    epochs.end_until("BLENDING")
    seen = [(epochs.end(), epochs.life.alpha) for _ in range(3)]
    assert seen == [("BLENDING", 1.0), ("BLENDING", 1.0), ("PROBATIONARY", 1.0)]


@pytest.mark.parametrize(
    ("contribution", "stage"),
    [(0.0, "CULLED"), (-0.1, "CULLED"), (1e-9, "PROBATIONARY"), (None, "PROBATIONARY")],
)
def test_a_seed_on_probation_is_culled_unless_its_contribution_is_above_0(
    contribution, stage
) -> None:
    epochs = planted().end_until("PROBATIONARY")
    assert epochs.end(contribution=contribution) == stage


def test_a_contribution_below_0_culls_no_seed_before_probation() -> None:
    epochs = planted()
    epochs.end(10, contribution=-3.0)
    assert epochs.life.stage == "BLENDING"


def test_probation_without_a_decision_ends_in_a_cull_after_its_last_epoch() -> None:
    epochs = planted(LifeTerms(training_epochs=5, blend_epochs=5, probation_epochs=6))
    epochs.end_until("PROBATIONARY")
    assert epochs.end(5) == "PROBATIONARY"
    assert epochs.end() == "CULLED"
    assert "6 epochs on probation" in epochs.life.known().cull_reason


def test_where_gates_only_observe_they_are_judged_and_hold_nothing_up_nor_cull() -> None:
    epochs = planted()
    bad = {"accuracy": 10.0, "contribution": -1.0, "gradient_ratio": None, "enforce": False}
    epochs.end_until("BLENDING", **bad)
    assert epochs.epoch == 6
    assert not epochs.gates[0].passed
    epochs.end_until("PROBATIONARY", **bad)
    assert epochs.end(30, **bad) == "PROBATIONARY"
    assert not epochs.life.fossilize(-1.0, healthy=True, enforce=False).passed
    assert epochs.life.stage == "FOSSILIZED"


def test_a_culled_slot_is_seen_culled_and_embargoed_and_is_free_after_five_epochs() -> None:
    epochs = planted().end_until("TRAINING")
    epochs.life.cull("decided")
    seen = [(epochs.life.stage, epochs.life.embargo_left)]
    for _ in range(5):
        seen.append((epochs.end(), epochs.life.embargo_left))
    assert seen == [
        ("CULLED", 5),
        ("EMBARGOED", 4),
        ("EMBARGOED", 3),
        ("EMBARGOED", 2),
        ("RESETTING", 1),
        ("DORMANT", 0),
    ]
    assert epochs.life.record is None
    assert epochs.life.germinate("norm", "linear", 2, 50.0, epochs.epoch).passed
    assert epochs.life.known().seed_id == "mid-1"
    assert (epochs.life.planted, epochs.life.culls) == (2, 1)


def test_what_was_culled_is_known_until_the_slot_is_free() -> None:
    epochs = planted().end_until("TRAINING")
    epochs.life.cull("decided")
    assert epochs.end(4) == "RESETTING"
    assert epochs.life.known().blueprint == "norm"


@pytest.mark.parametrize("stage", ["TRAINING", "BLENDING", "PROBATIONARY"])
def test_every_live_seed_can_be_culled(stage) -> None:
    epochs = planted().end_until(stage)
    epochs.life.cull("decided")
    assert epochs.life.stage == "CULLED"
    assert epochs.life.alpha == 0


def test_a_fossil_and_an_empty_slot_cannot_be_culled() -> None:
    epochs = planted().end_until("PROBATIONARY")
    epochs.life.fossilize(2.0, healthy=True, enforce=True)
    with pytest.raises(IllegalTransition, match="nothing can be culled in FOSSILIZED"):
        epochs.life.cull("decided")
    with pytest.raises(IllegalTransition, match="nothing can be culled in DORMANT"):
        SlotLife("mid", TERMS).cull("decided")


@pytest.mark.parametrize("stage", ["TRAINING", "BLENDING"])
def test_only_a_seed_on_probation_can_be_fossilised(stage) -> None:
    epochs = planted().end_until(stage)
    with pytest.raises(IllegalTransition, match="only one on probation"):
        epochs.life.fossilize(9.0, healthy=True, enforce=False)


def test_a_seed_that_fails_g5_stays_on_probation() -> None:
    epochs = planted().end_until("PROBATIONARY")
    gate = epochs.life.fossilize(0.9, healthy=True, enforce=True)
    assert (gate.gate, gate.passed, epochs.life.stage) == ("G5", False, "PROBATIONARY")
    assert epochs.life.known().last_gate == gate


def test_a_slot_in_use_takes_no_second_seed() -> None:
    epochs = planted()
    with pytest.raises(IllegalTransition, match="GERMINATED cannot follow GERMINATED"):
        epochs.life.germinate("norm", "linear", 1, None, 0)
    assert epochs.life.planted == 1


@pytest.mark.parametrize("epochs_lived", [0, 3, 8, 13, 16, 18])
def test_a_life_told_as_json_goes_on_in_the_same_way(epochs_lived) -> None:
    epochs = planted()
    epochs.end(epochs_lived)
    again = SlotLife("mid", TERMS)
    again.load_json(json.loads(json.dumps(epochs.life.to_json())))
    assert again.to_json() == epochs.life.to_json()
    other = Epochs(again)
    other.epoch = epochs.epoch
    for _ in range(25):
        assert (epochs.end(), epochs.gates) == (other.end(), other.gates)
        assert again.to_json() == epochs.life.to_json()
