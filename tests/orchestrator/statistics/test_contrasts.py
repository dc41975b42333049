"""The interval of a contrast against hand calculations, textbook cases and its own limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics import contrast, difference, mean, moments, moments_of_means


def test_seed_variance_and_mean_of_a_hand_calculated_arm() -> None:
    arm = moments([[1.0, 3.0], [2.0, 6.0]])  # seed means 2 and 4

    assert arm.mean == pytest.approx(3.0)
    assert arm.seed_variance == pytest.approx(2.0)
    # interaction: deviations of each seed's question pattern from the arm's, +-0.5 everywhere, over
    # Q = 2 questions: 4 * (0.5 / 2)**2 * K/(K-1) / (n-1) = 0.5
    assert arm.residual_variance == pytest.approx(0.5)


def test_variance_components_of_a_hand_calculated_difference() -> None:
    a = moments([[1.0, 3.0], [2.0, 6.0]])
    b = moments([[0.0, 0.0], [0.0, 0.0]])
    one = difference(a, b)

    # welch 2/2 + 0; paired: d = (1.5, 4.5), s**2/Q = 4.5/2 = 2.25; residual in it 0.5/2 = 0.25
    assert one.value == pytest.approx(3.0)
    assert one.welch == pytest.approx(1.0)
    assert one.paired == pytest.approx(2.25)
    assert one.excess == pytest.approx(2.0)
    assert one.variance == pytest.approx(3.0)


def test_half_width_weighs_the_two_quantiles_by_their_variance() -> None:
    a = moments([[1.0, 3.0], [2.0, 6.0]])
    b = moments([[0.0, 0.0], [0.0, 0.0]])
    one = difference(a, b)
    # all of welch comes from arm a: 1 degree of freedom; clusters: 2 - 1 = 1
    critical = stats.t.isf(0.025, 1)

    assert one.df == pytest.approx(1.0)
    assert one.half_width(0.95) == pytest.approx(critical * np.sqrt(3.0))


def test_without_scores_by_question_it_is_the_welch_test() -> None:
    x, y = [10.0, 11.5, 9.0, 12.0, 10.5], [8.0, 9.5, 8.5]
    low, high = difference(moments_of_means(x), moments_of_means(y)).interval(0.95)
    expected = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)

    assert low == pytest.approx(expected.low)
    assert high == pytest.approx(expected.high)


def test_arms_without_seed_noise_give_the_paired_t_interval() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 40))
    one = difference(moments([x, x, x]), moments([y, y, y]))
    expected = stats.ttest_rel(x, y).confidence_interval(0.95)

    low, high = one.interval(0.95)
    assert low == pytest.approx(expected.low)
    assert high == pytest.approx(expected.high)


def test_a_seed_effect_common_to_all_questions_is_not_counted_as_question_noise() -> None:
    pattern = np.array([1.0, 2.0, 3.0, 4.0])
    arm = moments([pattern, pattern + 10, pattern - 4])
    flat = moments(np.zeros((3, 4)))
    one = difference(arm, flat)

    assert arm.residual_variance == pytest.approx(0.0)
    assert one.excess == pytest.approx(np.var(pattern, ddof=1) / 4)


def test_residual_noise_is_not_counted_twice() -> None:
    rng = np.random.default_rng(1)
    a = moments(rng.normal(size=(400, 3, 200)))
    b = moments(rng.normal(size=(400, 3, 200)))
    one = difference(a, b)
    truth = 2 / (3 * 200)

    assert one.welch.mean() == pytest.approx(truth, rel=0.1)
    # the unfloored excess is 0 on average; the floor leaves a little
    assert np.mean(one.paired - truth) == pytest.approx(0.0, abs=0.1 * truth)
    assert one.variance.mean() < 1.15 * truth


def test_difficulty_common_to_both_arms_cancels() -> None:
    rng = np.random.default_rng(2)
    difficulty = rng.normal(0, 50, 30)
    noise = rng.normal(size=(2, 3, 30))
    plain = difference(moments(noise[0]), moments(noise[1]))
    hard = difference(moments(noise[0] + difficulty), moments(noise[1] + difficulty))

    assert hard.half_width(0.95) == pytest.approx(plain.half_width(0.95))


def test_copies_within_a_cluster_add_no_evidence() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(3, 20))
    copied = np.repeat(scores, 4, axis=1)
    once = mean(moments(scores))
    clustered = mean(moments(copied, np.repeat(np.arange(20), 4)))
    pretended = mean(moments(copied))

    assert clustered.half_width(0.95) == pytest.approx(once.half_width(0.95))
    assert pretended.half_width(0.95) < once.half_width(0.95)


def test_clusters_of_unequal_size_give_the_jackknife() -> None:
    rng = np.random.default_rng(5)
    index = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 15])
    scores = rng.normal(size=30)
    arm = moments([scores, scores], index)
    left_out = np.array([scores[index != c].mean() for c in range(6)])
    jackknife = 5 / 6 * np.sum((left_out - scores.mean()) ** 2)

    assert mean(arm).paired == pytest.approx(jackknife)
    assert arm.cluster_df == pytest.approx(30**2 / (1 + 4 + 9 + 16 + 25 + 225) - 1)


def test_few_agreeing_seeds_cannot_beat_question_sampling() -> None:
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(3, 50))
    scores -= scores.mean(axis=1, keepdims=True)  # seed means agree exactly, by luck
    one = difference(moments(scores), moments(np.zeros((3, 50))))

    assert one.welch == pytest.approx(0.0, abs=1e-30)
    assert one.half_width(0.95) >= stats.t.isf(0.025, 49) * np.sqrt(one.paired) * 0.999


def test_bonferroni_widens_by_the_size_of_the_family() -> None:
    one = difference(moments_of_means([1.0, 2.0, 4.0]), moments_of_means([0.0, 1.0, 5.0]))
    ratio = one.half_width(0.95, 10) / one.half_width(0.95)

    assert ratio == pytest.approx(stats.t.isf(0.0025, one.df) / stats.t.isf(0.025, one.df))


def test_one_seed_has_no_interval() -> None:
    one = difference(moments([[1.0, 2.0]]), moments([[0.0, 1.5]]))

    assert one.value == pytest.approx(0.75)
    assert np.isnan(one.half_width(0.95))


def test_one_cluster_has_no_interval() -> None:
    arm = moments([[1.0, 2.0], [2.0, 4.0]], [0, 0])

    assert np.isnan(difference(arm, arm).half_width(0.95))


def test_arms_in_which_nothing_varies_are_identical() -> None:
    one = difference(moments(np.full((3, 4), 7.0)), moments(np.full((3, 4), 7.0)))

    assert one.identical
    assert one.half_width(0.95) == 0.0


@pytest.mark.parametrize("scores", [[[1.0, float("nan")]], [[1.0, float("inf")]], [[]], [1.0, 2.0]])
def test_scores_that_cannot_be_reduced_are_refused(scores: object) -> None:
    with pytest.raises(ValueError, match="scores"):
        moments(scores)  # type: ignore[arg-type]


def test_arms_scored_on_different_clusters_are_refused() -> None:
    with pytest.raises(ValueError, match="different numbers of clusters"):
        contrast([moments(np.ones((2, 4))), moments(np.ones((2, 5)))], [1.0, -1.0])


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_confidence_outside_0_to_1_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        mean(moments_of_means([1.0, 2.0])).half_width(confidence)
