"""Studies whose trials have two ranks, on a real Ray Tune: none hangs, nothing is left."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from cluster import Resources
from orchestrator import RunReport
from orchestrator.attempts import Attempt, attempts
from orchestrator.home import Home
from orchestrator.ledger import read_trial
from orchestrator.planning import PlannedTrial
from orchestrator.records import Failure, Outcome
from orchestrator.search_list import SearchList
from tests.orchestrator.quick_study import (
    RANKED,
    Computed,
    arm,
    computed,
    driver,
    mlflow_rows,
    quick_study,
    rule,
    text_of,
    wait_until,
    write_study,
)

STEPS = 4
TWO_RANKS = {"ranks": 2, "cpus": 0.5}


class Ran(NamedTuple):
    """A study of two-rank trials that has run."""

    home: Home
    report: RunReport
    log: Path

    def trial(self, name: str) -> PlannedTrial:
        return next(item for item in self.report.plan.trials if item.trial.arm == name)

    def outcome(self, name: str) -> Outcome:
        outcome = read_trial(self.home, self.trial(name).trial.identity).outcome
        assert outcome is not None
        return outcome

    def steps(self, rank: int) -> list[Computed]:
        return computed(Path(f"{self.log}.rank{rank}"))

    def steps_of(self, name: str, rank: int) -> list[tuple[int, int]]:
        identity = self.trial(name).trial.identity
        return [(c.attempt, c.step) for c in self.steps(rank) if c.identity == identity]


def ran(home: Home, mapping: dict[str, Any], **options: Any) -> Ran:
    log = home.root.parent / "steps"
    mapping = {**mapping, "base": {**mapping["base"], "log": str(log)}}
    mapping = {"resources": TWO_RANKS, **mapping}
    report, _ = text_of({**mapping, "workload": RANKED}, home, **options)
    return Ran(home, report, log)


def all_is_freed(study: Ran, offered: Resources) -> None:
    """No rank is left, and a trial could take the whole machine."""
    import ray

    pids = {step.pid for rank in (0, 1) for step in study.steps(rank)}
    wait_until(lambda: not any(map(psutil.pid_exists, pids)), "every rank has ended")
    wait_until(lambda: ray.available_resources().get("CPU") == offered.cpus, "its CPUs are free")


def rows(study: Ran, name: str, key: str) -> list[tuple[int, float]]:
    """(step, value) of a metric of an arm's trial, as MLflow has it."""
    identity = study.trial(name).trial.identity
    found = mlflow_rows(study.home).ask(
        "SELECT m.step, m.value FROM metrics m JOIN tags t ON t.run_uuid = m.run_uuid WHERE "
        f"t.key = 'orrery.trial' AND t.value = '{identity}' AND m.key = '{key}' ORDER BY 1"
    )
    return [(int(step), float(value)) for step, value in found]


def has_one_row_a_step(study: Ran, name: str, effect: float) -> None:
    """Every step of an arm's trial is in MLflow once, reduced over its ranks as declared."""
    assert mlflow_rows(study.home).doubled_rows() == []
    steps = list(range(1, STEPS + 1))
    assert rows(study, name, "train/rank") == [(step, 3.0) for step in steps]
    walked = rows(study, name, "train/x")
    assert [step for step, _ in walked] == steps
    assert walked[-1][1] == pytest.approx(study.outcome(name).values()["x"], abs=1e-12)
    drawn = sum(value for _, value in rows(study, name, "train/mine"))
    assert drawn + effect * STEPS == pytest.approx(walked[-1][1], abs=1e-9)


def test_a_study_of_two_ranks_runs_and_is_published(
    mlflow_home: Home, ray_session: Resources
) -> None:
    mapping = quick_study(arm("well", effect=1.0), seeds=[0], base={"steps": STEPS})
    study = ran(mlflow_home, mapping)
    assert (study.report.exit_code, study.report.plan.counts) == (0, {"done": 1})
    assert study.outcome("well").provenance.ranks == 2
    has_one_row_a_step(study, "well", effect=1.0)
    all_is_freed(study, ray_session)


@pytest.fixture(scope="module")
def mixed(
    tmp_path_factory: pytest.TempPathFactory, mlflow_schema: Path, ray_session: Resources
) -> Ran:
    """One trial goes well, of another rank 1 raises, and of a third rank 1 is killed once."""
    home = Home.find(tmp_path_factory.mktemp("mixed") / "home").writable()
    with (
        closing(sqlite3.connect(mlflow_schema)) as schema,
        closing(sqlite3.connect(home.root / "mlflow.db")) as store,
    ):
        schema.backup(store)
    struck = {"fault_rank": 1, "fault_step": 3}
    mapping = quick_study(
        arm("well", effect=1.0),
        arm("raises", fault="raise", **struck),
        arm("killed", effect=2.0, fault="kill", fault_times=1, **struck),
        seeds=[0],
        base={"steps": STEPS},
    )
    return ran(home, mapping)


@pytest.mark.slow
def test_each_trial_ends_as_it_should(mixed: Ran, ray_session: Resources) -> None:
    states = {item.trial.arm: item.state for item in mixed.report.plan.trials}
    assert states == {"well": "done", "raises": "failed", "killed": "done"}
    assert mixed.trial("raises").record.failure == Failure(
        "user_error", "rank 1 of 2: ValueError: the walk fell off"
    )
    has_one_row_a_step(mixed, "well", effect=1.0)
    all_is_freed(mixed, ray_session)


@pytest.mark.slow
def test_a_killed_rank_is_a_lost_node_and_the_trial_goes_on(mixed: Ran) -> None:
    first, second = attempts(mixed.home.trial(mixed.trial("killed").trial.identity))
    end = first.end()
    assert end is not None
    assert (end.state, end.checkpoint_step) == ("preempted", 2)
    assert end.failure == Failure("node_lost", "the worker died: RankLost: rank 1 of 2 died")
    assert second.end() is None
    assert mixed.outcome("killed").resumed_at_step == 2
    assert mixed.steps_of("killed", 1) == [(0, 1), (0, 2), (1, 3), (1, 4)]
    has_one_row_a_step(mixed, "killed", effect=2.0)


def asha(steps: int) -> dict[str, Any]:
    return {
        "kind": "search",
        "space": {"effect": {"uniform": [-5.0, 5.0]}},
        "budget": 6,
        "metric": "train/x",
        "scheduler": {"kind": "asha", "max_t": steps, "reduction_factor": 2},
        "arms": [arm("plain", "baseline")],
    }


@pytest.mark.slow
def test_asha_stops_trials_of_two_ranks_and_the_next_ones_start(
    mlflow_home: Home, ray_session: Resources
) -> None:
    mapping = quick_study(
        design=asha(8), seeds=[0], base={"steps": 8, "step_s": 0.1}, verdict=rule()
    )
    study = ran(mlflow_home, mapping)
    record = SearchList(study.report.study.folder)
    pruned = record.pruned()
    assert study.report.exit_code == 0
    assert len(record.proposals()) == 6
    assert 0 < len(pruned) < 6
    assert all(line.pruned_at and line.pruned_at < 8 for line in pruned.values())
    states = {item.trial.arm: item.state for item in study.report.plan.trials}
    assert (states["plain"], states["winner"]) == ("done", "done")
    for ordinal, line in pruned.items():  # a stopped trial's ranks compute no further
        steps = study.steps_of(f"proposal-{ordinal:04d}", 0)
        assert [step for _, step in steps] == list(range(1, (line.pruned_at or 0) + 1))
    assert mlflow_rows(mlflow_home).doubled_rows() == []
    all_is_freed(study, ray_session)


@pytest.mark.slow
def test_a_rank_that_hangs_meets_the_time_limit(mlflow_home: Home, ray_session: Resources) -> None:
    mapping = quick_study(
        arm("hangs", fault="sleep", fault_rank=1, fault_step=2),
        arm("well"),
        seeds=[0],
        resources={**TWO_RANKS, "max_concurrent": 1, "time_limit_s": 40},
    )
    study = ran(mlflow_home, mapping)
    assert study.trial("hangs").record.failure == Failure(
        "timed_out", "ran longer than its limit of 40 s"
    )
    assert study.trial("well").state == "done"
    all_is_freed(study, ray_session)


@pytest.mark.slow
def test_whoever_is_killed_or_interrupted_no_rank_is_left_and_all_can_be_resumed(
    tmp_path: Path, mlflow_home: Home
) -> None:
    log = tmp_path / "steps"
    mapping = quick_study(
        arm("a"),
        workload=RANKED,
        seeds=[0],
        base={"steps": STEPS * 4, "step_s": 0.3, "log": str(log)},
        resources=TWO_RANKS,
    )
    file = write_study(tmp_path, mapping)
    words = ["run", str(file), "--home", str(mlflow_home.root)]

    def ranks_of(attempt: int) -> set[int]:
        found = [c for rank in (0, 1) for c in computed(Path(f"{log}.rank{rank}"))]
        return {c.pid for c in found if c.attempt == attempt}

    def are_gone(pids: set[int]) -> None:
        wait_until(lambda: not any(map(psutil.pid_exists, pids)), "the ranks have ended")

    def folder(attempt: int) -> Attempt:
        (found,) = mlflow_home.trials.glob(f"*/attempt-{attempt:04d}")
        return Attempt(found)

    (place := tmp_path / "first").mkdir()
    with driver(*words, cwd=place) as first:
        first.wait_until(lambda: len(ranks_of(0)) == 2, "two ranks are under way")
        claim = folder(0).claim()
        assert claim is not None
        os.kill(claim.process.pid, signal.SIGKILL)
        are_gone(ranks_of(0))
        first.wait_until(lambda: len(ranks_of(1)) == 2, "the next attempt is under way")
        first.interrupt()
        assert first.end() == 130
        are_gone(ranks_of(1))
    (place := tmp_path / "second").mkdir()
    with driver(*words, cwd=place) as second:
        second.wait_until(lambda: len(ranks_of(2)) == 2, "the third attempt is under way")
        second.process.kill()
        second.end()
        are_gone(ranks_of(2))
    (place := tmp_path / "third").mkdir()
    with driver(*words, cwd=place) as third:
        assert third.end() == 0, third.err
    end = folder(0).end()
    assert end is not None
    assert end.failure is not None
    assert end.failure.kind == "node_lost"
    stored = mlflow_rows(mlflow_home)
    assert stored.doubled_rows() == []
    steps = list(range(1, STEPS * 4 + 1))
    assert [step for _, step in stored.steps("train/rank")] == steps
