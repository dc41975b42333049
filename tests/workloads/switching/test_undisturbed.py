"""A look at a model leaves nothing behind in it."""

from __future__ import annotations

import pytest
import torch

from tests.workloads.switching.towers import Tower, batches, score
from workloads.switching import (
    all_coalitions,
    as_names,
    as_states,
    evaluate_coalitions,
    undisturbed,
)


def test_evaluating_leaves_parameters_buffers_modes_and_random_numbers() -> None:
    tower = Tower(3).train()
    tower.blocks[1].eval()
    modes = [module.training for module in tower.modules()]
    state = {name: value.clone() for name, value in tower.state_dict().items()}
    random = torch.get_rng_state()
    with undisturbed(tower):
        torch.rand(3)
        found = evaluate_coalitions(tower.segments(), all_coalitions(3), batches(), score)
    assert all(each.error is None for each in found)
    assert [module.training for module in tower.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in tower.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled()


def test_modes_come_back_after_an_error() -> None:
    tower = Tower(1).train()
    with pytest.raises(KeyError), undisturbed(tower):
        raise KeyError("from the block")
    assert tower.training


def test_writing_to_a_buffer_is_told_by_its_name() -> None:
    tower = Tower(2)
    with (
        pytest.raises(RuntimeError, match=r"blocks\.0\.body\.1\.running_mean changed"),
        undisturbed(tower),
    ):
        tower.blocks[0].body[1].running_mean.add_(1)


def test_names_and_states_are_each_others_inverse() -> None:
    factors = ("early", "mid", "late")
    for states in all_coalitions(3):
        assert as_states(as_names(states, factors), factors) == states
    assert as_states({"early"}, factors) == (True, False, False)
    assert all_coalitions(2) == [(False, False), (False, True), (True, False), (True, True)]
    with pytest.raises(ValueError, match="no factor erly; factors: early, mid, late"):
        as_states({"erly"}, factors)
