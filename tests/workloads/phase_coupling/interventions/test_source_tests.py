"""The source's tests, against scipy and against what the source printed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from workloads.phase_coupling.interventions import source_tests as tests
from workloads.phase_coupling.interventions.printed import ALONE, COUPLED, printed_tests
from workloads.phase_coupling.interventions.source_tests import Group

RNG = np.random.default_rng(5)
A: list[float] = RNG.normal(0.28, 0.03, 40).tolist()
B: list[float] = RNG.normal(0.27, 0.05, 25).tolist()
C: list[float] = RNG.normal(0.3, 0.02, 30).tolist()


@pytest.mark.parametrize("equal", [True, False])
def test_t_tests_agree_with_scipy_from_samples_and_from_summaries(equal: bool) -> None:
    ours = (tests.equal_variance_t if equal else tests.welch_t)(Group.of(A), Group.of(B))
    theirs = stats.ttest_ind(A, B, equal_var=equal)
    interval = theirs.confidence_interval(0.95)
    assert (ours.t, ours.p) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-10)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), rel=1e-10)
    printed = stats.ttest_ind_from_stats(0.281, 0.030, 40, 0.276, 0.033, 40, equal_var=equal)
    again = (tests.equal_variance_t if equal else tests.welch_t)(COUPLED, ALONE)
    assert (again.t, again.p) == pytest.approx((printed.statistic, printed.pvalue), rel=1e-10)


def test_analyses_of_variance_agree_with_scipy() -> None:
    groups = [Group.of(values) for values in (A, B, C)]
    ours, theirs = tests.anova(groups), stats.f_oneway(A, B, C)
    assert (ours.f, ours.p) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-10)
    ours, theirs = tests.welch_anova(groups), stats.f_oneway(A, B, C, equal_var=False)
    assert (ours.f, ours.p) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-10)


def test_pearson_agrees_with_scipy() -> None:
    x: list[float] = RNG.uniform(size=50).tolist()
    y = [value + noise for value, noise in zip(x, RNG.normal(size=50), strict=True)]
    ours, theirs = tests.correlation_of(x, y), stats.pearsonr(x, y)
    interval = theirs.confidence_interval(0.95)
    assert ours is not None
    assert (ours.r, ours.p) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-10)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), rel=1e-10)


def test_the_printed_figures_of_the_source_come_out_again() -> None:
    """Its statistics have three digits, so that a p is known to about that many."""
    again = {(one.experiment, one.test): (one.p, one.printed_p) for one in printed_tests()}
    known = {key: pair for key, pair in again.items() if pair[0] is not None}
    assert len(known) == 6
    for found, printed in known.values():
        assert found == pytest.approx(printed, abs=0.0025)


def test_the_printed_entropies_show_neither_a_difference_nor_that_there_is_none() -> None:
    difference = tests.equal_variance_t(COUPLED, ALONE)
    assert difference.low < 0 < difference.high
    assert not difference.within(0.01)
    assert difference.within(0.02)


def test_a_cluster_counts_once_however_many_samples_it_has() -> None:
    a = {"p": [1.0, 1.2], "q": [2.0, 2.4], "r": [3.0]}
    b = {"p": [0.5], "q": [2.0, 2.0], "r": [2.8], "s": [9.0]}
    many = {name: values * 7 for name, values in a.items()}
    ours = tests.cluster_t(a, b)
    theirs = stats.ttest_1samp([0.6, 0.2, 0.2], 0)
    assert ours is not None
    assert (ours.t, ours.p) == pytest.approx((theirs.statistic, theirs.pvalue))
    again = tests.cluster_t(many, b)
    assert again is not None
    assert (again.value, again.p, again.df) == pytest.approx((ours.value, ours.p, ours.df))
    assert tests.cluster_t({"p": [1.0]}, b) is None


def test_t_over_clusters_keeps_its_rate_where_the_source_s_does_not() -> None:
    """Two arms that share nothing but whose samples of a prompt hang together."""
    found = {"source": 0, "clusters": 0}
    rng = np.random.default_rng(1)
    for _ in range(400):
        arms = [
            {str(p): list(rng.normal(shift, 0.5, 5)) for p, shift in enumerate(rng.normal(size=8))}
            for _ in range(2)
        ]
        flat = [Group.of([v for values in arm.values() for v in values]) for arm in arms]
        source = tests.equal_variance_t(flat[0], flat[1])
        ours = tests.cluster_t(arms[0], arms[1])
        assert ours is not None
        assert ours.p is not None
        assert source.p is not None
        found["source"] += source.p < 0.05
        found["clusters"] += ours.p < 0.05
    assert found["clusters"] <= 32  # 20 expected
    assert found["source"] >= 80


def test_hotelling_s_test_over_two_groups_is_the_t_test_over_clusters() -> None:
    a = {str(n): [value] for n, value in enumerate(A[:12])}
    b = {str(n): [value] for n, value in enumerate(C[:12])}
    t, f = tests.cluster_t(a, b), tests.cluster_anova([a, b])
    assert t is not None
    assert t.t is not None
    assert f is not None
    assert (f.f, f.p) == pytest.approx((t.t**2, t.p))
    few = [{name: arm[name] for name in ("0", "1")} for arm in (a, b)]
    assert tests.cluster_anova(few) is None


def test_a_correlation_between_prompts_only_has_a_wide_interval_over_clusters() -> None:
    rng = np.random.default_rng(2)
    levels = rng.normal(size=(6, 2))
    x, y = np.repeat(levels, 20, axis=0).T + rng.normal(scale=0.05, size=(2, 120))
    clusters = [str(n // 20) for n in range(120)]
    ours, plain = tests.cluster_correlation(x, y, clusters), tests.correlation_of(x, y)
    assert ours is not None
    assert plain is not None
    assert ours.r == plain.r
    assert ours.low is not None
    assert ours.high is not None
    assert plain.low is not None
    assert plain.high is not None
    assert ours.high - ours.low > 2 * (plain.high - plain.low)
    assert tests.cluster_correlation(x, y, ["a"] * 60 + ["b"] * 60) is None


def test_what_does_not_vary_is_not_tested() -> None:
    same = Group(0.3, 0.0, 5)
    assert tests.equal_variance_t(same, same).p is None
    assert tests.welch_t(same, same).p is None
    assert tests.anova([same, same]).p is None
    assert tests.welch_anova([same, same]).p is None
    assert tests.correlation_of([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    rounds = [Group.of([0.3] * 3), Group.of([0.1] * 3)]  # whose means are no 0.3 and no 0.1
    assert [group.sd for group in rounds] == [0.0, 0.0]
    assert tests.anova(rounds).f is None


def test_the_source_s_verdicts_count_tests_at_5_percent() -> None:
    assert tests.comparison_verdict([0.494, 0.800, 0.865, 0.74]).startswith("no difference (0 of 4")
    assert tests.comparison_verdict([0.01, 0.2, None, 0.5]).startswith("weak difference (1 of 4")
    assert tests.comparison_verdict([0.01, 0.04, None, 0.5]).startswith("difference (2 of 4")
    assert tests.intervention_verdict([0.441, 0.652, 0.496, 0.445]) == "R_is_disconnected"
    assert tests.intervention_verdict([0.441, 0.04, 0.496, 0.445]) == "R_is_causal"


@pytest.mark.parametrize(
    "call",
    [
        lambda: Group.of([1.0]),
        lambda: Group(0.0, float("nan"), 5),
        lambda: tests.anova([COUPLED]),
        lambda: tests.correlation(1.2, 10),
        lambda: tests.correlation_of([1.0, 2.0], [1.0]),
    ],
)
def test_numbers_that_cannot_be_tested_are_refused(call: object) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match="got"):
        call()
