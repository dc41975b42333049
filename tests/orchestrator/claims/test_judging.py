"""Claims: a label needs the whole interval, all runs, and something that was measured."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from orchestrator.claims.gathering import ArmRuns, run_figure
from orchestrator.claims.judging import judge_claims
from orchestrator.claims.result import ClaimResult, StudyClaims
from orchestrator.claims.rule import Claim
from orchestrator.limits import Limits


def claim(**parts: Any) -> Claim:
    usual = {"arm": "a", "statistic": "share", "column": "r", "expected": [0.5, None]}
    made = usual | parts
    if made["statistic"] in ("share", "runs"):
        made.setdefault("within", [0.5, 0.7])
    return Claim.model_validate(made)


def runs(*values: float | None, failed: int = 0, waiting: int = 0) -> ArmRuns:
    asked = claim(statistic="mean")
    figures = tuple(run_figure(i, [value], asked) for i, value in enumerate(values))
    return ArmRuns(figures, failed, waiting)


def judged(asked: Claim, there: ArmRuns, pending: str = "") -> ClaimResult:
    return judge_claims({"it": asked}, {"it": there}, pending).claims[0]


# -- what a run contributes -----------------------------------------------------------------------


def test_a_share_is_of_the_units_that_were_measured() -> None:
    found = run_figure(3, [None, None, 0.5, 0.6, 0.7, 0.8], claim())
    assert (found.seed, found.value, found.units) == (3, 0.75, 4)


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_was_measured_and_leaves_the_run_no_figure(
    strange: float,
) -> None:
    for statistic in ("share", "runs", "median", "mean"):
        found = run_figure(0, [0.6, strange, None], claim(statistic=statistic))
        assert (found.units, found.not_finite) == (2, 1)
        assert found.value is not None
        assert math.isnan(found.value)


def test_a_run_that_measured_nothing_contributes_nothing() -> None:
    assert run_figure(0, [None, None], claim()).value is None
    assert run_figure(0, [], claim(statistic="median")).value is None


def test_a_median_and_a_mean_of_a_run_are_of_its_units() -> None:
    assert run_figure(0, [1.0, None, 2.0, 9.0], claim(statistic="median")).value == 2.0
    assert run_figure(0, [1.0, None, 2.0, 9.0], claim(statistic="mean")).value == 4.0
    strange = run_figure(0, [1.0, math.inf], claim(statistic="mean")).value
    assert strange is not None
    assert math.isnan(strange)


# -- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "label"),
    [
        ([0, 5], "holds"),
        ([1.5, None], "holds"),
        ([None, 2.5], "holds"),
        ([3, None], "contradicted"),
        ([None, 1], "contradicted"),
        ([2, 9], "inconclusive"),
    ],
)
def test_a_label_needs_the_whole_interval(expected: list[float | None], label: str) -> None:
    there = runs(*(1.9, 2.0, 2.1) * 5)
    found = judged(claim(statistic="mean", expected=expected), there)
    assert found.label == label
    assert found.sentence.startswith(f"{label}: the mean r of a is 2 [1.9")


def test_an_interval_that_ends_at_the_edge_holds() -> None:
    found = judged(claim(statistic="runs", expected=[0, 1]), runs(0, 0, 0, 0, 0, 0))
    assert (found.label, found.low) == ("holds", 0)


def test_no_collapse_in_n_runs_has_its_exact_bound_and_says_so() -> None:
    asked = claim(statistic="runs", within=[0.8, None], expected=[0, 0.2], source="the card")
    found = judged(asked, runs(*[0.0] * 20))
    assert (found.events, found.runs) == (0, 20)
    assert found.high == pytest.approx(0.1684, abs=1e-4)
    assert found.sentence == (
        "holds: the part of runs of a with r at least 0.8 at any of their steps is "
        "0 of 20 [0, 0.168], where the card says 0 to 0.2."
    )


def test_ends_are_simultaneous_over_the_claims() -> None:
    one = judge_claims({"x": claim(statistic="mean")}, {"x": runs(1, 2, 3)}).claims[0]
    many = {name: claim(statistic="mean") for name in "wxyz"}
    of_four = judge_claims(many, dict.fromkeys(many, runs(1, 2, 3))).claims[0]
    assert one.low is not None
    assert of_four.low is not None
    assert of_four.low < one.low
    assert of_four.family == 4


@pytest.mark.parametrize("statistic", ["runs", "share", "median", "mean"])
@pytest.mark.parametrize("spoilt", [1, 45])
def test_no_claim_holds_by_runs_that_are_not_finite(statistic: str, spoilt: int) -> None:
    asked = claim(statistic=statistic, expected=[None, 1])
    if statistic in ("share", "runs"):
        asked = claim(statistic=statistic, within=[0.8, None], expected=[None, 1])
    figures = [run_figure(i, [math.nan] * 8, asked) for i in range(spoilt)]
    figures += [run_figure(i, [0.0] * 8, asked) for i in range(spoilt, 45)]
    found = judge_claims({"it": asked}, {"it": ArmRuns(tuple(figures), 0, 0)})
    one = found.claims[0]
    assert (one.label, one.value, one.low, one.high) == ("not finite", None, None, None)
    assert (one.strange, one.units, one.not_finite) == (spoilt, 360, 8 * spoilt)
    assert one.why == f"{spoilt} of 45 runs hold values that are not finite"
    assert one.sentence.startswith("not finite: ")
    assert found.answer == "Of 1 claim 1 is not finite (it)."
    lost = judge_claims({"it": asked}, {"it": ArmRuns(tuple(figures), 1, 0)}).claims[0]
    assert lost.label == "not finite"
    assert lost.why == f"of 46 runs 1 failed and {spoilt} hold values that are not finite"


def test_few_runs_are_told() -> None:
    found = judged(claim(statistic="mean", expected=[0, 100]), runs(1.0, 2.0, 1.5, 1.2))
    assert found.why == "4 runs, fewer than 5"


def test_a_failed_run_leaves_a_claim_incomplete() -> None:
    found = judged(claim(statistic="mean"), runs(1, 2, 3, 4, 5, failed=1))
    assert (found.label, found.why) == ("incomplete", "of 6 runs 1 failed")
    found = judged(claim(statistic="mean"), runs(1, 2, 3, 4, 5, None))
    assert (found.label, found.why) == ("incomplete", "of 6 runs 1 measured nothing")


def test_what_no_run_measured_is_not_measured() -> None:
    found = judged(claim(), runs(None, None))
    assert (found.label, found.value, found.low) == ("not measured", None, None)
    assert "n/a" in found.sentence
    assert "no run holds 'r'" in found.why


def test_nothing_is_called_anything_before_all_trials_end() -> None:
    told = judge_claims(
        {"x": claim(statistic="mean", expected=[0, 9])}, {"x": runs(1, 2, 3)}, "3 of 9 trials"
    )
    assert (told.state, told.claims[0].label) == ("no verdict yet", "no verdict yet")
    assert told.claims[0].value == 2
    assert told.answer == "No verdict on claims yet: 3 of 9 trials."


def test_the_answer_counts_and_names_what_came_of_each() -> None:
    there = runs(*(1.9, 2.0, 2.1) * 5)
    asked = {
        "low": claim(statistic="mean", expected=[3, None]),
        "high": claim(statistic="mean", expected=[1, None]),
        "wide": claim(statistic="mean", expected=[2, None]),
        "far": claim(statistic="mean", expected=[None, 1]),
    }
    told = judge_claims(asked, dict.fromkeys(asked, there))
    assert told.answer == (
        "Of 4 claims 1 holds (high), 2 are contradicted (low, far), 1 is inconclusive (wide)."
    )


def test_claims_survive_being_kept_as_json() -> None:
    told = judge_claims(
        {"x": claim(statistic="mean"), "y": claim()}, {"x": runs(1, math.nan), "y": runs(None)}
    )
    again = msgspec.json.decode(msgspec.json.encode(told), type=StudyClaims)
    assert again.to_json() == told.to_json()
    assert again.claims[0].figures[1].not_finite == 1


def test_claims_on_controls_stand_apart_in_the_answer() -> None:
    stated = {"ours": claim(statistic="mean", expected=[0, 9]), "theirs": claim(statistic="mean")}
    stated["theirs"] = claim(statistic="mean", expected=[90, None])
    there = runs(*(1.9, 2.0, 2.1) * 5)
    control = ArmRuns(there.figures, 0, 0, control=True)
    found = judge_claims(stated, {"ours": there, "theirs": control})
    assert found.answer == (
        "Of 1 claim 1 holds (ours). Apart from them, of 1 claim on controls 1 is contradicted "
        "(theirs)."
    )
    assert [one.control for one in found.claims] == [False, True]


# -- few runs, and what a figure can be -----------------------------------------------------------


def two_claims(count: int) -> StudyClaims:
    there = runs(*(1.9, 2.0, 2.1, 1.95, 2.05)[:count])
    asked = {
        "high": claim(statistic="mean", expected=[1, None]),
        "low": claim(statistic="mean", expected=[None, 1]),
    }
    return judge_claims(asked, dict.fromkeys(asked, there))


def test_few_runs_make_candidates_which_the_answer_tells_apart() -> None:
    four, five = two_claims(4), two_claims(5)
    assert [one.label for one in four.claims] == ["candidate: holds", "candidate: contradicted"]
    assert [one.why for one in four.claims] == ["4 runs, fewer than 5"] * 2
    assert four.answer == (
        "Of 2 claims 1 is a candidate: holds (high), 1 is a candidate: contradicted (low)."
    )
    assert four.claims[0].sentence.startswith("candidate: holds: the mean r of a is")
    assert [one.label for one in five.claims] == ["holds", "contradicted"]


def test_a_share_of_few_runs_is_a_candidate_and_their_exact_count_is_not() -> None:
    asked = claim(within=[0.5, 0.7], expected=[None, 0.99])
    assert judged(asked, runs(0.0, 0.0, 0.0)).label == "candidate: holds"
    counted = claim(statistic="runs", within=[0.5, 0.7], expected=[None, 0.99])
    found = judged(counted, runs(0.0, 0.0, 0.0))
    assert (found.label, found.why) == ("holds", "3 runs, fewer than 5")


def test_ends_are_shown_within_what_a_figure_can_be_and_labels_go_by_those_before() -> None:
    def told(expected: list[float | None], limits: Limits) -> ClaimResult:
        asked = claim(statistic="mean", expected=expected)
        return judge_claims({"it": asked}, {"it": runs(1.0, 4.4)}, limits={"r": limits}).claims[0]

    free = told([1, None], (None, None))
    assert free.low is not None
    assert free.low < -10
    cut = told([1, None], (0.0, None))
    assert (cut.label, cut.low, cut.high) == ("inconclusive", 0.0, free.high)
    assert cut.sentence.startswith("inconclusive: the mean r of a is 2.7 [0, 24.3]")
    edge = told([0, None], (0.0, None))
    assert edge.label == "inconclusive"
    assert edge.why == (
        "2 runs, fewer than 5; the interval reached -18.9 before it was cut to what r can be"
    )


def test_a_figure_that_rounds_to_beyond_a_limit_lies_within_its_ends() -> None:
    asked = claim(statistic="mean")
    there = runs(1.0, 1.0 + 1e-9)
    found = judge_claims({"it": asked}, {"it": there}, limits={"r": (0.0, 1.0)}).claims[0]
    assert found.value is not None
    assert found.high == found.value > 1
