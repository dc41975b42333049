"""Attempts of several ranks, launched without Tune: what is handed to them and what comes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from cluster import NodeSize, TrialSize
from cluster import Resources as Offered
from orchestrator import Study, UsageError
from orchestrator.attempts import Attempt, attempts, outcomes
from orchestrator.engine import ranks as module
from orchestrator.engine.job import RankLost
from orchestrator.engine.ranks import Ranks
from orchestrator.engine.ticket import Ticket
from orchestrator.engine.worker import AttemptFailed, Pruned, run_attempt
from orchestrator.errors import BusyError
from orchestrator.home import Home
from orchestrator.leaving import noticed
from orchestrator.records import Failure, Outcome
from tests.orchestrator.quick_study import (
    FRESH_RANKED,
    RANKED,
    Computed,
    arm,
    computed,
    go_on,
    quick_study,
    text_of,
    tickets,
    wait_until,
)

STEPS = 4


@pytest.fixture(scope="module")
def ranks(ray_session: Offered) -> Iterator[Ranks]:
    """One launch for all tests here, as a worker has one for all its trials."""
    with Ranks(cpus=0.5) as launch:
        yield launch


class Walk:
    """A trial of `RankedQuick` in a home of its own."""

    def __init__(self, home: Home, workload: str = RANKED, **base: Any) -> None:
        self.home, self._log = home, home.root / "steps"
        mapping = quick_study(
            arm("a"),
            workload=workload,
            seeds=[0],
            base={"steps": STEPS, "log": str(self._log), **base},
        )
        (self._ticket,) = tickets(Study.load(mapping, home=home.root))
        self.folder = home.trial(self._ticket.identity)

    def ticket(self, ranks: int) -> Ticket:
        return msgspec.structs.replace(self._ticket, ranks=ranks, token=f"{ranks} ranks")

    def outcome(self) -> Outcome:
        (outcome,) = outcomes(self.folder)
        return outcome

    def steps(self, rank: int) -> list[Computed]:
        return computed(Path(f"{self._log}.rank{rank}"))

    def ranks_are_gone(self) -> None:
        pids = {step.pid for rank in (0, 1) for step in self.steps(rank)}
        wait_until(lambda: not any(map(psutil.pid_exists, pids)), "every rank has ended")


def alone(home: Home) -> dict[str, float | None]:
    """What one process comes to."""
    walk = Walk(Home.find(home.root / "alone").writable())
    assert run_attempt(walk.ticket(1), go_on) == "done"
    return walk.outcome().values()


def stop_after(step: int) -> Any:
    def report(at: int, metrics: Mapping[str, float | None]) -> None:
        if at == step:
            raise Pruned

    return report


def test_two_ranks_come_to_what_one_comes_to(home: Home, ranks: Ranks) -> None:
    walk, reported = Walk(home), list[int]()
    assert run_attempt(walk.ticket(2), lambda step, _: reported.append(step), None, ranks) == "done"
    outcome = walk.outcome()
    assert outcome.values() == pytest.approx(alone(home), abs=1e-12)
    assert outcome.provenance.ranks == 2
    assert reported == list(range(1, STEPS + 1))
    assert [c.step for c in walk.steps(1)] == reported
    spools = sorted(path.name for path in walk.folder.glob("attempt-0000/spool/rank-*.jsonl"))
    assert spools == ["rank-0000.jsonl", "rank-0001.jsonl"]
    opened = (walk.folder / "attempt-0000" / "spool" / spools[1]).read_text().splitlines()[0]
    assert re.search(r'"ranks":\s*2', opened)


def test_ranks_are_kept_for_the_next_trial_and_fresh_where_that_is_not_allowed(
    tmp_path: Path, ranks: Ranks
) -> None:
    def pids(name: str, workload: str) -> set[int]:
        walk = Walk(Home.find(tmp_path / name).writable(), workload)
        assert run_attempt(walk.ticket(2), go_on, None, ranks) == "done"
        return {step.pid for rank in (0, 1) for step in walk.steps(rank)}

    first, second = pids("first", RANKED), pids("second", RANKED)
    assert first == second
    assert len(first) == 2
    assert not pids("third", FRESH_RANKED) & first


def test_a_pruned_trial_ends_its_ranks_and_another_number_of_ranks_goes_on(
    home: Home, ranks: Ranks
) -> None:
    walk = Walk(home)
    assert run_attempt(walk.ticket(2), stop_after(2), None, ranks) == "pruned"
    walk.ranks_are_gone()
    assert run_attempt(walk.ticket(1), stop_after(3)) == "pruned"
    assert run_attempt(walk.ticket(2), go_on, None, ranks) == "done"
    outcome = walk.outcome()
    assert (outcome.attempt, outcome.resumed_at_step, outcome.provenance.ranks) == (2, 3, 2)
    assert outcome.values() == pytest.approx(alone(home), abs=1e-12)
    assert [(c.attempt, c.step) for c in walk.steps(0)] == [(0, 1), (0, 2), (1, 3), (2, 4)]
    assert [(c.attempt, c.step) for c in walk.steps(1)] == [(0, 1), (0, 2), (2, 4)]


def test_the_rank_that_raised_first_is_the_cause(home: Home, ranks: Ranks) -> None:
    walk = Walk(home, fault="raise", fault_rank=1, fault_step=2)
    with pytest.raises(AttemptFailed) as caught:
        run_attempt(walk.ticket(2), go_on, None, ranks)
    assert caught.value.failure == Failure(
        "user_error", "rank 1 of 2: ValueError: the walk fell off"
    )
    walk.ranks_are_gone()
    (attempt,) = attempts(walk.folder)
    assert "raise ValueError" in (attempt.folder / "error.txt").read_text()


def test_a_killed_rank_is_a_loss_and_leaves_the_attempt_open(home: Home, ranks: Ranks) -> None:
    """Whoever handed the ticket out counts lost workers, and decides."""
    walk = Walk(home, fault="kill", fault_rank=1, fault_step=2)
    with pytest.raises(RankLost, match="rank 1 of 2"):
        run_attempt(walk.ticket(2), go_on, None, ranks)
    walk.ranks_are_gone()
    (attempt,) = attempts(walk.folder)
    assert attempt.end() is None


def test_a_notice_to_one_ranks_node_ends_all_of_them_after_a_checkpoint(
    home: Home, ranks: Ranks
) -> None:
    """The others, and this process that launched them, may lie on nodes that stay."""
    walk = Walk(home, fault="notice", fault_rank=1, fault_step=2, steps=600, step_s=0.1)
    assert run_attempt(walk.ticket(2), go_on, None, ranks) == "preempted"
    walk.ranks_are_gone()
    (attempt,) = attempts(walk.folder)
    end = attempt.end()
    assert end is not None
    assert (end.state, end.failure, end.told) == ("preempted", None, "preempted")
    assert end.checkpoint_step is not None
    assert end.checkpoint_step >= 2
    assert noticed() is None


def test_ranks_that_died_together_are_all_named(
    home: Home, ranks: Ranks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of them was first is not known: the one that is found first may have followed."""
    monkeypatch.setattr(module, "LOSS_PATIENCE_S", 60.0)  # on a busy machine Ray hears late
    walk = Walk(home, fault="kill", fault_step=2)
    with pytest.raises(RankLost, match="ranks 0 and 1 of 2 died"):
        run_attempt(walk.ticket(2), go_on, None, ranks)
    walk.ranks_are_gone()


def test_ranks_that_were_superseded_commit_nothing(home: Home, ranks: Ranks) -> None:
    walk = Walk(home)

    def taken_for_dead(step: int, metrics: Mapping[str, float | None]) -> None:
        Attempt(walk.folder / "attempt-0000").finish("preempted", Failure("node_lost", "unplugged"))

    with pytest.raises(BusyError, match=r"attempt 0 .* was superseded"):
        run_attempt(walk.ticket(2), taken_for_dead, None, ranks)
    walk.ranks_are_gone()
    assert outcomes(walk.folder) == []
    kept = [path.name for path in walk.folder.glob("attempt-0000/checkpoint/*")]
    assert kept == ["step-000000000001"]


def test_several_ranks_need_a_launch_for_several(home: Home) -> None:
    with pytest.raises(AttemptFailed, match="needs a launch for several"):
        run_attempt(Walk(home).ticket(2), go_on)


# -- what is asked for ----------------------------------------------------------------------------


def test_ranks_that_do_not_fit_are_refused(mlflow_home: Home, ray_session: Offered) -> None:
    mapping = quick_study(workload=RANKED, resources={"ranks": 3})
    with pytest.raises(UsageError) as caught:
        text_of(mapping, mlflow_home)
    assert "takes 3 ranks of 1 CPUs, 0 GPUs" in str(caught.value)
    assert f"this machine offers {ray_session.cpus:g}, " in str(caught.value)
    assert "-s resources.ranks=" in str(caught.value)


@pytest.mark.parametrize(("ranks", "places"), [(1, 4), (2, 2), (3, 1), (5, 0)])
def test_a_rank_is_never_split(ranks: int, places: int) -> None:
    assert Offered((NodeSize(cpus=4.5),)).fits(TrialSize(ranks=ranks)) == places


def test_ranks_cannot_share_a_gpu(home: Home) -> None:
    mapping = quick_study(workload=RANKED, resources={"ranks": 2, "gpus": 0.5})
    with pytest.raises(UsageError, match=r"ranks=2 with gpus=0\.5: .* give a whole number"):
        Study.load(mapping, home=home.root)


def test_ranks_are_not_in_the_identity(home: Home) -> None:
    def identity(ranks: int) -> str:
        mapping = quick_study(arm("a"), workload=RANKED, seeds=[0], resources={"ranks": ranks})
        (item,) = Study.load(mapping, home=home.root).plan().trials
        return item.trial.identity

    assert identity(1) == identity(2)
