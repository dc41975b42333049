"""A plan subtracts what is known, and says why the rest runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator import Plan, Selection, Study, UsageError
from orchestrator.attempts import Attempt, claim_attempt
from orchestrator.engine.worker import AttemptFailed, run_attempt
from orchestrator.home import Home, write_whole
from orchestrator.ledger import read_trial
from orchestrator.records import encode
from tests.orchestrator.quick_study import arm, finish, go_on, quick_study, tickets


def study_of(home: Home, *arms: dict[str, Any], **parts: Any) -> Study:
    return Study.load(quick_study(*arms, **parts), home=home.root)


def actions(plan: Plan) -> list[str]:
    return [item.action for item in plan.trials]


def under_other_code(home: Home, identity: str) -> None:
    outcome = read_trial(home, identity).outcome
    assert outcome is not None
    made = msgspec.structs.replace(outcome.provenance, code_digest="another")
    path = home.trial(identity) / "outcome-0000.json"
    write_whole(path, encode(msgspec.structs.replace(outcome, provenance=made)))


def test_a_new_study_runs_all_of_its_trials(home: Home) -> None:
    plan = study_of(home).plan()
    assert [(i.trial.arm, i.trial.replicate, i.trial.seed) for i in plan.trials] == [
        ("plain", 0, 0),
        ("plain", 1, 1),
        ("better", 0, 0),
        ("better", 1, 1),
    ]
    assert actions(plan) == ["run"] * 4
    assert (plan.known, plan.counts) == (0, {"planned": 4})


def test_a_finished_trial_is_known(home: Home) -> None:
    study = study_of(home)
    finish(study, Selection(only=("plain",)))
    plan = study.plan()
    assert actions(plan) == ["known", "known", "run", "run"]
    assert (plan.known, plan.counts) == (2, {"done": 2, "planned": 2})


def test_more_seeds_run_only_what_is_new(home: Home) -> None:
    finish(study_of(home, seeds=[0, 1]))
    plan = study_of(home, seeds=[1, 2]).plan()
    assert actions(plan) == ["known", "run", "known", "run"]


def test_an_arm_has_seeds_of_its_own(home: Home) -> None:
    alone = {**arm("alone", "control"), "seeds": [9]}
    plan = study_of(home, arm("plain"), alone).plan()
    assert [(i.trial.arm, i.trial.seed) for i in plan.trials][2:] == [("alone", 9)]


def test_two_studies_share_trials_of_one_configuration(home: Home) -> None:
    finish(study_of(home, arm("a", effect=1), name="first"))
    plan = study_of(home, arm("b", effect=1.0), arm("c", effect=2), name="second").plan()
    assert actions(plan) == ["known", "known", "run", "run"]


def test_arms_of_one_configuration_run_once_and_the_plan_says_so(home: Home) -> None:
    study = study_of(home, arm("a", effect=1), arm("b", effect=1.0))
    plan = study.plan()
    assert len(plan.trials) == 4
    assert len(plan.to_run) == 2
    assert plan.notes == ("arm 'b' is the same configuration as 'a': they share trials",)


# -- code -----------------------------------------------------------------------------------------


def test_known_under_other_code_is_counted_and_kept(home: Home) -> None:
    study = study_of(home)
    (first, *_) = finish(study)
    under_other_code(home, first)
    plan = study.plan()
    assert (plan.known, plan.other_code) == (4, 1)


def test_same_code_runs_those_again_under_the_next_number(home: Home) -> None:
    study = study_of(home)
    (first, *_) = finish(study)
    under_other_code(home, first)
    (item,) = study.plan(Selection(same_code=True)).to_run
    assert (item.trial.identity, item.outcome_number, item.why) == (
        first,
        1,
        "known under other code",
    )


# -- observation ----------------------------------------------------------------------------------


def test_a_narrower_observation_is_known(home: Home) -> None:
    finish(study_of(home, base={"questions": 20}))
    assert study_of(home, base={"questions": 10}).plan().known == 4


def test_a_wider_observation_starts_from_the_checkpoint(home: Home) -> None:
    finish(study_of(home, base={"questions": 10, "steps": 3}))
    plan = study_of(home, base={"questions": 20, "steps": 3}).plan()
    assert actions(plan) == ["run"] * 4
    assert plan.trials[0].outcome_number == 1
    assert "known with questions=10 (asked for 20)" in plan.trials[0].why
    assert "starts from its checkpoint" in plan.trials[0].why


def test_a_denser_recording_of_training_trains_again(home: Home, tmp_path: Path) -> None:
    log = str(tmp_path / "steps.log")
    finish(study_of(home, base={"steps": 3}))
    denser = study_of(home, base={"steps": 3, "telemetry": "research", "log": log})
    plan = denser.plan()
    assert actions(plan) == ["run"] * 4
    assert plan.trials[0].why == "known without telemetry=research: trains again"
    finish(denser)
    assert len(Path(log).read_text().splitlines()) == 4 * 3
    assert denser.plan().known == 4
    assert study_of(home, base={"steps": 3, "telemetry": "adaptive"}).plan().known == 4


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"monitors": ["entropy"]}, "monitors=['entropy']"),
        ({"monitors": ["rank"], "monitor_window": 4}, "monitors=['rank']"),
        (
            {"monitors": ["svd_ratio"], "monitor_window": 4},
            "monitors=['svd_ratio'], monitor_window=4",
        ),
        ({"monitors": ["svd_ratio"]}, None),
        ({"monitors": [], "monitor_window": 4}, None),
    ],
)
def test_what_was_not_watched_is_named_and_trains_again(
    asked: dict[str, Any], why: str | None, home: Home
) -> None:
    finish(study_of(home, arm("a"), base={"steps": 3, "monitors": ["svd_ratio"]}))
    plan = study_of(home, arm("a"), base={"steps": 3, **asked}).plan()
    known = "" if why is None else f"known without {why}: trains again"
    assert {one.why for one in plan.trials} == {known}


def test_a_wider_observation_whose_checkpoint_is_gone_says_so(home: Home) -> None:
    from orchestrator.retention import collect_garbage

    finish(study_of(home, base={"questions": 10, "steps": 3}))
    wider = study_of(home, base={"questions": 20, "steps": 3})
    assert wider.plan().trials[0].record.has_checkpoint  # and is in the index now
    collect_garbage(home.root)
    assert "checkpoint gone: run again" in wider.plan().trials[0].why


def test_a_wider_observation_repeats_no_training(home: Home, tmp_path: Any) -> None:
    log = tmp_path / "log"
    finish(study_of(home, arm("a"), base={"questions": 10, "steps": 3}))
    finish(study_of(home, arm("a"), base={"questions": 20, "steps": 3, "log": str(log)}))
    assert not log.exists()
    study = study_of(home, arm("a"), base={"questions": 20, "steps": 3})
    assert actions(study.plan()) == ["known", "known"]


# -- again ----------------------------------------------------------------------------------------


def test_again_runs_known_trials_under_the_next_number(home: Home) -> None:
    study = study_of(home)
    finish(study)
    assert len(study.plan(Selection(again=True)).to_run) == 4
    plan = study.plan(Selection(again=("better",)))
    assert actions(plan) == ["known", "known", "run", "run"]
    assert {item.outcome_number for item in plan.to_run} == {1}
    finish(study, Selection(again=("better",)))
    assert study.plan(Selection(again=True)).to_run[-1].outcome_number == 2


def test_again_computes_again_instead_of_reading_the_finished_checkpoint(
    home: Home, tmp_path: Any
) -> None:
    from tests.orchestrator.quick_study import computed

    log = tmp_path / "log"
    study = study_of(home, arm("a"), seeds=[0], base={"steps": 3, "log": str(log)})
    finish(study)
    finish(study, Selection(again=True))
    assert [(c.attempt, c.step) for c in computed(log)] == [
        (attempt, step) for attempt in (0, 1) for step in (1, 2, 3)
    ]


def test_same_code_computes_again_too(home: Home, tmp_path: Any) -> None:
    from tests.orchestrator.quick_study import computed

    log = tmp_path / "log"
    study = study_of(home, arm("a"), seeds=[0], base={"steps": 3, "log": str(log)})
    (identity,) = finish(study)
    under_other_code(home, identity)
    finish(study, Selection(same_code=True))
    assert [c.step for c in computed(log) if c.attempt == 1] == [1, 2, 3]


# -- what is chosen -------------------------------------------------------------------------------


def test_only_takes_an_arm_or_the_start_of_an_id(home: Home) -> None:
    study = study_of(home)
    identity = study.trials()[3].identity
    assert actions(study.plan(Selection(only=("better",)))) == ["left", "left", "run", "run"]
    by_id = study.plan(Selection(only=(identity[:8],)))
    assert [item.trial.identity for item in by_id.to_run] == [identity]


@pytest.mark.parametrize("selection", [Selection(only=("bettr",)), Selection(again=("bettr",))])
def test_an_unknown_arm_is_refused_with_the_nearest(home: Home, selection: Selection) -> None:
    with pytest.raises(UsageError, match=r"'bettr'\. Did you mean 'better'"):
        study_of(home).plan(selection)


def test_limit_counts_what_runs_and_not_what_is_known(home: Home) -> None:
    study = study_of(home)
    finish(study, Selection(limit=1))
    plan = study.plan(Selection(limit=2))
    assert actions(plan) == ["known", "run", "run", "left"]


def test_a_shared_trial_counts_once_against_the_limit(home: Home) -> None:
    study = study_of(home, arm("a", effect=1), arm("b", effect=1), arm("c"), seeds=[0])
    assert len(study.plan(Selection(limit=1)).to_run) == 1
    assert len(study.plan(Selection(limit=2)).to_run) == 2


# -- states ---------------------------------------------------------------------------------------


def fail(study: Study) -> str:
    (ticket,) = tickets(study)
    with pytest.raises(AttemptFailed):
        run_attempt(ticket, go_on)
    return ticket.identity


def test_a_failed_trial_waits_for_retry(home: Home) -> None:
    study = study_of(home, arm("bad", fault="raise"), seeds=[0])
    fail(study)
    plan = study.plan()
    assert actions(plan) == ["failed"]
    assert plan.trials[0].why.startswith("ValueError: the walk fell off")
    retried = study.plan(Selection(retry=True))
    assert (actions(retried), retried.trials[0].outcome_number) == (["run"], 0)


def test_a_retry_publishes_under_the_number_that_the_failure_left_free(home: Home) -> None:
    study = study_of(home, arm("bad", fault="raise", fault_times=1), seeds=[0])
    identity = fail(study)
    finish(study, Selection(retry=True))
    record = read_trial(home, identity)
    assert record.outcome is not None
    assert (record.state, record.outcome.number, record.outcome.attempt) == ("done", 0, 1)


def test_a_preempted_trial_runs_without_being_asked(home: Home) -> None:
    study = study_of(home, arm("a"), seeds=[0])
    identity = study.trials()[0].identity
    claim_attempt(home.trial(identity), outcome_number=0, study="x").finish("preempted")
    assert actions(study.plan()) == ["run"]


def test_a_pruned_trial_is_run_by_a_study_that_wants_it(home: Home) -> None:
    study = study_of(home, arm("a"), seeds=[0])
    identity = study.trials()[0].identity
    claim_attempt(home.trial(identity), outcome_number=0, study="x").finish("pruned")
    assert actions(study.plan()) == ["run"]


def test_a_running_trial_is_left_to_its_process(home: Home) -> None:
    study = study_of(home, arm("a"), seeds=[0])
    identity = study.trials()[0].identity
    held = claim_attempt(home.trial(identity), outcome_number=0, study="x")
    plan = study.plan()
    assert (actions(plan), plan.counts) == (["running"], {"running": 1})
    Attempt(held.folder).finish("preempted")
    assert actions(study.plan()) == ["run"]


def test_a_further_attempt_that_failed_takes_nothing_away(home: Home) -> None:
    study = study_of(home, arm("a"), seeds=[0])
    (identity,) = finish(study)
    claim_attempt(home.trial(identity), outcome_number=1, study="x").finish("failed")
    assert actions(study.plan()) == ["known"]


def test_ten_thousand_trials_are_planned_each_once(home: Home) -> None:
    study = study_of(home, seeds=list(range(5000)))
    plan = study.plan()
    assert len(plan.to_run) == 10_000
    assert len({item.trial.identity for item in plan.trials}) == 10_000
