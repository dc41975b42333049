"""How phases begin and go on: from token to token, and from batch to batch."""

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
from workloads.models.decoding import Decoder


@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_goes_on_where_the_prompt_left_off(family: str) -> None:
    model, ids = model_of(family), tokens()
    decoder = Decoder(model)
    with join(model) as coupling:
        whole = logits(model, ids)
        at_once = coupling.collect()
        coupling.begin(2)
        decoder.read(ids[:, :4])
        steps = [decoder.step(ids[:, position]) for position in range(4, ids.shape[1])]
        by_step = coupling.collect()
    assert at_once is not None
    assert by_step is not None
    assert torch.allclose(by_step, at_once, atol=1e-6)
    assert torch.allclose(torch.stack(steps, dim=1), whole[:, 4:], atol=1e-5)


def test_phases_begin_anew_with_each_batch() -> None:
    model, ids = model_of("mamba"), tokens()
    with join(model) as coupling:
        coupling.begin(2)
        first = logits(model, ids)
        coupling.begin(2)
        assert torch.equal(logits(model, ids), first)
        assert coupling.collect().shape == (2, 7)  # type: ignore[union-attr]
        coupling.begin(1)
        assert torch.allclose(logits(model, ids[:1]), first[:1], atol=1e-6)


def test_carried_phases_go_on_with_the_next_batch() -> None:
    model, ids = model_of("mamba"), tokens()
    with join(model, state="carried") as coupling:
        coupling.begin(2)
        logits(model, ids)
        left = coupling.phases
        coupling.begin(2)
        assert coupling.phases is left
        logits(model, ids)
        assert not torch.equal(coupling.phases, left)


def test_phases_are_not_carried_across_batches_of_another_size() -> None:
    model = model_of("mamba")
    with join(model, state="carried") as coupling:
        coupling.begin(2)
        with pytest.raises(ValueError, match=r"2 rows.*batch of 3: state=carried goes on row by"):
            coupling.begin(3)


def test_a_batch_of_another_size_has_to_be_begun() -> None:
    model = model_of("mamba")
    with join(model):
        logits(model, tokens(rows=2))
        with pytest.raises(ValueError, match="call begin"):
            logits(model, tokens(rows=3))


def test_a_rows_random_phases_do_not_hang_on_the_rows_beside_it() -> None:
    model = model_of("mamba")
    with join(model, initial="random") as coupling:
        coupling.begin(3, [5, 6, 7])
        three = coupling.phases
        coupling.begin(1, [6])
        one = coupling.phases
        assert three is not None
        assert one is not None
        assert torch.equal(three[1:2], one)
        assert not torch.equal(three[0], three[1])
        with pytest.raises(ValueError, match="2 seeds for 3 rows"):
            coupling.begin(3, [1, 2])
        with pytest.raises(ValueError, match="nothing was given to draw them from"):
            coupling.begin(3)


def test_phases_of_other_rows_or_oscillators_cannot_be_set() -> None:
    model = model_of("mamba")
    with join(model) as coupling:
        coupling.begin(2)
        with pytest.raises(ValueError, match="phases of 8 oscillators, and the core has 16"):
            coupling.set(torch.zeros(8), batch=2)
        with pytest.raises(ValueError, match="3 rows"):
            coupling.set(torch.zeros(3, 16), batch=2)


def test_no_gradient_passes_from_one_forward_pass_to_the_next() -> None:
    model, ids = model_of("mamba"), tokens()
    core = core_for(model)
    with join(model, core=core, state="carried") as coupling:
        for _ in range(2):
            coupling.begin(2)
            model(input_ids=ids, use_cache=False).logits.square().mean().backward()
        assert coupling.phases is not None
        assert not coupling.phases.requires_grad
