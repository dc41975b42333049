"""Studies on a real Ray: what fails fails alone, and what was interrupted goes on."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cluster import Resources
from orchestrator import RunReport, Study, UsageError
from orchestrator.attempts import attempts
from orchestrator.home import Home
from orchestrator.ledger import read_trial
from orchestrator.planning import PlannedTrial
from orchestrator.records import Failure, Outcome
from orchestrator.search_list import SearchList
from tests.orchestrator.quick_study import (
    FRESH,
    Computed,
    arm,
    computed,
    finish,
    mlflow_rows,
    quick_study,
    rule,
    text_of,
)

pytestmark = pytest.mark.usefixtures("ray_session")


class Ran(NamedTuple):
    """A study that has run, once for several tests: a run takes seconds."""

    mapping: dict[str, Any]
    home: Home
    report: RunReport
    told: str
    log: Path

    def again(self, **options: Any) -> RunReport:
        return text_of(self.mapping, self.home, **options)[0]

    def trial(self, name: str) -> PlannedTrial:
        return next(item for item in self.report.plan.trials if item.trial.arm == name)

    def failure(self, name: str) -> Failure:
        failure = self.trial(name).record.failure
        assert failure is not None
        return failure

    def outcome(self, name: str) -> Outcome:
        outcome = read_trial(self.home, self.trial(name).trial.identity).outcome
        assert outcome is not None
        return outcome

    def steps(self, name: str) -> list[tuple[int, int]]:
        """(attempt, step) of what was computed for an arm with one seed."""
        identity = self.trial(name).trial.identity
        return [(c.attempt, c.step) for c in self.computed() if c.identity == identity]

    def computed(self) -> list[Computed]:
        return computed(self.log)


def ran(folder: Path, schema: Path, mapping: dict[str, Any], **options: Any) -> Ran:
    """Runs a study that logs its steps, in the home of `folder`."""
    home = Home.find(folder / "home").writable()
    if not (home.root / "mlflow.db").exists():
        shutil.copy(schema, home.root / "mlflow.db")
    log = folder / f"{mapping['name']}.log"
    mapping = {**mapping, "base": {**mapping["base"], "log": str(log)}}
    report, told = text_of(mapping, home, **options)
    return Ran(mapping, home, report, told, log)


def once_each(home: Home) -> None:
    """One MLflow run per trial of a study, and no row twice."""
    rows = mlflow_rows(home)
    assert set(rows.runs_per_trial().values()) == {1}
    assert rows.doubled_rows() == []


# -- the happy way --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def happy(tmp_path_factory: pytest.TempPathFactory, mlflow_schema: Path) -> Ran:
    mapping = quick_study(verdict=rule(), seeds=[0, 1, 2])
    return ran(tmp_path_factory.mktemp("happy"), mlflow_schema, mapping)


def test_a_study_runs_and_is_published(happy: Ran) -> None:
    report = happy.report
    assert (report.exit_code, report.ran, report.interrupted) == (0, 6, False)
    assert report.plan.counts == {"done": 6}
    assert report.telemetry_left == {}
    assert report.verdict is not None
    assert list(report.table()["arm"]) == ["plain", "better"]
    once_each(happy.home)
    rows = mlflow_rows(happy.home)
    assert len(rows.runs_per_trial()) == 6
    assert len(rows.steps("train/x")) == 6 * 3
    assert set(rows.tags("state").values()) == {"done"}


def test_a_finished_study_is_not_run_again(happy: Ran) -> None:
    rows = mlflow_rows(happy.home)
    before = (rows.ask("SELECT * FROM metrics"), rows.ask("SELECT * FROM tags"))
    second = happy.again()
    assert (second.exit_code, second.ran) == (0, 0)
    assert second.verdict == happy.report.verdict
    assert (rows.ask("SELECT * FROM metrics"), rows.ask("SELECT * FROM tags")) == before


def test_an_outcome_tells_what_it_was_made_with(happy: Ran) -> None:
    outcome = happy.outcome("better")
    assert outcome.provenance.code_digest == happy.report.study.code_digest
    assert outcome.provenance.python
    assert outcome.provenance.device == "cpu"
    assert outcome.study == happy.report.study.instance
    assert outcome.observed["questions"] == 20
    assert outcome.metrics["unmeasured"] is None
    assert outcome.artifacts is not None
    folder = happy.home.trial(outcome.identity)
    assert (folder / outcome.artifacts / "walk.txt").exists()


def test_results_do_not_depend_on_the_engine(happy: Ran, tmp_path: Path) -> None:
    alone = Home.find(tmp_path / "alone").writable()
    silent = {**happy.mapping, "base": {"steps": 3}}
    finish(Study.load(silent, home=alone.root))
    for item in happy.report.plan.trials:
        here = read_trial(alone, item.trial.identity).outcome
        assert here is not None
        assert item.record.outcome is not None
        assert here.metrics == item.record.outcome.metrics


def test_workers_are_reused_where_the_workload_allows_it(happy: Ran) -> None:
    trials_of = Counter(pid for _, pid in {(c.identity, c.pid) for c in happy.computed()})
    assert sum(trials_of.values()) == 6
    assert max(trials_of.values()) > 1


def test_other_workloads_get_a_fresh_process_per_trial(tmp_path: Path, mlflow_schema: Path) -> None:
    mapping = quick_study(
        arm("a"),
        workload=FRESH,
        seeds=[0, 1, 2],
        base={"steps": 2},
        resources={"max_concurrent": 1},
    )
    fresh = ran(tmp_path, mlflow_schema, mapping)
    assert len({c.identity for c in fresh.computed()}) == 3
    assert len({c.pid for c in fresh.computed()}) == 3


def test_a_trial_that_does_not_fit_is_refused(mlflow_home: Home, ray_session: Resources) -> None:
    mapping = quick_study(resources={"cpus": ray_session.cpus + 1})
    with pytest.raises(UsageError, match=f"but this machine offers {ray_session.cpus:g}, "):
        text_of(mapping, mlflow_home)


def test_a_trial_that_takes_more_memory_than_there_is_is_refused(
    mlflow_home: Home, ray_session: Resources
) -> None:
    mapping = quick_study(resources={"memory_gib": ray_session.memory_gib + 1})
    with pytest.raises(UsageError, match=r"takes 1 CPUs, .* GiB, but this machine offers"):
        text_of(mapping, mlflow_home)


# -- failures and losses --------------------------------------------------------------------------

KINDS = {
    "raise": ("user_error", "ValueError: the walk fell off"),
    "input": ("user_error", "the path is not a path; give one."),
    "diverge": ("diverged", "DivergedError: x is NaN at every question"),
    "memory": ("out_of_memory", "MemoryError: no room for the walk"),
    "leave": ("user_error", "SystemExit: 3"),
}
TIME_LIMIT_S = 6.0


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory, mlflow_schema: Path) -> Ran:
    """One study in which every kind of trouble happens, among trials that have none."""
    mapping = quick_study(
        arm("plain", "baseline"),
        *(arm(fault, fault=fault) for fault in KINDS),
        arm("slow", fault="sleep"),
        arm("poison", fault="kill"),
        arm("killed", fault="kill", fault_step=4, fault_times=1, effect=1),
        arm("left", fault="exit", fault_step=4, fault_times=1, effect=2),
        arm("lost-twice", fault="exit", fault_step=2, fault_times=2, effect=3),
        arm("flaky", fault="raise", fault_times=1, effect=4),
        arm("edited", effect=5),
        arm("after", effect=6),
        seeds=[0],
        base={"steps": 6},
        resources={"time_limit_s": TIME_LIMIT_S},
    )
    folder = tmp_path_factory.mktemp("troubled")
    study = Study.load(mapping, home=folder / "home")
    edited = next(t.identity for t in study.trials() if t.arm == "edited")
    study.home.trial(edited).mkdir(parents=True)
    (study.home.trial(edited) / "identity.json").write_text('{"seed": 5}')
    return ran(folder, mlflow_schema, mapping)


def test_trouble_leaves_the_others_alone(troubled: Ran) -> None:
    assert troubled.report.exit_code == 1
    done = {i.trial.arm for i in troubled.report.plan.trials if i.state == "done"}
    assert done == {"plain", "killed", "left", "lost-twice", "after"}
    assert {i.state for i in troubled.report.plan.trials} == {"done", "failed"}


@pytest.mark.parametrize("name", KINDS)
def test_a_failure_has_a_kind_and_one_line_of_cause(troubled: Ran, name: str) -> None:
    failure = troubled.failure(name)
    assert (failure.kind, failure.cause) == KINDS[name]
    assert troubled.trial(name).record.attempts == 1
    assert f"failed ({failure.kind}): {name} " in troubled.told
    assert failure.cause in troubled.told


def test_a_trial_past_its_time_limit_is_timed_out(troubled: Ran) -> None:
    failure = troubled.failure("slow")
    assert failure.kind == "timed_out"
    assert f"limit of {TIME_LIMIT_S:g} s" in failure.cause


def test_a_trial_that_kills_its_worker_each_time_fails_for_want_of_progress(troubled: Ran) -> None:
    failure = troubled.failure("poison")
    assert failure.kind == "node_lost"
    assert "no progress in 3 attempts in a row" in failure.cause
    poison = troubled.trial("poison").trial.identity
    assert len(attempts(troubled.home.trial(poison))) == 3


def test_an_edited_identity_fails_its_trial_and_names_the_field(troubled: Ran) -> None:
    failure = troubled.failure("edited")
    assert failure.kind == "user_error"
    assert "identity.json' differs from the trial of that identity at 'config'" in failure.cause
    assert troubled.trial("edited").record.attempts == 1


@pytest.mark.parametrize("name", ["killed", "left"])
def test_a_trial_whose_worker_died_goes_on_from_its_last_checkpoint(
    troubled: Ran, name: str
) -> None:
    assert troubled.steps(name) == [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5), (1, 6)]
    outcome = troubled.outcome(name)
    assert (outcome.attempt, outcome.number, outcome.resumed_at_step) == (1, 0, 3)
    rows = mlflow_rows(troubled.home)
    steps = [step for trial, step in rows.steps("train/x") if trial == outcome.identity]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert rows.tags("resumed_at")[outcome.identity] == "3"


def test_an_interrupted_trial_ends_as_an_undisturbed_one(troubled: Ran, tmp_path: Path) -> None:
    alone = Home.find(tmp_path / "alone").writable()
    calm = quick_study(
        arm("killed", fault="kill", fault_step=99, effect=1),
        arm("left", fault="exit", fault_step=99, effect=2),
        seeds=[0],
        base={"steps": 6},
    )
    identities = finish(Study.load(calm, home=alone.root))
    assert identities == [troubled.trial(name).trial.identity for name in ("killed", "left")]
    for name, identity in zip(("killed", "left"), identities, strict=True):
        undisturbed = read_trial(alone, identity).outcome
        assert undisturbed is not None
        assert troubled.outcome(name).metrics == undisturbed.metrics


def test_losses_are_free_while_progress_is_made(troubled: Ran) -> None:
    assert [step for _, step in troubled.steps("lost-twice")] == [1, 2, 3, 4, 5, 6]
    assert troubled.outcome("lost-twice").attempt == 2


def test_each_trial_has_one_run_with_its_state_and_cause(troubled: Ran) -> None:
    once_each(troubled.home)
    states = mlflow_rows(troubled.home).tags("state")
    assert states == {i.trial.identity: i.state for i in troubled.report.plan.trials}


def test_failed_trials_are_run_by_retry_and_not_by_run(troubled: Ran) -> None:
    assert troubled.again().ran == 0
    retried = troubled.again(retry=True, only=("flaky", "diverge"))
    assert (retried.exit_code, retried.ran) == (1, 2)
    states = {i.trial.arm: i.state for i in retried.plan.trials}
    assert (states["flaky"], states["diverge"], states["raise"]) == ("done", "failed", "failed")
    once_each(troubled.home)


# -- again, shared --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, mlflow_schema: Path
) -> Iterator[tuple[Ran, Ran]]:
    """Two studies in one home; the second has an arm of the first, by another route."""
    folder = tmp_path_factory.mktemp("shared")
    first = quick_study(
        arm("a", effect=1), arm("b", effect=1.0), name="first", seeds=[0], base={"steps": 2}
    )
    second = quick_study(
        arm("theirs", extra=None, effect="1"),
        arm("new", effect=2),
        name="second",
        seeds=[0],
        base={"steps": 2},
    )
    return ran(folder, mlflow_schema, first), ran(folder, mlflow_schema, second)


def test_arms_of_one_configuration_share_their_trial(shared: tuple[Ran, Ran]) -> None:
    first, _ = shared
    assert (first.report.ran, first.report.plan.counts) == (1, {"done": 2})
    assert first.steps("a") == [(0, 1), (0, 2)]


def test_another_study_reuses_a_trial_and_gets_a_light_run(shared: tuple[Ran, Ran]) -> None:
    first, second = shared
    assert second.report.ran == 1
    assert second.steps("theirs") == []
    identity = first.trial("a").trial.identity
    assert second.trial("theirs").trial.identity == identity
    rows = mlflow_rows(first.home)
    runs = rows.runs_per_trial()
    assert runs[first.report.study.instance, identity] == 1
    assert runs[second.report.study.instance, identity] == 1
    assert rows.tags("reused") == {identity: "true"}
    assert [trial for trial, _ in rows.steps("train/x")].count(identity) == 2  # its owner's alone
    assert [trial for trial, _ in rows.steps("final/f1")].count(identity) == 2  # one in each run
    once_each(first.home)


def test_again_keeps_the_old_outcome_and_computes_anew(shared: tuple[Ran, Ran]) -> None:
    _, second = shared
    again = second.again(again=("new",))
    assert (again.exit_code, again.ran) == (0, 1)
    identity = second.trial("new").trial.identity
    numbers = sorted(path.name for path in second.home.trial(identity).glob("outcome-*"))
    assert numbers == ["outcome-0000.json", "outcome-0001.json"]
    assert second.steps("new") == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert second.outcome("new").attempt == 1
    once_each(second.home)


# -- searches -------------------------------------------------------------------------------------


def search(searcher: str = "random", **parts: Any) -> dict[str, Any]:
    return {
        "kind": "search",
        "space": {"effect": {"uniform": [-5.0, 5.0]}, "noise": {"uniform": [0.5, 20.0]}},
        "budget": 8,
        "metric": "train/x",
        "searcher": searcher,
        "arms": [arm("plain", "baseline")],
        **parts,
    }


def test_a_search_in_two_runs_prunes_and_runs_its_winner_on_fresh_seeds(
    tmp_path: Path, mlflow_schema: Path
) -> None:
    mapping = quick_study(
        design=search(scheduler={"kind": "asha", "max_t": 8, "reduction_factor": 2}),
        base={"steps": 8},
        seeds=[0, 1],
        verdict=rule(),
    )
    begun = ran(tmp_path, mlflow_schema, mapping, limit=3)
    record = SearchList(begun.report.study.folder)
    first = record.proposals()
    assert 3 <= len(first) < 8
    assert "winner" not in {i.trial.arm for i in begun.report.plan.trials}

    search_run = ran(tmp_path, mlflow_schema, mapping)
    report = search_run.report
    proposals, pruned = record.proposals(), record.pruned()
    assert report.exit_code == 0
    assert [p.ordinal for p in proposals] == list(range(8))
    assert proposals[: len(first)] == first
    assert 0 < len(pruned) < 8
    assert all(line.pruned_at and line.pruned_at < 8 for line in pruned.values())

    states = {(i.trial.arm, i.trial.seed): i.state for i in report.plan.trials}
    assert states["winner", 0] == states["winner", 1] == states["plain", 0] == "done"
    finished = [o for o in range(8) if o not in pruned]
    values = {
        ordinal: search_run.outcome(f"proposal-{ordinal:04d}").search_value("train/x") or 0.0
        for ordinal in finished
    }
    best = max(values, key=lambda ordinal: values[ordinal])
    assert search_run.trial("winner").trial.overrides == proposals[best].point
    assert report.verdict is not None
    assert {a.arm for a in report.verdict.arms} == {"plain", "winner"}
    once_each(search_run.home)

    again = search_run.again()
    assert (again.ran, again.exit_code) == (0, 0)
    assert record.proposals() == proposals
    assert again.plan.to_run == ()
