"""What is allowed in which stage, and that a learner's heads can say just that."""

from __future__ import annotations

import itertools

import pytest

from telemetry.contracts import FactoredAction, Stage
from tests.workloads.morphogenesis.policies.simulated import BLUEPRINTS, slot, view
from workloads.morphogenesis.policies.heads import Heads
from workloads.morphogenesis.policies.masks import BLENDS, CULL, FOSSILIZE, GERMINATE, allowed

ALLOWED = {
    "DORMANT": {GERMINATE}, "GERMINATED": {CULL}, "TRAINING": {CULL}, "BLENDING": {CULL},
    "PROBATIONARY": {CULL, FOSSILIZE}, "FOSSILIZED": set(), "CULLED": set(), "EMBARGOED": set(),
    "RESETTING": set(),
}  # fmt: skip


@pytest.mark.parametrize("stage", ALLOWED)
def test_each_stage_allows_its_ops_and_waiting(stage: Stage) -> None:
    may = allowed(view(slot(stage=stage)))
    assert {op for op in (GERMINATE, CULL, FOSSILIZE) if may.slots(op)} == ALLOWED[stage]
    assert may.permits(FactoredAction("WAIT"))
    assert may.only_wait == (not ALLOWED[stage])


def test_an_op_is_allowed_on_its_own_slots_only() -> None:
    may = allowed(view(slot("early", "PROBATIONARY"), slot("late")))
    assert not may.permits(FactoredAction(FOSSILIZE, "late"))
    assert not may.permits(FactoredAction(GERMINATE, "early", "norm", "linear"))
    assert may.permits(FactoredAction(GERMINATE, "late", "norm", "linear"))


def test_a_slot_in_embargo_takes_no_seed() -> None:
    assert allowed(view(slot(embargo_left=1))).only_wait


def test_nothing_is_a_blueprint_only_where_the_configuration_says_so() -> None:
    assert "noop" not in allowed(view()).plantable("early")
    assert allowed(view(slot(allowed_blueprint="noop"))).plantable("early") == ("noop",)


def test_what_a_slot_fixes_is_the_only_choice() -> None:
    may = allowed(view(slot(allowed_blueprint="norm", allowed_blend="gated")))
    assert [a for a in may.actions() if a.op == GERMINATE] == [
        FactoredAction(GERMINATE, "early", "norm", "gated")
    ]
    assert not may.permits(FactoredAction(GERMINATE, "early", "conv_light", "gated"))


def test_a_blueprint_the_host_does_not_have_can_not_be_planted() -> None:
    may = allowed(view(slot(allowed_blueprint="mlp")))
    assert may.only_wait


def test_heads_can_draw_every_allowed_action_and_no_other() -> None:
    here = view(slot("early", "PROBATIONARY"), slot("mid", allowed_blueprint="norm"), slot("late"))
    may, heads = allowed(here), Heads.of(here)
    mask = heads.mask(may)
    drawn = set()
    for choice in itertools.product(*(range(size) for size in heads.sizes)):
        places = (
            choice[0], heads.sizes[0] + choice[1], heads.sizes[0] + heads.sizes[1] + choice[2],
        )  # fmt: skip
        if all(mask[place] for place in places):
            drawn.add(heads.action(choice, may))
    assert drawn == set(may.actions())
    assert heads.sizes == (1 + 3 * 3, len(BLUEPRINTS), len(BLENDS))


def test_heads_that_do_not_matter_have_one_choice_left() -> None:
    here = view(slot(stage="TRAINING"))
    heads = Heads.of(here)
    assert sum(heads.mask(allowed(here))[heads.sizes[0] :]) == 2


def test_what_the_mask_forbids_is_to_wait() -> None:
    here = view(slot(stage="FOSSILIZED"))
    heads = Heads.of(here)
    chosen = {heads.action((target, 1, 1), allowed(here)) for target in range(heads.sizes[0])}
    assert chosen == {FactoredAction("WAIT")}
