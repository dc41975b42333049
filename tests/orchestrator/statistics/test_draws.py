"""Random draws count beside examples: an interval speaks of other draws too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.draws import difference, draw_half
from orchestrator.statistics.ends import band, mean_ends
from orchestrator.statistics.widths import Rise, width_ends

CLUSTERS = np.arange(64)
GRID = np.linspace(0.0, 1.0, 9)


def test_half_an_interval_over_few_draws_is_that_of_t_and_what_a_third_of_the_tail_adds() -> None:
    means = np.array([[0.2, 1.0], [0.3, 1.0], [0.5, 1.0]])
    error = means[:, 0].std(ddof=1) / np.sqrt(3)
    single = stats.t.ppf(1 - 0.025 / 3, 2) * error
    assert draw_half([means], 0.025).tolist() == pytest.approx([single, 0.0])
    more = (stats.t.ppf(1 - 0.025 / 3, 2) - stats.t.ppf(0.975, 2)) * error
    family = stats.t.ppf(1 - 0.025 / 8, 2) * error + more
    assert draw_half([means], 0.025 / 8).tolist() == pytest.approx([family, 0.0])


def test_a_single_draw_adds_nothing() -> None:
    assert draw_half([np.array([[0.2, 0.7]])], 0.025).tolist() == [0.0]


def test_as_many_draws_of_both_are_pairs_and_else_each_varies_for_itself() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    (paired,) = difference(one, other)
    assert np.array_equal(paired, one - other)
    (against_one,) = difference(one, other[:1])
    assert draw_half([against_one], 0.025) == pytest.approx(draw_half([one], 0.025))
    parts = difference(one, other[:3])
    halves = [draw_half([part], 0.025) for part in (one, other[:3])]
    assert draw_half(parts, 0.025) == pytest.approx(np.hypot(*halves))


def damaged(draws: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores [values, examples] of a curve that crosses 0.5 at 0.5, each draw of which lies
    elsewhere by 0.12 for all examples alike; and its means [draws, values]."""
    moved = GRID[None, :] + 0.12 * rng.normal(size=(draws, 1))
    noise = 0.2 * rng.normal(size=(1, len(GRID), len(CLUSTERS)))
    own = 0.1 * rng.normal(size=(draws, len(GRID), len(CLUSTERS)))
    scores = moved[:, :, None] + noise + own
    return scores.mean(axis=0), scores.mean(axis=2)


@pytest.mark.parametrize("draws", [3, 5])
def test_means_and_thresholds_cover_where_draws_differ_more_than_examples(draws: int) -> None:
    rng = np.random.default_rng(draws)
    studies, means, crossings, bare = 300, 0, 0, 0
    for _ in range(studies):
        scores, by_draw = damaged(draws, rng)
        low, high = mean_ends(scores[4:5], CLUSTERS, 0.95, draws=[by_draw[:, 4:5]])
        means += low[0] <= 0.5 <= high[0]
        low, high = mean_ends(scores[4:5], CLUSTERS, 0.95)
        bare += low[0] <= 0.5 <= high[0]
        ends = band(GRID, scores, CLUSTERS, 0.95, by_draw).crossing_ends(0.5)
        crossings += ends[0] <= 0.5 <= ends[1]
    assert stats.binomtest(means, studies, 0.93).pvalue > 0.01 or means / studies > 0.93
    assert stats.binomtest(crossings, studies, 0.93).pvalue > 0.01 or crossings / studies > 0.93
    assert bare / studies < 0.85  # what intervals over examples alone would claim


def test_a_width_varies_with_its_draws() -> None:
    rng = np.random.default_rng(1)
    scores, by_draw = damaged(5, rng)
    by_draw = by_draw * np.linspace(0.7, 1.3, 5)[:, None]
    one = width_ends([Rise(GRID, scores)], CLUSTERS, 0.1, 0.9, 0.95, draws=400)
    more = width_ends([Rise(GRID, scores, by_draw)], CLUSTERS, 0.1, 0.9, 0.95, draws=400)
    assert one.low is not None
    assert more.low is not None
    assert one.value == more.value
    assert one.value - more.low > 1.5 * (one.value - one.low)
