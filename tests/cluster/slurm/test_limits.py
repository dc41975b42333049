"""Limits: how they are read, and how arrays are cut under them."""

from __future__ import annotations

import pytest

from cluster.slurm.limits import ClusterLimits, Partition, chunks, limits_from, partitions_from


@pytest.mark.parametrize(
    ("count", "parts"),
    [(1, [1]), (1001, [1001]), (1002, [1001, 1]), (2000, [1001, 999]), (0, [])],
)
def test_the_highest_index_stays_below_the_size(count: int, parts: list[int]) -> None:
    cut = list(chunks(count, ClusterLimits(max_array_size=1001)))
    assert [len(part) for part in cut] == parts
    assert [index for part in cut for index in part] == list(range(count))


def test_a_configuration_that_says_nothing_leaves_slurms_defaults() -> None:
    assert limits_from("Configuration data as of now\n", None) == ClusterLimits()


def test_partitions_are_told_once_with_the_default_marked() -> None:
    said = "main*|up|1-00:00:00|3\nmain*|up|1-00:00:00|1\nold|drain|infinite|0\n"
    assert partitions_from(said) == [
        Partition("main", True, True, 86_400, 4),
        Partition("old", False, False, None, 0),
    ]
