"""How ends of intervals are printed: on the side of the edge on which they lie."""

from __future__ import annotations

import pytest

from orchestrator.verdict.numbers import interval, telling


@pytest.mark.parametrize(
    ("ends", "edges", "shown"),
    [
        ((-2.8, -0.004), (0.0,), "[-2.800, -0.004]"),
        ((-2.8, 0.0), (0.0,), "[-2.8, +0.0]"),
        ((-2.8, 0.3), (0.0,), "[-2.8, +0.3]"),
        ((-0.9996, 0.5), (-1.0,), "[-0.9996, +0.5000]"),
        ((1e-9, 2.0), (0.0,), "[+0.000000, +2.000000]"),
    ],
)
def test_decimals_suffice_to_tell_an_end_from_an_edge(
    ends: tuple[float, float], edges: tuple[float, ...], shown: str
) -> None:
    assert interval(*ends, telling(ends, edges, 1), sign=True) == shown


def test_an_end_that_is_missing_asks_for_no_decimals() -> None:
    assert telling([None, 2.0], [0.0], 2) == 2
