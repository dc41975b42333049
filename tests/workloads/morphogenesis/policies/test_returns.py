"""Whether a policy learned: the return over training, with an interval over seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workloads.morphogenesis.policies.making import CURVE
from workloads.morphogenesis.policies.returns import (
    Interval,
    gain,
    has_risen,
    read_curves,
    return_rows,
    write_returns,
)
from workloads.views import TrialView


def trial(folder: Path, arm: str, seed: int, returns: list[list[float]] | None) -> TrialView:
    """A finished trial; with returns, one that trained a policy."""
    place = folder / f"{arm}-{seed}"
    place.mkdir()
    if returns is not None:
        (place / CURVE).write_text(json.dumps({"returns_by_update": returns}))
    return TrialView(
        f"{arm}-{seed}", arm, arm, "arm", seed, "done", {}, {"return": 2.0 * seed},
        frozenset(), place,
    )  # fmt: skip


def test_the_interval_is_students_over_seeds() -> None:
    found = Interval.of([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.mean == 3
    assert found.high == pytest.approx(3 + 2.776445 * 1.581139 / 5**0.5)
    assert Interval.of([1.0]).low is None


def test_a_gain_is_that_of_each_seed() -> None:
    seeds = [[[1.0, 3.0], [9.0], [5.0, 7.0]], [[2.0], [4.0]], [[8.0]]]
    found = gain(seeds)
    assert found is not None
    assert (found.mean, found.seeds) == (3.0, 2)
    assert gain([[[8.0]]]) is None


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Interval(3.0, 1.0, 5.0, 5), "it rose"),
        (Interval(-3.0, -5.0, -1.0, 5), "it fell"),
        (Interval(1.0, -1.0, 3.0, 5), "cannot be told from these seeds"),
        (Interval(3.0, None, None, 1), "no two updates of two seeds"),
        (None, "no two updates of two seeds"),
    ],
)
def test_a_rise_is_said_only_where_the_interval_is_above_zero(
    found: Interval | None, told: str
) -> None:
    assert told in has_risen(found)


def test_rows_count_the_episodes_and_the_seeds_that_got_so_far() -> None:
    rows = list(return_rows({"learned": [[[1.0, 3.0], [4.0, 6.0]], [[4.0, 4.0]]]}))
    assert [row["episodes"] for row in rows] == [2, 4]
    assert [row["seeds"] for row in rows] == [2, 1]
    assert [row["return"] for row in rows] == [3.0, 5.0]
    assert rows[1]["return_low"] is None


def test_a_study_in_which_a_policy_was_trained_gets_its_curve(tmp_path: Path) -> None:
    trials = [
        *(trial(tmp_path, "learned", s, [[1.0 + s], [2.0], [5.0 + s]]) for s in range(3)),
        *(trial(tmp_path, "heuristic", s, None) for s in range(3)),
    ]
    assert list(read_curves(trials)) == ["learned"]
    names = [path.name for path in write_returns(trials, tmp_path)]
    assert names == ["policy_training.csv", "policy_training.png", "policy_training.md"]
    text = (tmp_path / "policy_training.md").read_text()
    assert "is +4.00 [+4.00, +4.00] over 3 seeds; it rose." in text
    assert "| heuristic | 3 | +2.00 [-2.97, +6.97] |" in text


def test_a_study_without_training_gets_none(tmp_path: Path) -> None:
    assert not list(write_returns([trial(tmp_path, "random", 0, None)], tmp_path))
