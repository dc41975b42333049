"""Arms on which the seed has no effect: one replicate of them is all there is to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestrator import Study
from orchestrator.home import Home
from orchestrator.judging import resolvable
from orchestrator.statistics import align, contrast, scored_questions
from orchestrator.statistics.ratios import floor_corrected_ratio
from orchestrator.verdict import ArmScores, Rule, judge
from orchestrator.verdict.measure import measure
from tests.orchestrator.quick_study import arm, finish, quick_study, rule
from tests.quick_workload import Quick

Make = Callable[..., Rule]
Arm = Callable[..., ArmScores]
Arms = Callable[..., list[ArmScores]]


def fixed(arm: ArmScores) -> ArmScores:
    """The same arm as one that gives the same whatever the seed: its first replicate alone."""
    return replace(arm, replicates=arm.replicates[:1], deterministic=True)


def means_only(arm: ArmScores) -> ArmScores:
    return replace(arm, replicates=tuple(replace(one, scores=None) for one in arm.replicates))


def with_fixed(arms: list[ArmScores], *names: str) -> list[ArmScores]:
    return [fixed(arm) if arm.arm in names else arm for arm in arms]


def test_a_deterministic_comparator_and_five_seeds_make_a_verdict(
    make_rule: Make, make_study: Arms
) -> None:
    arms = with_fixed(make_study({"much": 7.0, "none": 0.0}), "base")
    verdict = judge(make_rule(), arms)

    assert verdict.state == "verdict"
    assert verdict.find("much").label == "at least 5 (significant)"  # type: ignore[union-attr]
    assert verdict.find("none").label == "less than 2"  # type: ignore[union-attr]
    assert verdict.answer.startswith("Yes: 1 of 2 arms gains on 'base'")


def test_the_noise_over_seeds_is_that_of_the_other_arm(make_rule: Make, make_study: Arms) -> None:
    arms = with_fixed(make_study({"much": 7.0}, seed_sd=1.0), "base")
    one = judge(make_rule(), arms).find("much")
    scored = [
        [scored_questions(r.scores, r.units, r.clusters) for r in arm.replicates]  # type: ignore[arg-type]
        for arm in (arms[1], arms[0])
    ]
    aligned = align(scored)
    assert aligned is not None
    alone = contrast([aligned.arms[0]], [1.0])

    assert one is not None
    assert one.extra["df"] == pytest.approx(4.0)
    half = one.delta_ci_high - one.delta  # type: ignore[operator]
    assert half >= float(alone.welch) ** 0.5 * 2.776  # t of 4 degrees of freedom


def test_a_deterministic_arm_is_judged_against_five_seeds(
    make_rule: Make, make_study: Arms
) -> None:
    verdict = judge(make_rule(), with_fixed(make_study({"much": 7.0, "some": 3.5}), "much"))

    assert verdict.state == "verdict"
    assert verdict.find("much").label == "at least 5 (significant)"  # type: ignore[union-attr]
    assert verdict.find("some").label == "at least 2 (marginal)"  # type: ignore[union-attr]


def test_two_deterministic_arms_differ_over_questions(make_rule: Make, make_study: Arms) -> None:
    verdict = judge(make_rule(), with_fixed(make_study({"much": 7.0}), "base", "much"))
    one = verdict.find("much")

    assert verdict.state == "verdict"
    assert one is not None
    assert one.label == "at least 5 (significant)"
    assert one.delta_ci_low < one.delta < one.delta_ci_high  # type: ignore[operator]


def test_dunnett_judges_a_deterministic_comparator_too(make_rule: Make, make_study: Arms) -> None:
    arms = with_fixed(make_study({"much": 7.0, "none": 0.0}), "base")
    verdict = judge(make_rule(simultaneous="dunnett"), arms)

    assert verdict.find("much").label == "at least 5 (significant)"  # type: ignore[union-attr]


@pytest.mark.parametrize(("seeds", "fixed_arm"), [(3, "base"), (3, "huge")])
def test_three_seeds_beside_a_deterministic_arm_are_a_screen_of_three(
    make_rule: Make, make_study: Arms, seeds: int, fixed_arm: str
) -> None:
    verdict = judge(make_rule(), with_fixed(make_study({"huge": 30.0}, seeds=seeds), fixed_arm))

    assert verdict.state == "screen"
    assert verdict.find("huge").label == "candidate"  # type: ignore[union-attr]
    assert verdict.answer.startswith("Screen of 3 seeds: 1 candidate")


def test_a_comparator_of_few_seeds_is_what_the_screen_names(make_rule: Make, make_arm: Arm) -> None:
    arms = [make_arm("base", 40.0, "baseline", seeds=3), make_arm("huge", 70.0)]

    assert judge(make_rule(), arms).answer.startswith("Screen of 3 seeds: 1 candidate")


def test_one_seed_of_an_arm_that_depends_on_it_has_no_interval(
    make_rule: Make, make_study: Arms
) -> None:
    arms = make_study({"huge": 30.0})
    arms[0] = replace(arms[0], replicates=arms[0].replicates[:1])
    verdict = judge(make_rule(), arms)
    one = verdict.find("huge")

    assert verdict.state == "screen"
    assert verdict.answer.startswith("Screen of 1 seed: ")
    assert one is not None
    assert (one.label, one.why) == ("inconclusive", "one seed has no interval")
    assert (one.delta_ci_low, one.delta_ci_high) == (None, None)
    assert verdict.find("base").ci_low is None  # type: ignore[union-attr]


def test_one_number_of_replicates_for_all_asks_one_of_a_deterministic_arm(
    make_rule: Make, make_study: Arms
) -> None:
    arms = with_fixed(make_study({"much": 7.0}), "base", "text")

    assert judge(make_rule(), arms, planned=5).state == "verdict"


def test_a_deterministic_mean_alone_has_no_interval_of_its_own(
    make_rule: Make, make_study: Arms
) -> None:
    arms = [means_only(arm) for arm in with_fixed(make_study({"much": 7.0}), "base")]
    verdict = judge(make_rule(), arms)

    assert verdict.find("base").ci_low is None  # type: ignore[union-attr]
    assert verdict.find("much").label == "at least 5 (significant)"  # type: ignore[union-attr]


def test_a_study_with_a_deterministic_baseline_ends_in_a_verdict(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Quick, "deterministic", lambda self, config: config.effect == 0.0)
    mapping = quick_study(seeds=[0, 1, 2, 3, 4], verdict=rule())
    study = Study.load(mapping, home=home.root)
    estimate = resolvable(study, study.plan())
    assert len(finish(study)) == 1 + 5
    verdict = study.verdict()

    assert estimate is not None
    assert estimate[0].text.startswith("5 seeds x 20 questions")
    assert verdict.state == "verdict"
    assert verdict.find("better").delta_ci_low is not None  # type: ignore[union-attr]


def test_what_can_be_resolved_counts_the_seeds_of_arms_that_have_some(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Quick, "deterministic", lambda self, config: config.effect == 5.0)
    fixed_arm = {**arm("fixed", effect=5.0), "seeds": [0]}
    listed = (arm("plain", "baseline"), fixed_arm, arm("more", effect=1.0))
    for arms, text in ((listed, "2 seeds x 20 questions"), (listed[:2], None)):
        study = Study.load(quick_study(*arms, verdict=rule()), home=home.root)
        estimate = resolvable(study, study.plan())
        assert (estimate and estimate[0].text.startswith(str(text))) is (True if text else None)


# -- gates ----------------------------------------------------------------------------------------

REFERENCES = ("text", "constant", "mismatched")


def test_deterministic_reference_and_floor_add_no_noise_over_seeds_to_the_gate(
    make_rule: Make, make_study: Arms, gate: dict[str, Any]
) -> None:
    seeded = make_study({"a": 9.0}, seed_sd=2.0)
    arms = with_fixed(seeded, *REFERENCES)
    verdict = judge(make_rule(gate=gate), arms)
    everywhere = judge(make_rule(gate=gate), seeded).gate
    reduced = measure([arm for arm in arms if arm.role == "control"])
    assert reduced is not None
    plain, text, constant, _ = reduced.arms

    assert [float(one.seed_variance) for one in (text, constant)] == [0.0, 0.0]
    assert float(plain.seed_variance) > 1.0
    assert verdict.state == "verdict"
    assert verdict.gate is not None
    assert verdict.gate.met is True
    expected = floor_corrected_ratio(plain, text, constant, 0.90)
    assert (verdict.gate.ci_low, verdict.gate.ci_high) == (expected.low, expected.high)
    assert everywhere is not None
    width = verdict.gate.ci_high - verdict.gate.ci_low  # type: ignore[operator]
    assert width < everywhere.ci_high - everywhere.ci_low  # type: ignore[operator]


def test_one_seed_of_a_reference_that_depends_on_it_leaves_the_gate_without_an_interval(
    make_rule: Make, make_study: Arms, gate: dict[str, Any]
) -> None:
    arms = [
        replace(arm, replicates=arm.replicates[:1]) if arm.arm == "text" else arm
        for arm in make_study({"a": 9.0})
    ]
    found = judge(make_rule(gate=gate), arms).gate

    assert found is not None
    assert (found.met, found.ci_low) == (False, None)
    assert "two seeds" in found.why


@pytest.mark.parametrize("scored", [True, False])
def test_a_deterministic_control_is_inside_a_range_by_its_questions_only(
    make_rule: Make, make_study: Arms, scored: bool
) -> None:
    inside = {"kind": "interval_inside", "control": "plain", "target": [36, 44]}
    arms = with_fixed(make_study({"a": 9.0}), "plain")
    found = judge(make_rule(gate=inside), arms if scored else [*map(means_only, arms)]).gate

    assert found is not None
    assert found.met is scored
    assert (found.ci_low is not None) is scored


def test_a_ratio_of_three_bare_means_has_no_interval(
    make_rule: Make, make_study: Arms, gate: dict[str, Any]
) -> None:
    arms = [means_only(arm) for arm in with_fixed(make_study({"a": 9.0}), "plain", *REFERENCES)]
    found = judge(make_rule(gate=gate), arms).gate

    assert found is not None
    assert (found.met, found.ci_low) == (False, None)
