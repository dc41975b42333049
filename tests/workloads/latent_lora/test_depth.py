"""Layer counts: shares rounded half up, never none, never beyond the model."""

from __future__ import annotations

import pytest

from workloads.errors import InputError
from workloads.latent_lora.depth import layer_count


@pytest.mark.parametrize(
    ("layers", "depth", "count"),
    [
        ("8/32", 32, 8),
        ("8/32", 8, 2),
        ("12/32", 8, 3),
        ("16/32", 5, 3),
        ("8/32", 5, 1),
        ("8/32", 6, 2),
        ("1/32", 4, 1),
        ("all", 7, 7),
        (3, 8, 3),
        ("3", 8, 3),
    ],
)
def test_layers_resolve_to_a_count(layers: int | str, depth: int, count: int) -> None:
    assert layer_count(layers, depth) == count


@pytest.mark.parametrize("layers", [9, "9", "33/32", "0/32", 0, "eight", "1/0", "-1"])
def test_unreadable_or_too_many_layers_are_refused_in_one_line(layers: int | str) -> None:
    with pytest.raises(InputError) as error:
        layer_count(layers, 8)
    assert "\n" not in str(error.value)
