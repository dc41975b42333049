"""Stated questions on curves that are given as arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from orchestrator.curves import CurveAnswer
from orchestrator.curves.estimating import Asks, curve_of
from orchestrator.curves.gathering import AtValue, Gathered
from orchestrator.curves.questions import answers_of
from orchestrator.curves.words import crossing_text, width_text
from orchestrator.statistics.widths import width_ends
from orchestrator.study_file import Question
from tests.orchestrator.curves.simulated import GRID, Shape, grouped

Floats = NDArray[np.float64]
ASKS = Asks("overlap", 0.5, 0.1, 0.9, 0.95)
CLUSTERS = grouped(32)


def measured(arm: str, scores: Floats, values: Floats = GRID, **more: Any) -> Gathered:
    """A curve of one path, `zeros`, along `fraction`."""
    by = more.pop("by", None)
    assert scores.shape[0] == len(values)
    at = tuple(
        AtValue(
            float(value),
            1,
            {"overlap": float(row.mean()), **({"l2": float(by[i])} if by is not None else {})},
            (float(row.mean()),),
        )
        for i, (value, row) in enumerate(zip(values, scores, strict=True))
    )
    names = tuple(f"u{i}" for i in range(scores.shape[1]))
    usual: dict[str, Any] = {
        "along": "fraction",
        "values": at,
        "scores": scores,
        "units": names,
        "clusters": tuple(f"c{i}" for i in CLUSTERS[: scores.shape[1]]),
        "models": 1,
    }
    return Gathered(arm, "zeros", **(usual | more))


def ask(kind: str, one: Gathered, other: Gathered, **more: Any) -> CurveAnswer:
    content = {
        "kind": kind,
        "curve": {"arm": one.arm, "path": "zeros", "at": more.pop("at", None)},
        "than": {"arm": other.arm, "path": "zeros", "at": more.pop("than_at", None)},
        "margin": 0.02,
        **more,
    }
    question: Question = TypeAdapter(Question).validate_python(content)
    (answer,) = answers_of({"q": question}, [one, other], ASKS)
    return answer


@pytest.fixture
def drawn() -> Callable[..., Gathered]:
    rng = np.random.default_rng(1)

    def draw(arm: str, **shape: Any) -> Gathered:
        return measured(arm, Shape(**shape).draw(CLUSTERS, rng))

    return draw


def test_a_narrow_rise_is_sharper_than_a_wide_one_and_not_the_other_way(
    drawn: Callable[..., Gathered],
) -> None:
    steep, wide = drawn("steep", scale=0.01), drawn("wide", scale=0.08)
    answer = ask("sharper", steep, wide)
    assert answer.label == "sharper"
    assert answer.difference is not None
    assert answer.high is not None
    assert answer.difference < answer.high < -0.02
    assert answer.sentence.startswith(
        "steep/zeros is sharper than wide/zeros: difference of widths -0."
    )
    assert ask("sharper", wide, steep).label == "less sharp"


def test_rises_of_one_kind_are_as_sharp_within_a_wide_margin_and_unsure_within_a_narrow_one(
    drawn: Callable[..., Gathered],
) -> None:
    one, other = drawn("one"), drawn("other")
    assert ask("sharper", one, other, margin=0.2).label == "as sharp within the margin"
    unsure = ask("sharper", one, other, margin=0.001)
    assert unsure.label == "inconclusive"
    assert unsure.sentence.startswith(
        "Whether one/zeros is sharper than other/zeros is inconclusive: difference of widths"
    )
    assert unsure.low is not None
    assert unsure.high is not None
    margin = (unsure.high - unsure.low) / 2
    half_sure = ask("sharper", one, other, margin=margin)
    if unsure.low + unsure.high > 0:
        assert "(it may be as sharp or less sharp)" in half_sure.sentence
    else:
        assert "(it may be sharper or as sharp)" in half_sure.sentence


def test_an_inconclusive_answer_says_how_many_examples_would_settle_it(
    drawn: Callable[..., Gathered],
) -> None:
    one, other = drawn("one"), drawn("other")
    unsure = ask("sharper", one, other, margin=0.001)
    assert unsure.low is not None
    assert unsure.high is not None
    examples = len(one.units)
    exact = examples * ((unsure.high - unsure.low) / 0.001) ** 2
    assert unsure.examples == examples
    assert unsure.takes is not None
    assert exact <= unsure.takes <= 1.1 * exact
    assert f"About {unsure.takes:,} examples, where there are {examples}," in unsure.sentence
    assert ask("sharper", one, other, margin=0.2).takes is None
    # by value: the widest of the values that are open
    by_value = ask("higher", one, other, margin=0.001)
    halves = [
        (v.high - v.low) / 2
        for v in by_value.values
        if v.label == "inconclusive" and v.low is not None and v.high is not None
    ]
    assert by_value.takes is not None
    assert by_value.takes == pytest.approx(examples * (max(halves) / 0.0005) ** 2, rel=0.1)


def test_where_draws_scatter_examples_are_not_said_to_settle_it(
    drawn: Callable[..., Gathered],
) -> None:
    one, other = drawn("one"), drawn("other")
    several = tuple(
        replace(v, draws=3, draw_means=tuple(v.draw_means[0] + d for d in (-0.001, 0.0, 0.001)))
        for v in one.values
    )
    unsure = ask("sharper", replace(one, values=several), other, margin=0.001)
    assert (unsure.label, unsure.takes, unsure.draws) == ("inconclusive", None, 3)
    assert unsure.sentence.endswith(
        "3 random draws, which more draws narrow and more examples do not."
    )


def test_a_difference_that_lies_at_the_margin_is_not_told_to_take_fewer_examples(
    drawn: Callable[..., Gathered],
) -> None:
    steep, wide = drawn("steep", scale=0.01), drawn("wide", scale=0.08)
    found = ask("sharper", steep, wide).difference
    assert found is not None
    near = ask("sharper", steep, wide, margin=-found)
    assert (near.label, near.takes) == ("inconclusive", None)
    assert "the difference lies near the margin" in near.sentence


def test_the_ends_of_a_mean_lie_where_the_metric_can_be() -> None:
    scores = np.zeros((2, 32))
    scores[0, 0] = scores[1, 1:] = 1.0
    one = measured("one", scores, np.array([0.5, 1.0]))
    open_, within = (curve_of(one, a) for a in (ASKS, replace(ASKS, limits=(0.0, 1.0))))
    low, high = open_.points[0].low, open_.points[1].high
    assert low is not None
    assert high is not None
    assert low < 0 < 1 < high
    assert (within.points[0].low, within.points[1].high) == (0.0, 1.0)
    assert (within.points[0].high, within.points[1].low) == (
        open_.points[0].high,
        open_.points[1].low,
    )
    assert within.threshold == open_.threshold
    other = measured("other", scores[::-1].copy(), np.array([0.5, 1.0]))
    content = {"kind": "higher", "margin": 0.02, "values": [0.5]}
    content |= {
        side: {"arm": a, "path": "zeros"} for side, a in (("curve", "other"), ("than", "one"))
    }
    question: Question = TypeAdapter(Question).validate_python(content)
    for asks, most in ((ASKS, 2.0), (replace(ASKS, limits=(0.0, 1.0)), 1.0)):
        (answer,) = answers_of({"q": question}, [one, other], asks)
        assert answer.label == "higher"
        assert answer.values[0].high is not None
        assert 1.0 <= answer.values[0].high <= most


def test_a_curve_is_identical_to_itself(drawn: Callable[..., Gathered]) -> None:
    one = drawn("one")
    same = measured("same", np.asarray(one.scores))
    assert ask("sharper", one, same).label == "identical"
    answer = ask("higher", one, same)
    assert answer.label == "identical"
    assert {(v.low, v.high) for v in answer.values} == {(None, None)}


def test_a_curve_that_begins_above_the_low_level_is_never_called_sharper(
    drawn: Callable[..., Gathered],
) -> None:
    """Its rise is measured in part: it may be far wider than what is seen of it."""
    part, whole = drawn("part", center=0.0, scale=0.05), drawn("whole", scale=0.2)
    answer = ask("sharper", part, whole)
    assert answer.label == "inconclusive"
    assert answer.high is None
    assert "part/zeros is measured in part" in answer.why
    assert ask("sharper", drawn("steep", scale=0.005), whole).label == "sharper"
    curve = curve_of(part, ASKS)
    assert width_text(curve.width).startswith("at least ")


def test_a_width_that_straight_lines_decide_is_told() -> None:
    """From 0 to 1 between two values: the larger gap makes a width that nothing tells."""
    coarse = np.repeat((GRID >= 0.6)[:, None], 64, axis=1).astype(float)
    fine = np.repeat((GRID >= 0.75)[:, None], 64, axis=1).astype(float)
    answer = ask("sharper", measured("fine", fine), measured("coarse", coarse))
    assert answer.label == "inconclusive"
    assert "those of the grid" in answer.why
    assert answer.low == pytest.approx(-0.2)
    assert answer.high == pytest.approx(0.05)


def test_few_clusters_make_no_interval_of_a_width(drawn: Callable[..., Gathered]) -> None:
    few = [
        measured(one.arm, np.asarray(one.scores)[:, :20], clusters=one.clusters[:20])
        for one in (drawn("one", scale=0.01), drawn("other", scale=0.1))
    ]
    answer = ask("sharper", few[0], few[1])
    assert (answer.label, answer.low) == ("inconclusive", None)
    assert "10 clusters" in answer.why
    assert "it takes 32" in answer.why


def test_an_interval_of_a_width_goes_as_far_both_ways() -> None:
    """Where texts differ wildly the draws lean to one side, and the truth lies on the other."""
    apart, usual = Shape(center=0.4, spread=6.0, shared=1.0), Shape()
    rng = np.random.default_rng(4)
    rises = [shape.rise(CLUSTERS, rng) for shape in (apart, usual)]
    ends = width_ends(rises, CLUSTERS, 0.1, 0.9, 0.95)
    assert ends.low is not None
    assert ends.high is not None
    assert ends.high - ends.value == pytest.approx(ends.value - ends.low)
    alone = curve_of(measured("apart", rises[0].scores), ASKS).width
    assert alone is not None
    assert alone.low is not None
    assert alone.low >= 0


def test_higher_is_told_by_value_and_over_all(drawn: Callable[..., Gathered]) -> None:
    high, low = drawn("high", center=0.6, scale=0.05), drawn("low", center=0.8, scale=0.05)
    answer = ask("higher", high, low)
    assert answer.label == "higher"
    labels = {one.value: one.label for one in answer.values}
    assert list(labels) == GRID[:-1].tolist()  # all but the last, where both are whole
    assert labels[0.7] == "higher"
    assert labels[0.005] in ("identical", "equal within the margin")
    assert ask("higher", low, high).label == "lower"
    assert "higher at" in answer.sentence


def test_curves_that_cross_are_higher_at_some_values_and_lower_at_others(
    drawn: Callable[..., Gathered],
) -> None:
    steep, wide = drawn("steep", scale=0.005), drawn("wide", scale=0.15)
    assert ask("higher", steep, wide).label == "higher at some values, lower at others"


def test_a_curve_is_compared_with_one_point_of_another_everywhere(
    drawn: Callable[..., Gathered],
) -> None:
    one, anchor = drawn("one"), drawn("anchor", center=0.9)
    answer = ask("higher", one, anchor, than_at=0.005)
    assert answer.than == "anchor/zeros at fraction 0.005"
    assert answer.label == "higher"
    assert len(answer.values) == len(GRID) - 1
    assert ask("higher", one, anchor, values=[0.7, 0.8]).values[1].value == 0.8


def test_a_difference_that_every_example_shares_still_has_an_interval() -> None:
    """32 clusters that agree do not say that all others would."""
    one, none = np.ones((16, 64)), np.zeros((16, 64))
    answer = ask("higher", measured("one", one), measured("none", none))
    assert answer.label == "higher"
    first = answer.values[0]
    assert first.low is not None
    assert 0.7 < first.low < 0.9
    assert first.difference == 1.0


def test_matched_compares_where_both_have_the_same_of_another_metric() -> None:
    """Twice the score at the same error, though at every fraction both score the same."""
    scores = np.linspace(0, 1, 16)[:, None] + np.random.default_rng(0).normal(0, 0.01, (16, 64))
    error = np.linspace(1, 0, 16)
    one, other = measured("one", scores, by=error), measured("other", scores, by=error / 2)
    answer = ask("matched", one, other, by="l2")
    assert answer.label == "higher"
    assert [v.value for v in answer.values] == pytest.approx(sorted(e for e in error if e <= 0.5))
    assert answer.values[-1].difference == pytest.approx(1 - answer.values[-1].value - 0, abs=0.5)
    apart = measured("apart", scores, by=error + 5)
    assert answer.why == ""
    sampled = [replace(v, metrics={**v.metrics, "l2_se": 0.1}) for v in one.values]
    told = ask("matched", Gathered(**{**vars(one), "values": tuple(sampled)}), other, by="l2")
    assert told.sentence.endswith(
        "(l2 was measured on examples too, and its error is not in the ends)."
    )
    assert "no l2 in common" in ask("matched", one, apart, by="l2").why
    assert "was not measured" in ask("matched", one, other, by="kl").why


def test_what_is_missing_makes_no_answer_and_is_named(drawn: Callable[..., Gathered]) -> None:
    one, other = drawn("one"), drawn("other")
    failed = (*one.values[:3], AtValue(0.05, 1, problem="failed: not finite"), *one.values[4:])
    broken = measured("broken", np.asarray(one.scores), values=GRID)
    broken = Gathered(**{**vars(broken), "values": failed})
    answer = ask("sharper", broken, other)
    assert answer.label == "n/a"
    assert answer.why == "broken/zeros: fraction 0.05: failed: not finite"
    strangers = measured("strangers", np.asarray(other.scores), units=tuple("x" * 64))
    assert "different examples" in ask("higher", one, strangers).why


def test_curves_without_scores_by_example_have_means_and_no_intervals() -> None:
    scores = np.linspace(0, 1, 16)[:, None].repeat(64, axis=1)
    bare = measured("bare", scores)
    bare = Gathered(**{**vars(bare), "scores": None, "units": (), "clusters": ()})
    curve = curve_of(bare, ASKS)
    assert curve.points[5].mean == pytest.approx(1 / 3)
    assert (curve.threshold, curve.width, curve.points[5].low) == (None, None, None)
    assert "its points have no overlap by example" in ask("sharper", bare, bare).why


def test_a_curve_that_falls_is_read_from_its_end() -> None:
    rates = np.array([0.0, 0.01, 0.02, 0.04, 0.08])
    chance = np.array([1.0, 0.9, 0.6, 0.3, 0.0])
    rng = np.random.default_rng(2)
    scores = np.clip(chance[:, None] + rng.normal(0, 0.05, (5, 64)), 0, 1)
    scores[0] = 1
    curve = curve_of(measured("falls", scores, rates), ASKS)
    assert not curve.rising
    assert curve.threshold is not None
    assert curve.threshold.at == pytest.approx(0.02 + 0.02 / 3, abs=2e-3)
    assert curve.threshold.low is not None
    assert curve.threshold.high is not None
    assert curve.threshold.at is not None
    assert curve.threshold.low < curve.threshold.at < curve.threshold.high
    assert curve.points[1].fit == pytest.approx(curve.points[1].mean)


def test_crossings_outside_the_grid_are_said_to_be_there() -> None:
    rng = np.random.default_rng(3)
    high = np.clip(0.8 + rng.normal(0, 0.05, (16, 64)), 0, 1)
    high[-1] = 1
    low = high - 0.7
    above, never = (curve_of(measured("a", scores), ASKS) for scores in (high, low))
    assert crossing_text(above.threshold, above) == "below 0.005"
    assert crossing_text(never.threshold, never) == "never within 0.005 to 1"
