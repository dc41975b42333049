"""Pairs: the same seed and the same unit of two arms, and nothing that only one of them has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from orchestrator.endpoints.pairing import Run, Side, common_seeds, pair, paired_runs


def run(seed: int, *values: float | None, units: Sequence[str] = "abcd") -> Run:
    return Run(seed, list(units[: len(values)]), ["s"] * len(values), values)


def side(name: str, *runs: Run, deterministic: bool = False) -> Side:
    return Side(name, runs, tuple(one.seed for one in runs), deterministic=deterministic)


def test_the_same_seed_is_paired_whatever_the_order() -> None:
    arm = side("a", run(1, 10, 11), run(0, 20, 21))
    base = side("b", run(0, 1, 2), run(1, 3, 4))
    found = pair(paired_runs(arm, base), fixed=False)
    assert found is not None
    assert found.seeds == (1, 0)
    assert found.differences.tolist() == [[7, 7], [19, 19]]


def test_units_are_paired_by_name_and_left_out_where_one_run_lacks_them() -> None:
    arm = side("a", run(0, 1, 2, 3), run(1, 1, None, 3))
    base = side("b", run(0, 0, 0, 0, units="cba"), run(1, 0, 0, 0, 0))
    found = pair(paired_runs(arm, base), fixed=False)
    assert found is not None
    assert found.units == ("a", "c")
    assert found.left_units == 2
    assert found.arm.tolist() == [[1, 3], [1, 3]]


def test_only_seeds_of_both_arms_are_compared() -> None:
    arm, base = side("a", run(0, 1), run(2, 1)), side("b", run(2, 0), run(5, 0))
    assert common_seeds(arm, base) == (2,)
    assert list(paired_runs(arm, base)) == [2]


def test_a_deterministic_arm_is_every_seeds() -> None:
    arm = side("a", run(3, 5.0), run(4, 6.0))
    base = side("b", run(0, 1.0), deterministic=True)
    found = pair(paired_runs(arm, base), fixed=False)
    assert found is not None
    assert found.differences.tolist() == [[4], [5]]
    turned = pair(paired_runs(base, arm), fixed=False)
    assert turned is not None
    assert np.array_equal(turned.differences, -found.differences)


def test_two_deterministic_arms_are_one_pair() -> None:
    arm = side("a", run(7, 5.0), deterministic=True)
    base = side("b", run(0, 1.0), deterministic=True)
    assert list(paired_runs(arm, base)) == [7]


def test_nothing_in_common_is_no_pair() -> None:
    arm, base = side("a", run(0, 1, units="xy")), side("b", run(0, 1, units="ab"))
    assert pair(paired_runs(arm, base), fixed=False) is None
    assert pair({}, fixed=False) is None


def test_a_unit_of_two_clusters_or_twice_in_a_run_is_refused() -> None:
    other = Run(0, ["a"], ["t"], [1.0])
    with pytest.raises(ValueError, match="unit 'a' is in cluster 's' in one run and in 't'"):
        pair({0: (run(0, 1.0), other)}, fixed=False)
    twice = Run(0, ["a", "a"], ["s", "s"], [1.0, 2.0])
    with pytest.raises(ValueError, match="a unit was scored twice under seed 0"):
        pair({0: (twice, run(0, 1.0))}, fixed=False)
