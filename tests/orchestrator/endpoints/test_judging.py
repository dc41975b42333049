"""Labels: the whole interval within the margin, or off 0; and what keeps numbers from speaking."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from orchestrator.endpoints.judging import judge_endpoints, label_of
from orchestrator.endpoints.pairing import Run, Side
from orchestrator.endpoints.result import Comparison, StudyEndpoints
from orchestrator.endpoints.rule import Endpoint
from orchestrator.endpoints.sentences import families_text, figure
from orchestrator.report.endpoint_pictures import draw_panel

UNITS = [str(i) for i in range(16)]
STORIES = [str(i // 2) for i in range(16)]
NOISE = np.random.default_rng(0).normal(0, 0.004, (10, 16))


def endpoint(**parts: Any) -> Endpoint:
    return Endpoint.model_validate(
        {"column": "kl", "against": "base", "margin": 0.01, "unit": "nats", **parts}
    )


def run(seed: int, shift: float = 0.0, noise: float = 1.0, **parts: Any) -> Run:
    values = [0.5 + shift + noise * float(x) for x in NOISE[seed % 10]]
    return Run(seed, UNITS, STORIES, values, **parts)


def side(name: str, shift: float = 0.0, seeds: int = 5, noise: float = 1.0, **parts: Any) -> Side:
    runs = tuple(run(seed, shift, noise) for seed in range(seeds))
    return Side(**{"arm": name, "runs": runs, "seeds": tuple(range(seeds)), **parts})


def judged(arm: Side, asked: Endpoint | None = None, base: Side | None = None) -> Comparison:
    against = base or side("base", noise=0.0, seeds=len(arm.seeds))
    found = judge_endpoints({"it": asked or endpoint()}, {"it": {"a": arm, "base": against}})
    (one,) = found.comparisons
    return one


@pytest.mark.parametrize(
    ("low", "high", "label"),
    [
        (-0.01, 0.01, "no effect"),
        (0.001, 0.009, "no effect"),
        (0.001, 0.011, "effect, higher"),
        (0.02, 0.03, "effect, higher"),
        (-0.03, -0.001, "effect, lower"),
        (-0.001, 0.02, "inconclusive"),
        (-0.02, 0.02, "inconclusive"),
        (0.0, 0.02, "inconclusive"),
    ],
)
def test_a_label_goes_by_the_whole_interval(low: float, high: float, label: str) -> None:
    assert label_of(low, high, 0.01) == label


def test_a_difference_beyond_the_margin_is_an_effect_with_its_sign() -> None:
    higher, lower = judged(side("a", 0.1)), judged(side("a", -0.1))
    assert (higher.label, lower.label) == ("effect, higher", "effect, lower")
    assert higher.value == pytest.approx(0.1, abs=0.002)
    assert higher.low is not None
    assert higher.low > 0.01
    assert higher.sentence.startswith("effect, higher: kl of a minus base is +0.1")
    assert higher.sentence.endswith("nats, where ±0.01 would not matter.")
    assert (higher.seeds, higher.units, higher.clusters) == (5, 16, 8)


def test_an_effect_that_may_be_small_says_so() -> None:
    found = judged(side("a", 0.011))
    assert found.label == "effect, higher"
    assert found.why == "it may be smaller than the margin"


def test_a_small_difference_that_is_surely_there_is_no_effect_and_not_called_zero() -> None:
    found = judged(side("a", 0.005))
    assert found.low is not None
    assert found.low > 0
    assert found.label == "no effect"
    assert found.why == "it is not exactly 0, and smaller than the margin"
    assert "all of it within ±0.01; it is not exactly 0" in found.sentence


def test_equal_scores_are_identical_and_nothing_is_tested() -> None:
    found = judged(side("a"), base=side("base"))
    assert (found.label, found.value, found.low) == ("identical", 0, None)
    assert found.sentence == "identical: every kl of a equals base's: nothing is tested."


def test_scores_that_one_arm_alone_has_are_not_identical() -> None:
    runs = [*side("base").runs]
    runs[2] = Run(2, UNITS, STORIES, [None, *runs[2].values[1:]])
    found = judged(side("a"), base=side("base", runs=tuple(runs)))
    assert (found.label, found.value, found.left_units) == ("inconclusive", 0, 1)
    assert found.why.startswith("equal where all runs measured, and not all of it was measured")
    both = judged(side("a", runs=tuple(runs)), base=side("base", runs=tuple(runs)))
    assert (both.label, both.left_units) == ("identical", 1)


def test_equal_scores_of_the_units_that_are_left_do_not_hide_another_difference() -> None:
    runs, moved = [*side("base").runs], [*side("a").runs]
    runs[2] = moved[2] = Run(2, UNITS, STORIES, [None, *runs[2].values[1:]])
    moved[0] = Run(0, UNITS, STORIES, [9.0, *moved[0].values[1:]])
    found = judged(side("a", runs=tuple(moved)), base=side("base", runs=tuple(runs)))
    assert found.label == "inconclusive"


def test_scores_too_large_for_a_mean_are_no_figure() -> None:
    runs = tuple(Run(seed, UNITS, STORIES, [1e308] * 16) for seed in range(5))
    found = judged(side("a", runs=runs))
    assert (found.label, found.value, found.low) == ("inconclusive", None, None)
    assert found.why == "scores are too large to take a mean of"


def test_almost_equal_scores_are_not_identical() -> None:
    runs = list(side("a").runs)
    values = [*runs[0].values]
    values[3] = (values[3] or 0) + 1e-12
    runs[0] = Run(0, UNITS, STORIES, values)
    found = judged(side("a", runs=tuple(runs)), base=side("base"))
    assert found.label == "no effect"


def test_what_does_not_vary_cannot_be_tested() -> None:
    same = Run(0, UNITS, STORIES, [1.0] * 16)
    moved = Run(0, UNITS, STORIES, [1.5] * 16)
    arm = Side("a", (moved, Run(1, UNITS, STORIES, [1.5] * 16)), (0, 1))
    base = Side("base", (same, Run(1, UNITS, STORIES, [1.0] * 16)), (0, 1))
    still = judged(arm, base=base)
    assert (still.label, still.value, still.low) == ("inconclusive", 0.5, None)
    assert still.why == "no difference varied, so that there is nothing to test"


@pytest.mark.parametrize(
    ("shift", "label"),
    [(0.1, "candidate effect, higher"), (0.0, "candidate no effect")],
)
def test_few_seeds_make_candidates(shift: float, label: str) -> None:
    found = judged(side("a", shift, seeds=4, noise=0.3), endpoint(margin=0.02))
    assert found.label == label
    assert found.why.endswith("4 seeds, fewer than 5")


def test_few_seeds_of_equal_scores_are_identical_all_the_same() -> None:
    assert judged(side("a", seeds=2), base=side("base", seeds=2)).label == "identical"


def test_one_seed_has_no_interval() -> None:
    found = judged(side("a", 0.1, seeds=1))
    assert (found.label, found.low, found.why) == (
        "inconclusive",
        None,
        "one seed has no interval",
    )


def test_arms_that_do_not_depend_on_the_seed_are_compared_over_texts() -> None:
    base = side("base", noise=0.0, seeds=1, deterministic=True)
    found = judged(side("a", 0.1, seeds=1, deterministic=True), base=base)
    assert (found.label, found.fixed, found.seed_sd) == ("effect, higher", True, None)
    assert found.why == "neither arm depends on the seed"
    seeded = judged(side("a", 0.1), base=base)
    assert (seeded.label, seeded.seeds, seeded.planned) == ("effect, higher", 5, 5)


def test_only_common_seeds_are_compared_and_that_is_said() -> None:
    found = judged(side("a", 0.1, seeds=8), base=side("base", noise=0.0, seeds=6))
    assert (found.label, found.seeds, found.left_seeds) == ("effect, higher", 6, 2)
    assert "2 seeds of one arm alone left out" in found.why


def test_units_that_were_not_measured_are_left_out_and_counted() -> None:
    runs = list(side("a", 0.1).runs)
    runs[2] = Run(2, UNITS, STORIES, [None, None, *runs[2].values[2:]])
    found = judged(side("a", runs=tuple(runs)))
    assert (found.label, found.units, found.left_units) == ("effect, higher", 14, 2)
    assert "2 units not measured in every run left out" in found.why


@pytest.mark.parametrize("strange", [math.nan, math.inf])
def test_a_value_that_is_not_finite_leaves_no_figure(strange: float) -> None:
    runs = list(side("a", 0.1).runs)
    runs[1] = Run(1, UNITS, STORIES, [strange, *runs[1].values[1:]])
    found = judged(side("a", runs=tuple(runs)))
    assert (found.label, found.value, found.not_finite) == ("not finite", None, 1)
    assert found.differences[0].value is None


def test_failed_runs_are_not_averaged_away() -> None:
    there = side("a", 0.1).runs[:4]
    seeds = tuple(range(5))
    lost = judged(Side("a", there, seeds, failures=("unknown",)))
    assert (lost.label, lost.why) == ("incomplete", "of 5 runs of a 1 failed")
    assert lost.value is not None
    gone = judged(Side("a", there, seeds, failures=("diverged",)))
    assert gone.label == "diverged"
    assert gone.why == "of 5 runs of a 1 diverged and could not be scored"
    none = judged(Side("a", (), seeds, failures=("unknown",) * 5))
    assert (none.label, none.why, none.value) == ("failed", "every run of a failed", None)
    base = Side("base", (), seeds, failures=("diverged",) * 5)
    assert judged(side("a"), base=base).label == "diverged"


def test_a_run_that_diverged_and_was_scored_counts_and_is_told() -> None:
    runs = tuple(run(seed, 0.1, diverged=seed == 0) for seed in range(5))
    found = judged(side("a", runs=runs))
    assert (found.label, found.diverged) == ("effect, higher", 1)
    assert "1 run diverged and was scored" in found.why


def test_what_one_arm_did_not_measure_is_not_measured() -> None:
    empty = tuple(Run(seed, UNITS, STORIES, [None] * 16) for seed in range(5))
    found = judged(side("a"), base=side("base", runs=empty))
    assert (found.label, found.value) == ("not measured", None)
    assert found.why == "base holds no 'kl' in its split 'texts'"
    some = judged(side("a", runs=(*side("a").runs[:4], empty[4])))
    assert (some.label, some.why) == ("incomplete", "1 run of 5 measured nothing")
    apart = Side("base", (run(9),), (9,))
    assert judged(side("a"), base=apart).why == "a and base share no seed"


def test_nothing_is_called_anything_before_all_trials_end() -> None:
    sides = {"it": {"a": side("a", 0.1), "base": side("base", noise=0.0)}}
    found = judge_endpoints({"it": endpoint()}, sides, "3 of 9 trials have ended")
    assert (found.state, found.comparisons[0].label) == ("no verdict yet", "no verdict yet")
    assert found.comparisons[0].value is not None
    assert found.answer == "No verdict on endpoints yet: 3 of 9 trials have ended."


def test_the_steps_of_a_run_are_no_sample() -> None:
    by_text = judged(side("a", 0.1))
    by_seed = judged(side("a", 0.1), endpoint(split="steps"))
    assert by_seed.over_seeds
    assert by_seed.low != by_text.low


def three_arms(**parts: Any) -> dict[str, Side]:
    return {
        "far": side("far", 0.1),
        "same": side("same", noise=0.0),
        "control": side("control", 0.0, control=True),
        "base": side("base", noise=0.0),
        **parts,
    }


def test_primary_endpoints_are_one_family_with_controls_and_secondary_ones_two() -> None:
    asked = {
        "kl": endpoint(),
        "entropy": endpoint(margin=0.001),
        "words": endpoint(primary=False),
    }
    found = judge_endpoints(asked, dict.fromkeys(asked, three_arms()))
    assert [one.family for one in found.comparisons] == [6] * 6 + [2, 2, 1]
    first, last = found.find("kl", "far"), found.find("words", "far")
    assert first is not None
    assert last is not None
    assert first.low is not None
    assert last.low is not None
    assert first.low < last.low
    assert last.sentence.startswith("effect, higher (secondary): ")


def test_the_answer_holds_primary_endpoints_alone_and_controls_apart() -> None:
    asked = {"kl": endpoint(), "words": endpoint(primary=False)}
    found = judge_endpoints(asked, dict.fromkeys(asked, three_arms()))
    assert found.answer == (
        "kl against base: effect, higher in far; identical in same; among controls no effect in "
        "control."
    )
    none = judge_endpoints({"words": asked["words"]}, {"words": three_arms()})
    assert none.answer == "No endpoint is primary, so that none answers the study."


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (6.5e-5, "6.5e-5"), (-1.0e-4, "-1e-4"), (0.0, "0"), (0.001, "0.001"), (0.0131, "0.0131"),
        (1234.5, "1.23e3"), (9.9996e-4, "1e-3"),
    ],
)  # fmt: skip
def test_figures_have_digits_that_tell_something(value: float, text: str) -> None:
    assert figure(value) == text


def test_families_are_told_by_what_they_hold() -> None:
    sizes = {(True, False): 32, (False, False): 4, (False, True): 2}
    assert families_text(sizes) == "32 primary comparisons, 4 secondary, 2 secondary of controls"
    assert families_text({(True, False): 1}) == "1 primary comparison"


@pytest.mark.parametrize(("shift", "scale"), [(0.05, "linear"), (50.0, "symlog")])
def test_the_margin_can_be_seen_however_far_an_arm_lies(shift: float, scale: str) -> None:
    from matplotlib.figure import Figure

    axis = Figure().subplots()
    draw_panel(axis, [judged(side("a", shift))])
    assert axis.get_xscale() == scale
    ends = axis.transData.transform([(-0.01, 0), (0.01, 0)])[:, 0]
    assert (ends[1] - ends[0]) / axis.bbox.width > 0.08


def test_they_survive_being_kept_as_json() -> None:
    found = judge_endpoints({"kl": endpoint()}, {"kl": three_arms()})
    again = msgspec.json.decode(msgspec.json.encode(found), type=StudyEndpoints)
    assert again.to_json() == found.to_json()
    assert again.comparisons[0].name == "kl/far"


def test_scores_that_cannot_be_paired_name_the_endpoint() -> None:
    other = tuple(Run(seed, UNITS, UNITS, [0.0] * 16) for seed in range(5))
    with pytest.raises(ValueError, match=r"endpoints\.it, a and base: unit '1' is in cluster '0'"):
        judged(side("a"), base=side("base", runs=other))


def test_ends_are_shown_within_what_a_difference_can_be_and_labels_go_by_those_before() -> None:
    asked = endpoint()
    arm = Side(arm="a", runs=(run(0, 0.1), run(1, 0.4)), seeds=(0, 1))
    sides = {"it": {"a": arm, "base": side("base", noise=0.0, seeds=2)}}
    (free,) = judge_endpoints({"it": asked}, sides).comparisons
    (cut,) = judge_endpoints({"it": asked}, sides, limits={"kl": (0.0, 1.0)}).comparisons
    (half,) = judge_endpoints({"it": asked}, sides, limits={"kl": (0.0, None)}).comparisons
    assert free.low is not None
    assert free.low < -1
    assert (cut.low, cut.high) == (-1.0, 1.0)
    assert "[-1, +1]" in cut.sentence
    assert (cut.label, cut.value) == (free.label, free.value)
    assert (half.low, half.high) == (free.low, free.high)


def test_an_arm_that_is_flagged_is_told_from_one_that_is_identical_by_design() -> None:
    base = side("base")
    note = "dead site: acts, but changes no logit"
    flagged = tuple(run(seed, notes=(note,)) for seed in range(5))
    some = tuple(run(seed, notes=(note,) if seed < 2 else ()) for seed in range(5))
    sides = {"base": base, "null": side("null")}
    sides |= {arm: Side(arm, runs, base.seeds) for arm, runs in (("all", flagged), ("some", some))}
    found = judge_endpoints({"it": endpoint()}, {"it": sides})
    by_arm = {one.arm: one for one in found.comparisons}
    assert {one.label for one in found.comparisons} == {"identical"}
    assert [by_arm[arm].flagged for arm in ("null", "all", "some")] == [0, 5, 2]
    assert (by_arm["null"].why, by_arm["all"].why) == ("", note)
    assert by_arm["some"].why == f"2 of 5 runs: {note}"
    assert found.answer == ("it against base: identical in null; identical, flagged, in all, some.")
