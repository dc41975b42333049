"""Which block is meant, and what is said of one that the model has not."""

from __future__ import annotations

import pytest

from workloads.errors import InputError
from workloads.phase_coupling.coupling.layers import check_family, check_site, resolve_layer


@pytest.mark.parametrize(
    ("layer", "blocks", "block"),
    [
        (0, 4, 0),
        (3, 4, 3),
        ("2", 4, 2),
        ("32/64", 64, 32),
        ("24/64", 64, 24),
        ("1/2", 4, 2),
        ("1/2", 5, 2),
        ("1/2", 3, 1),
        ("2/3", 4, 3),
        ("0/1", 4, 0),
        ("1/1", 4, 3),
        ("1/2", 1, 0),
    ],
)
def test_a_block_is_an_index_or_a_share_of_the_depth(
    layer: int | str, blocks: int, block: int
) -> None:
    assert resolve_layer(layer, blocks) == block


@pytest.mark.parametrize("layer", [4, 64, -1, "4", "5/4"])
def test_a_block_beyond_the_model_is_refused(layer: int | str) -> None:
    with pytest.raises(InputError, match=r"layer=.*the model has 4 blocks; give 0 to 3"):
        resolve_layer(layer, 4)


@pytest.mark.parametrize("layer", ["half", "1/0", "", "-1/2", "0.5", True])
def test_what_is_no_block_is_refused(layer: int | str) -> None:
    with pytest.raises(InputError, match="share of the depth"):
        resolve_layer(layer, 4)


def test_an_unknown_family_or_site_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InputError, match=r"'bert'.*llama, mamba, mamba2, qwen2, rwkv"):
        check_family("bert", "some/model")
    with pytest.raises(InputError, match="did you mean residual"):
        check_site("residul")
