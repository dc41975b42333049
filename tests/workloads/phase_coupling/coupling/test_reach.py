"""Whether what changes at a site reaches the logits, site by site and block by block."""

from __future__ import annotations

import pytest
import torch

from tests.workloads.phase_coupling.coupling.joined import BLOCKS, FAMILIES, model_of, tokens
from workloads.phase_coupling.coupling.reach import dead_blocks, told

_NONE: dict[str, tuple[int, ...]] = {"residual": (), "mixer": (), "before_norm": ()}


@pytest.mark.parametrize("family", FAMILIES)
def test_in_a_whole_model_every_site_reaches_the_logits_and_looking_leaves_no_trace(
    family: str,
) -> None:
    model, ids = model_of(family), tokens()
    with torch.no_grad():
        before = model(input_ids=ids, use_cache=False).logits
        assert dead_blocks(model, ids) == _NONE
        assert torch.equal(model(input_ids=ids, use_cache=False).logits, before)


def test_a_mixer_that_gives_nothing_is_found_with_the_norm_before_it() -> None:
    model = model_of("rwkv")
    model.rwkv.blocks[1].attention.output.weight.data.zero_()
    assert dead_blocks(model, tokens()) == {**_NONE, "mixer": (1,), "before_norm": (1,)}


def test_logits_that_are_not_finite_say_nothing_of_any_site() -> None:
    model = model_of("llama")
    model.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        dead_blocks(model, tokens())


def test_dead_blocks_are_told_in_words() -> None:
    assert told(_NONE, BLOCKS).startswith("residual, mixer, before_norm change the logits")
    found = told({**_NONE, "mixer": (1, 2, 3), "before_norm": (0, 2)}, 4)
    assert "at mixer of blocks 1 to 3, before_norm of blocks 0 and 2:" in found
    assert "mixer of block 1:" in told({**_NONE, "mixer": (1,)}, 4)
