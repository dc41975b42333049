"""How many pilots to have, decided without asking anybody."""

from __future__ import annotations

import pytest

from cluster import ClusterError, ClusterRequest, NodeSize, TrialSize
from cluster.slurm.fleet import (
    FALLEN_IN_A_ROW,
    IDLE_S,
    LOST_S,
    PAUSE_S,
    Decision,
    Falls,
    Pilot,
    decide,
)
from cluster.slurm.pilot_size import MOST_PILOTS, full_fleet, pilot_size, pilots_for
from cluster.slurm.queue import JobView
from cluster.slurm.settings import SlurmSettings


def queued(id: str) -> Pilot:
    return Pilot(id)


def working(id: str, since_s: float = 0.0) -> Pilot:
    pilot = Pilot(id)
    pilot.saw_job(JobView(id, "running", "RUNNING", node="n1"))
    pilot.saw_node("n1", True, since_s)
    return pilot


def idle(id: str, since_s: float) -> Pilot:
    pilot = working(id)
    pilot.saw_node("n1", False, since_s)
    return pilot


def ended(id: str, ended_as: str | None = "failed") -> Pilot:
    pilot = Pilot(id)
    pilot.saw_job(JobView(id, "ended", "FAILED", ended_as=ended_as))  # type: ignore[arg-type]
    return pilot


def test_as_many_are_asked_for_as_are_missing() -> None:
    assert decide(3, [], 0) == Decision(3)
    assert decide(3, [working("1"), queued("2")], 0) == Decision(1)
    assert decide(2, [working("1"), ended("2", "preempted")], 0) == Decision(1)
    assert decide(2, [working("1"), queued("2")], 0) == Decision()


def test_with_less_to_do_those_that_wait_go_first_and_the_newest_of_them_before_others() -> None:
    pilots = [working("1"), queued("2"), idle("3", 0), queued("4")]
    assert decide(3, pilots, IDLE_S).cancel == ("4",)
    assert decide(2, pilots, IDLE_S).cancel == ("4", "2")
    assert decide(1, pilots, IDLE_S).cancel == ("4", "2", "3")


def test_one_at_work_is_never_sent_away_nor_one_that_was_at_work_just_now() -> None:
    assert decide(0, [working("1")], 1000) == Decision()
    assert decide(0, [idle("1", 1000)], 1000 + IDLE_S - 1) == Decision()
    assert decide(0, [idle("1", 1000)], 1000 + IDLE_S).cancel == ("1",)


def test_work_starts_the_time_without_work_anew() -> None:
    pilot = idle("1", 0)
    pilot.saw_node("n1", True, 5)
    pilot.saw_node("n1", False, 8)
    assert decide(0, [pilot], IDLE_S) == Decision()


def test_an_answer_that_is_unknown_changes_nothing() -> None:
    pilots = [working("1"), queued("2")]
    for pilot in pilots:
        pilot.saw_job(JobView(pilot.id, "unknown"))
    assert [pilot.state for pilot in pilots] == ["running", "queued"]
    assert decide(2, pilots, 0) == Decision()


def test_one_whose_node_is_gone_for_a_while_is_replaced_whatever_slurm_says() -> None:
    cut = working("1")
    cut.saw_node(None, False, 100)
    cut.saw_node(None, False, 110)
    assert decide(1, [cut], 100 + LOST_S - 1) == Decision()
    assert decide(1, [cut], 100 + LOST_S) == Decision(1, ("1",))
    cut.saw_node("n1", True, 130)
    assert decide(1, [cut], 200) == Decision()


def test_one_that_was_put_back_into_the_queue_joins_anew() -> None:
    pilot = working("1")
    pilot.saw_node(None, False, 10)
    pilot.saw_job(JobView("1", "queued", "PENDING", "BeginTime"))
    assert decide(1, [pilot], 1000) == Decision()
    pilot.saw_job(JobView("1", "running", "RUNNING"))
    assert not pilot.lost(1000)
    assert pilot.saw_node("n2", False, 1001)
    assert not pilot.saw_node("n2", False, 1002)


def test_what_was_let_go_is_not_counted_and_not_cancelled_again() -> None:
    gone = idle("1", 0)
    gone.let_go = True
    assert decide(0, [gone], 1000) == Decision()
    assert decide(1, [gone], 1000) == Decision(1)


def test_pilots_that_come_to_nothing_are_given_up_unless_one_joins_between() -> None:
    falls = Falls()
    for number in range(FALLEN_IN_A_ROW - 1):
        falls.ended(ended(str(number)), 10.0)
    assert not falls.too_many()
    falls.joined()
    falls.ended(ended("a"), 20.0)
    assert not falls.too_many()
    falls.ended(ended("b", None), 20.0)
    falls.ended(ended("c", "completed"), 20.0)
    assert falls.too_many()
    assert falls.pausing(20.0 + PAUSE_S - 1)
    assert not falls.pausing(20.0 + PAUSE_S)


@pytest.mark.parametrize("ended_as", ["preempted", "node_fail", "timeout"])
def test_what_slurm_takes_away_does_not_count_as_come_to_nothing(ended_as: str) -> None:
    falls = Falls()
    for number in range(FALLEN_IN_A_ROW):
        falls.ended(ended(str(number), ended_as), 0.0)
    assert not falls.too_many()


# -- sizes ----------------------------------------------------------------------------------------

BIG = NodeSize(cpus=64, gpus=4, memory_gib=256)


def test_a_pilot_has_room_for_its_trials_with_all_their_ranks() -> None:
    size = pilot_size(
        TrialSize(cpus=4, gpus=1, memory_gib=8, ranks=2), SlurmSettings(trials_per_pilot=2), BIG
    )
    assert (size.ranks, size.cpus, size.gpus, size.memory_gib) == (4, 16, 4, 32)
    assert size.job_memory_gib > 32
    assert size.node.fits(TrialSize(cpus=4, gpus=1, memory_gib=8)) == 4


def test_a_pilot_is_no_bigger_than_a_node() -> None:
    trial = TrialSize(cpus=16, ranks=8)
    assert pilot_size(trial, SlurmSettings(), BIG).ranks == 4
    assert pilot_size(trial, SlurmSettings(), None).ranks == 8
    assert pilot_size(TrialSize(cpus=100), SlurmSettings(), BIG).cpus == 100  # sbatch says so


def test_ranks_may_be_told_to_lie_on_several_pilots() -> None:
    settings = SlurmSettings(ranks_per_pilot=1)
    size = pilot_size(TrialSize(ranks=2), settings, BIG)
    assert size.cpus == 1
    request = asked(3, TrialSize(ranks=2), settings)
    assert pilots_for(3, size, request) == 6
    assert full_fleet(size, request).fits(request.trial) == 3


def test_parts_of_cpus_and_gpus_are_rounded_up_for_the_whole_pilot() -> None:
    settings = SlurmSettings(trials_per_pilot=3)
    size = pilot_size(TrialSize(cpus=0.5, gpus=0.25), settings, BIG)
    assert (size.cpus, size.gpus) == (2, 1)


def test_no_more_pilots_than_trials_fill_and_than_are_allowed() -> None:
    def count(trials: int, **settings: int) -> int:
        made = SlurmSettings.model_validate(settings)
        return pilots_for(trials, pilot_size(TrialSize(), made, BIG), asked(trials, slurm=made))

    assert count(5) == 5
    assert count(5, trials_per_pilot=2) == 3
    assert count(500) == MOST_PILOTS
    assert count(500, pilots=40) == 40
    assert count(0) == 0


def test_no_more_pilots_than_trials_may_run_at_once() -> None:
    size = pilot_size(TrialSize(), SlurmSettings(), BIG)
    assert pilots_for(100, size, asked(100, most=3)) == 3


def test_too_few_pilots_for_a_trial_are_refused_before_anything_is_submitted() -> None:
    settings = SlurmSettings(ranks_per_pilot=1, pilots=2)
    size = pilot_size(TrialSize(ranks=3), settings, BIG)
    with pytest.raises(ClusterError, match=r"needs 3 pilots.*slurm\.pilots=3"):
        full_fleet(size, asked(1, TrialSize(ranks=3), settings))


def asked(
    trials: int,
    trial: TrialSize = TrialSize(),  # noqa: B008
    slurm: SlurmSettings = SlurmSettings(),  # noqa: B008
    most: int | None = None,
) -> ClusterRequest:
    from pathlib import Path

    return ClusterRequest("s", Path("/h"), Path("/h/s"), trial, trials, most, slurm)
