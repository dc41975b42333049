"""The rule applied to studies whose answer is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.verdict import ArmScores, ReplicateScores, Rule, Verdict, judge

Make = Callable[..., Rule]
Study = Callable[..., list[ArmScores]]
Arm = Callable[..., ArmScores]


def labels(verdict: Verdict) -> dict[str, str]:
    return {one.arm: one.label for one in (*verdict.arms, *verdict.controls)}


def changed(arms: list[ArmScores], name: str, seeds: set[int], **changes: Any) -> list[ArmScores]:
    """The same study with some replicates of one arm changed."""
    return [
        replace(
            arm,
            replicates=tuple(
                replace(one, **changes) if arm.arm == name and one.seed in seeds else one
                for one in arm.replicates
            ),
        )
        for arm in arms
    ]


FAILED = {"state": "failed", "value": None, "scores": None}


def test_each_arm_gets_the_label_of_its_interval(make_rule: Make, make_study: Study) -> None:
    gains = {"none": 0.0, "some": 3.5, "much": 7.0, "huge": 14.0, "bad": -4.0, "edge": 2.0}
    verdict = judge(make_rule(), make_study(gains))

    assert labels(verdict) | {} == {
        "base": "comparator",
        "none": "less than 2",
        "some": "at least 2 (marginal)",
        "much": "at least 5 (significant)",
        "huge": "at least 10 (strong)",
        "bad": "harm",
        "edge": "inconclusive",
        "plain": "control",
        "text": "control",
        "constant": "control",
        "mismatched": "control",
    }
    assert verdict.state == "verdict"
    assert verdict.outcome == "improves"
    assert verdict.answer.startswith("Yes: 3 of 6 arms gain on 'base' (huge: at least 10 (strong)")


def test_the_interval_is_the_one_of_the_statistics(make_rule: Make, make_study: Study) -> None:
    from orchestrator.statistics import align, difference, scored_questions

    arms = make_study({"some": 3.5, "other": 1.0})
    one = judge(make_rule(), arms).find("some")
    both = [
        [scored_questions(r.scores, r.units, r.clusters) for r in arm.replicates]  # type: ignore[arg-type]
        for arm in (arms[1], arms[0])
    ]
    aligned = align(both)
    assert aligned is not None
    low, high = difference(*aligned.arms).interval(0.95, comparisons=2)

    assert one is not None
    assert (one.delta_ci_low, one.delta_ci_high) == pytest.approx((float(low), float(high)))


def test_dunnett_is_a_little_narrower(make_rule: Make, make_study: Study) -> None:
    arms = make_study({f"a{i}": 3.0 for i in range(6)})
    wide = judge(make_rule(), arms).find("a0")
    tight = judge(make_rule(simultaneous="dunnett"), arms).find("a0")

    assert wide is not None
    assert tight is not None
    assert wide.delta == pytest.approx(tight.delta)
    assert wide.delta_ci_low < tight.delta_ci_low  # type: ignore[operator]


def test_less_is_better(make_rule: Make, make_study: Study) -> None:
    verdict = judge(make_rule(direction="lower"), make_study({"less": -4.0, "more": 4.0}))

    assert labels(verdict)["less"] == "at least 2 (marginal)"
    assert labels(verdict)["more"] == "harm"
    assert verdict.find("less").delta == pytest.approx(-4.0)  # type: ignore[union-attr]


def test_no_label_before_all_trials_ended(make_rule: Make, make_study: Study) -> None:
    arms = changed(make_study({"huge": 20.0}), "huge", {4}, state="running", scores=None)
    verdict = judge(make_rule(), arms)

    assert verdict.state == "no verdict yet"
    assert set(labels(verdict).values()) == {"no verdict yet"}
    assert verdict.answer == "No verdict yet: 29 of 30 trials have ended."
    assert verdict.find("huge").why == "4 of 5 trials have a result"  # type: ignore[union-attr]


@pytest.mark.parametrize("state", ["planned", "preempted", "cancelled"])
def test_a_trial_that_can_go_on_has_not_ended(
    make_rule: Make, make_study: Study, state: str
) -> None:
    arms = changed(make_study({"huge": 20.0}), "text", {0}, state=state, scores=None)

    assert judge(make_rule(), arms).state == "no verdict yet"


def test_trials_that_are_planned_but_not_listed_are_missing(
    make_rule: Make, make_study: Study
) -> None:
    verdict = judge(make_rule(), make_study({"huge": 20.0}, seeds=3), planned={"huge": 5})

    assert verdict.answer == "No verdict yet: 18 of 20 trials have ended."


def test_a_failed_trial_leaves_its_arm_without_a_label(make_rule: Make, make_study: Study) -> None:
    arms = changed(make_study({"huge": 20.0, "some": 4.0}), "huge", {1, 2}, **FAILED)
    verdict = judge(make_rule(), arms)
    huge = verdict.find("huge")

    assert labels(verdict)["huge"] == "incomplete"
    assert labels(verdict)["some"] == "at least 2 (marginal)"
    assert huge is not None
    assert (huge.n, huge.planned, huge.extra["failed"]) == (3, 5, 2)
    assert huge.why == "2 of 5 trials have no result"
    assert huge.band == ""


def test_an_arm_that_failed_is_never_of_no_help(make_rule: Make, make_study: Study) -> None:
    arms = changed(make_study({"a": 0.0, "b": 0.0}), "b", {0}, **FAILED)
    verdict = judge(make_rule(), arms, next_steps={"does_not_help": ["Stop."]})

    assert verdict.outcome == "inconclusive"
    assert verdict.next_steps == ()


def test_a_diverged_trial_without_a_score_is_not_averaged_away(
    make_rule: Make, make_study: Study
) -> None:
    arms = changed(make_study({"a": 9.0}), "a", {3}, failure_kind="diverged", **FAILED)
    one = judge(make_rule(), arms).find("a")

    assert one is not None
    assert one.label == "diverged"
    assert (one.mean, one.delta, one.delta_ci_low) == (None, None, None)
    assert one.why == "1 of 5 trials diverged and cannot be scored"


def test_a_done_trial_with_a_nan_score_and_the_flag_counts_as_diverged(
    make_rule: Make, make_study: Study
) -> None:
    arms = changed(
        make_study({"a": 9.0}), "a", {3}, value=float("nan"), scores=None,
        flags=frozenset({"diverged"}),
    )  # fmt: skip

    assert labels(judge(make_rule(), arms))["a"] == "diverged"


def test_a_diverged_trial_that_was_scored_counts(make_rule: Make, make_study: Study) -> None:
    arms = changed(make_study({"a": 9.0}), "a", {3}, flags=frozenset({"diverged"}))
    one = judge(make_rule(), arms).find("a")

    assert one is not None
    assert one.label == "at least 5 (significant)"
    assert (one.n, one.extra["diverged"]) == (5, 1)


def test_a_collapsed_arm_is_collapsed_whatever_its_score(
    make_rule: Make, make_study: Study
) -> None:
    arms = changed(make_study({"a": 30.0}), "a", {0, 1}, flags=frozenset({"collapsed"}))
    one = judge(make_rule(), arms).find("a")

    assert one is not None
    assert one.label == "collapsed"
    assert one.extra["collapsed"] == 2
    assert one.band == ""


def test_a_collapsed_comparator_is_said_aloud(make_rule: Make, make_study: Study) -> None:
    arms = changed(make_study({"a": 30.0}), "base", {0}, flags=frozenset({"collapsed"}))
    verdict = judge(make_rule(), arms)

    assert labels(verdict)["base"] == "collapsed"
    assert "comparator that collapsed in 1 of 5 trials" in verdict.answer


def test_a_comparator_with_failed_trials_leaves_all_arms_incomplete(
    make_rule: Make, make_study: Study
) -> None:
    arms = changed(make_study({"a": 30.0, "b": 0.0}), "base", {0}, **FAILED)
    verdict = judge(make_rule(), arms)

    assert {labels(verdict)[name] for name in ("a", "b")} == {"incomplete"}
    assert verdict.find("a").why.startswith("the comparator is incomplete")  # type: ignore[union-attr]


def test_an_arm_with_the_very_scores_of_the_comparator_is_identical(
    make_rule: Make, make_study: Study
) -> None:
    arms = make_study({})
    copy = ArmScores("copy", "arm", arms[0].replicates)
    one = judge(make_rule(), [*arms, copy]).find("copy")

    assert one is not None
    assert (one.label, one.delta, one.delta_ci_low) == ("identical", 0.0, None)


def test_a_difference_in_which_nothing_varies_is_not_tested(make_rule: Make) -> None:
    def flat(name: str, role: str, at: float) -> ArmScores:
        replicates = tuple(
            ReplicateScores(seed, state="done", scores=[at] * 20) for seed in range(5)
        )
        return ArmScores(name, role, replicates)  # type: ignore[arg-type]

    one = judge(make_rule(), [flat("base", "baseline", 0.0), flat("a", "arm", 100.0)]).find("a")

    assert one is not None
    assert (one.label, one.delta) == ("inconclusive", 100.0)
    assert "no score varied" in one.why


def test_three_seeds_are_a_screen(make_rule: Make, make_study: Study) -> None:
    verdict = judge(make_rule(), make_study({"huge": 30.0, "bad": -30.0}, seeds=3))

    assert verdict.state == "screen"
    assert labels(verdict)["huge"] == "candidate"
    assert labels(verdict)["bad"] == "inconclusive"
    assert verdict.answer == (
        "Screen of 3 seeds: 1 candidate of 2 arms (huge). A verdict takes 5 seeds."
    )


def test_two_seeds_are_not_even_a_screen(make_rule: Make, make_study: Study) -> None:
    one = judge(make_rule(), make_study({"huge": 30.0}, seeds=2)).find("huge")

    assert one is not None
    assert (one.label, one.why) == ("inconclusive", "2 seeds; a screen takes 3")


def test_one_seed_has_means_but_no_intervals(make_rule: Make, make_study: Study) -> None:
    one = judge(make_rule(), make_study({"huge": 30.0}, seeds=1)).find("huge")

    assert one is not None
    assert one.mean == pytest.approx(70.0)
    assert (one.ci_low, one.delta_ci_low, one.delta_ci_high) == (None, None, None)
    assert (one.label, one.why) == ("inconclusive", "one seed has no interval")


def test_questions_that_one_arm_lacks_are_left_out_and_said(
    make_rule: Make, make_study: Study
) -> None:
    arms = make_study({"a": 9.0})
    short = [None, *list(arms[1].replicates[0].scores or ())[1:]]
    verdict = judge(make_rule(), changed(arms, "a", {0}, scores=short, value=None))
    one = verdict.find("a")

    assert one is not None
    assert one.label == "at least 5 (significant)"
    assert (one.extra["questions"], one.extra["dropped_questions"]) == (199, 1)
    assert "a: 1 questions lack a score somewhere; left out." in verdict.notes


def test_an_arm_that_lacks_many_questions_is_incomplete(make_rule: Make, make_study: Study) -> None:
    arms = make_study({"a": 9.0})
    scores = list(arms[1].replicates[0].scores or ())
    short = [None if i < 50 else score for i, score in enumerate(scores)]
    verdict = judge(make_rule(), changed(arms, "a", {0}, scores=short, value=None))

    assert labels(verdict)["a"] == "incomplete"
    assert verdict.find("a").why == "50 of 200 questions lack a score"  # type: ignore[union-attr]


def test_means_alone_are_judged_by_seeds_alone(make_rule: Make, make_study: Study) -> None:
    arms = [
        replace(arm, replicates=tuple(replace(one, scores=None) for one in arm.replicates))
        for arm in make_study({"a": 9.0})
    ]
    verdict = judge(make_rule(), arms)

    assert labels(verdict)["a"] == "at least 5 (significant)"
    assert "a: no scores by question, so the interval speaks of the seeds only." in verdict.notes


def test_a_stated_mean_that_is_not_the_mean_is_noted(make_rule: Make, make_study: Study) -> None:
    arms = changed(make_study({"a": 9.0}), "a", {2}, value=0.49)
    verdict = judge(make_rule(), arms)

    assert verdict.find("a").mean == pytest.approx(49.0)  # type: ignore[union-attr]
    assert any("a, seed 2: the stated mean 0.49" in note for note in verdict.notes)


def test_few_clusters_are_noted(make_rule: Make, make_study: Study) -> None:
    arms = make_study({"a": 9.0}, clusters=[f"story{q % 5}" for q in range(200)])

    assert any("a: only 5 clusters, worth 5.0" in note for note in judge(make_rule(), arms).notes)


def test_notes_of_the_study_come_first(make_rule: Make, make_study: Study) -> None:
    arms = changed(make_study({"a": 9.0}), "a", {2}, value=0.49)

    assert judge(make_rule(), arms, notes=["post hoc"]).notes[0] == "post hoc"


def test_arms_that_differ_in_device_are_mixed(make_rule: Make, make_study: Study) -> None:
    arms = [
        replace(
            arm,
            replicates=tuple(
                replace(one, device="cuda" if arm.arm == "a" else "cpu", dtype="float32")
                for one in arm.replicates
            ),
        )
        for arm in make_study({"a": 9.0})
    ]
    verdict = judge(make_rule(), arms)

    assert verdict.mixed == ("trials differ in device (cpu, cuda)",)
    assert verdict.answer.endswith("Mixed: trials differ in device (cpu, cuda).")


def test_the_best_is_chosen_on_one_split_and_reported_on_the_other(
    make_rule: Make, make_study: Study
) -> None:
    arms = changed(make_study({"a": 9.0, "b": 6.0}), "b", set(range(5)), selection_value=80.0)
    best = judge(make_rule(selection={}), arms).best

    assert best is not None
    assert (best.arm, best.selection_mean) == ("b", 80.0)
    assert best.mean == pytest.approx(46.0)


def test_a_collapsed_arm_is_not_the_best(make_rule: Make, make_study: Study) -> None:
    arms = changed(
        make_study({"a": 9.0, "b": 6.0}), "a", set(range(5)), flags=frozenset({"collapsed"})
    )
    best = judge(make_rule(selection={}), arms).best

    assert best is not None
    assert best.arm == "b"


def test_without_scores_of_the_selection_split_no_best_is_named(
    make_rule: Make, make_study: Study
) -> None:
    verdict = judge(make_rule(selection={}), make_study({"a": 9.0}, selection_value=None))

    assert verdict.best is None
    assert any("no 'dev' score" in note for note in verdict.notes)


@pytest.mark.parametrize(
    ("gains", "outcome", "steps"),
    [
        ({"a": 9.0}, "improves", ("by name",)),
        ({"a": 14.0}, "improves", ("Add it.",)),
        ({"a": 3.5}, "marginal", ("Document.",)),
        ({"a": 0.0, "b": -4.0}, "does_not_help", ("Stop.",)),
        ({"a": -4.0}, "harm", ("Stop.",)),
        ({"a": 2.0, "b": 0.0}, "inconclusive", ("More seeds.",)),
    ],
)
def test_the_outcome_selects_the_studys_next_steps(
    make_rule: Make,
    make_study: Study,
    gains: dict[str, float],
    outcome: str,
    steps: tuple[str, ...],
) -> None:
    given = {
        "improves": ["Add it."],
        "Significant": ["by name"],
        "marginal": ["Document."],
        "does-not-help": ["Stop."],
        "inconclusive": ["More seeds."],
    }
    verdict = judge(make_rule(), make_study(gains), next_steps=given)

    assert (verdict.outcome, verdict.next_steps) == (outcome, steps)


def test_the_json_form_has_the_promised_fields_and_no_nan(
    make_rule: Make, make_study: Study, gate: dict[str, Any]
) -> None:
    arms = make_study({"a": 9.0, "b": 1.0}, seeds=1)
    verdict = judge(make_rule(gate=gate), arms, study="s", question="q?")
    data = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    fields = ["arm", "n", "mean", "ci_low", "ci_high", "delta", "delta_ci_low", "delta_ci_high"]

    assert list(data)[:7] == ["study", "question", "metric", "gate", "arms", "controls", "answer"]
    assert list(data["gate"])[:6] == ["met", "value", "ci_low", "ci_high", "floor", "target"]
    for one in data["arms"] + data["controls"]:
        assert list(one)[:9] == [*fields, "label"]
    assert data["arms"][1]["delta_ci_low"] is None


def test_a_comparator_that_is_no_arm_is_refused(make_rule: Make, make_study: Study) -> None:
    with pytest.raises(ValueError, match=r"compares with 'base'.*arms: a"):
        judge(make_rule(), make_study({"a": 1.0})[1:])


def test_an_arm_named_twice_is_refused(make_rule: Make, make_study: Study) -> None:
    arms = make_study({"a": 1.0})
    with pytest.raises(ValueError, match="must differ"):
        judge(make_rule(), [*arms, arms[1]])


def test_a_seed_twice_in_an_arm_is_refused() -> None:
    with pytest.raises(ValueError, match="seed twice"):
        ArmScores("a", "arm", (ReplicateScores(1), ReplicateScores(1)))


def test_scores_and_units_of_different_lengths_name_the_trial(
    make_rule: Make, make_study: Study
) -> None:
    arms = changed(make_study({"a": 1.0}), "a", {0}, units=["q1"])
    with pytest.raises(ValueError, match="trial 'a-0'"):
        judge(make_rule(), arms)


def test_importing_verdicts_loads_no_numbers_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys, orchestrator.verdict, orchestrator.report;"
        "print([m for m in ('numpy', 'scipy', 'matplotlib', 'rich', 'torch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "[]"


def test_trials_of_different_numbers_of_ranks_are_mixed(make_rule: Make, make_study: Study) -> None:
    arms = [
        replace(
            arm,
            replicates=tuple(
                replace(one, ranks=2 if arm.arm == "a" else 1) for one in arm.replicates
            ),
        )
        for arm in make_study({"a": 9.0})
    ]
    assert judge(make_rule(), arms).mixed == ("trials differ in number of ranks (1, 2)",)
