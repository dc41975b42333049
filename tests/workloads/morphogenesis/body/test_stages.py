"""Which stage may follow which."""

from __future__ import annotations

import pytest

from telemetry.contracts import STAGES
from workloads.morphogenesis.body.stages import (
    ACTIVE,
    CULLABLE,
    TRANSITIONS,
    IllegalTransition,
    Lifecycle,
)

LEGAL = {
    ("DORMANT", "GERMINATED"),
    ("GERMINATED", "TRAINING"),
    ("TRAINING", "BLENDING"),
    ("BLENDING", "PROBATIONARY"),
    ("PROBATIONARY", "FOSSILIZED"),
    ("GERMINATED", "CULLED"),
    ("TRAINING", "CULLED"),
    ("BLENDING", "CULLED"),
    ("PROBATIONARY", "CULLED"),
    ("CULLED", "EMBARGOED"),
    ("EMBARGOED", "RESETTING"),
    ("RESETTING", "DORMANT"),
}


@pytest.mark.parametrize("to", STAGES)
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_follows_another_only_as_the_table_says(stage, to) -> None:
    life = Lifecycle(stage, epochs_in_stage=7)
    if (stage, to) in LEGAL:
        life.move(to)
        assert (life.stage, life.epochs_in_stage) == (to, 0)
    else:
        with pytest.raises(IllegalTransition, match=f"{to} cannot follow {stage}"):
            life.move(to)
        assert (life.stage, life.epochs_in_stage) == (stage, 7)


def test_every_stage_has_its_place_in_the_table() -> None:
    assert set(TRANSITIONS) == set(STAGES)


def test_a_refusal_names_what_can_follow() -> None:
    with pytest.raises(IllegalTransition, match="what can: BLENDING, CULLED"):
        Lifecycle("TRAINING").move("FOSSILIZED")
    with pytest.raises(IllegalTransition, match="it is final"):
        Lifecycle("FOSSILIZED").move("CULLED")


def test_a_stage_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no stage 'HOLDING'; stages: UNKNOWN, DORMANT"):
        Lifecycle("HOLDING")


def test_epochs_are_counted_from_the_transition() -> None:
    life = Lifecycle()
    life.tick()
    life.move("GERMINATED")
    assert life.epochs_in_stage == 0
    life.tick()
    life.tick()
    assert life.epochs_in_stage == 2


def test_a_seed_is_in_the_forward_pass_in_four_stages_and_a_fossil_cannot_be_culled() -> None:
    assert {"TRAINING", "BLENDING", "PROBATIONARY", "FOSSILIZED"} == ACTIVE
    assert {stage for stage in STAGES if "CULLED" in TRANSITIONS[stage]} == CULLABLE
    assert "FOSSILIZED" not in CULLABLE
