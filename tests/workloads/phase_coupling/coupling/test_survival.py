"""What is left of a modulation, block by block."""

from __future__ import annotations

import pytest
import torch

from tests.workloads.phase_coupling.coupling.joined import (
    FAMILIES,
    core_for,
    join,
    logits,
    model_of,
    tokens,
)
from workloads.phase_coupling.config import KuramotoSettings
from workloads.phase_coupling.coupling.attach import Coupling
from workloads.phase_coupling.coupling.survival import COLUMNS, survival


@pytest.mark.parametrize("family", FAMILIES)
def test_units_go_from_the_coupled_block_to_the_probabilities(family: str) -> None:
    model = model_of(family)
    with join(model) as coupling:
        scores = survival(model, coupling, [(tokens(), None)])
    assert scores.split == "layers"
    assert tuple(scores.units) == ("block.1", "block.2", "final_norm", "logits", "probabilities")
    assert scores.clusters == scores.units
    assert set(scores.columns) == set(COLUMNS)
    for column in scores.columns.values():
        assert all(value is not None and value > 0 for value in column)


def test_at_the_logits_the_blocks_are_not_changed() -> None:
    model = model_of("mamba")
    with join(model, "logits") as coupling:
        scores = survival(model, coupling, [(tokens(), None)])
    assert tuple(scores.units) == ("final_norm", "logits", "probabilities")
    norm, words, shares = scores.columns["relative_change"]
    assert norm == 0.0
    assert words is not None
    assert words > 0
    assert shares is not None
    assert shares > 0


def test_a_scalar_at_the_logits_changes_their_size_and_not_their_direction() -> None:
    model = model_of("mamba")
    core = core_for(
        model, "logits", gain="scalar", strength=0.5, settings=KuramotoSettings(drive=1.0)
    )
    with join(model, "logits", core=core) as coupling:
        scores = survival(model, coupling, [(tokens(), None)])
    at = scores.units.index("logits")
    change, angle = (scores.columns[name][at] for name in COLUMNS)
    assert change is not None
    assert angle is not None
    assert change > 1e-3
    assert angle < 1e-10


@pytest.mark.parametrize("mode", ["observe", "modulate_train_only", "off"])
def test_where_oscillators_do_not_act_all_is_exactly_zero(mode: str) -> None:
    model = model_of("rwkv")
    with join(model, mode=mode) as coupling:
        scores = survival(model, coupling, [(tokens(), None)])
    assert scores.units[0] == "block.1"
    assert {value for column in scores.columns.values() for value in column} == {0.0}


def test_no_strength_changes_nothing() -> None:
    model = model_of("llama")
    with join(model, core=core_for(model, strength=0.0)) as coupling:
        scores = survival(model, coupling, [(tokens(), None)])
    assert {value for column in scores.columns.values() for value in column} == {0.0}


def test_the_change_at_the_logits_is_that_of_two_readings() -> None:
    model, ids = model_of("mamba"), tokens()
    plain = logits(model, ids).double()
    with join(model) as coupling:
        coupled = logits(model, ids).double()
        coupling.begin(2)
        scores = survival(model, coupling, [(ids, None)])
    change = ((coupled - plain).norm(dim=-1) / plain.norm(dim=-1)).mean()
    angle = 1 - torch.nn.functional.cosine_similarity(coupled, plain, dim=-1).mean()
    at = scores.units.index("logits")
    assert scores.columns["relative_change"][at] == pytest.approx(float(change), rel=1e-9)
    assert scores.columns["angle"][at] == pytest.approx(float(angle), rel=1e-5, abs=1e-12)


def test_batches_and_padding_do_not_matter() -> None:
    model, ids = model_of("mamba"), tokens(rows=4)
    padded = torch.cat([ids, torch.zeros(4, 2, dtype=ids.dtype)], dim=1)
    mask = (torch.arange(9) < 7).long().expand(4, 9)
    with join(model) as coupling:
        once = survival(model, coupling, [(ids, None)])
        twice = survival(model, coupling, [(padded[:1], mask[:1]), (padded[1:], mask[1:])])
    for name in COLUMNS:
        assert twice.columns[name] == pytest.approx(once.columns[name], rel=1e-4)


def test_each_batch_begins_as_it_is_told() -> None:
    model = model_of("mamba")
    begun: list[tuple[int, int]] = []
    with join(model, initial="random") as coupling:

        def begin(index: int, rows: int) -> None:
            begun.append((index, rows))
            coupling.begin(rows, range(rows))

        survival(model, coupling, [(tokens(3), None), (tokens(1), None)], begin=begin)
    assert begun == [(0, 3), (1, 1)]


def test_without_a_token_nothing_was_measured() -> None:
    model = model_of("mamba")
    with join(model) as coupling:
        scores = survival(model, coupling, [])
    assert {value for column in scores.columns.values() for value in column} == {None}


def test_no_hook_is_left_behind() -> None:
    model = model_of("mamba")
    coupling = Coupling.attach(model, core_for(model), site="residual", layer=1, mode="modulate")
    survival(model, coupling, [(tokens(), None)])
    coupling.remove()
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())
