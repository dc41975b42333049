"""What is said of jobs: few questions, and nothing concluded from silence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from cluster.slurm.commands import Slurm, SlurmError
from cluster.slurm.queue import JobView, look, named
from cluster.slurm.records import JobRecords
from cluster.slurm.submission import Submission, submit
from tests.cluster.stand_in.controller import SlurmStandIn

Make = Callable[..., Submission]


@pytest.fixture
def ended(slurm: Slurm, slurm_stand_in: SlurmStandIn) -> str:
    """A job that has completed, which the controller still knows."""
    slurm_stand_in.command("sbatch", "--output=/dev/null", "--wrap=exit 0")
    slurm_stand_in.wait()
    return "1"


def test_one_query_tells_of_all_jobs(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, submission: Make, records: JobRecords
) -> None:
    [array] = submit(slurm, submission(["/nowhere"] * 3, hold=True), records)
    slurm_stand_in.command("sbatch", "--output=/dev/null", "--wrap=sleep 60")
    slurm_stand_in.command("sbatch", "--output=/dev/null", "--wrap=exit 3")
    while slurm_stand_in.jobs["5"].state != "FAILED":
        pass
    slurm_stand_in.calls.clear()
    views = look(slurm, [*array.job_ids, "4", "5"])
    assert [call[0] for call in slurm_stand_in.calls] == ["squeue"]
    assert views["1_2"] == JobView("1_2", "queued", "PENDING", "JobHeldUser")
    assert (views["4"].state, views["4"].node) == ("running", "s1")
    assert (views["5"].state, views["5"].ended_as) == ("ended", "failed")


def test_a_job_the_queue_has_forgotten_is_asked_of_the_accounting_once(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, ended: str
) -> None:
    slurm_stand_in.command("sbatch", "--hold", "--array=0-2", "--output=/dev/null", "--wrap=:")
    slurm.cancel(["2"])
    slurm_stand_in.forget_ended()
    slurm_stand_in.calls.clear()
    views = look(slurm, [ended, "2_0", "2_1", "2_2"])
    assert [call[0] for call in slurm_stand_in.calls] == ["squeue", "sacct"]
    assert views[ended].ended_as == "completed"
    assert {views[f"2_{index}"].ended_as for index in range(3)} == {"cancelled"}


@pytest.mark.parametrize("accounting", ["off", "empty"])
def test_without_accounting_a_forgotten_job_has_ended_as_nobody_knows_what(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, ended: str, accounting: str
) -> None:
    slurm_stand_in.accounting = accounting  # type: ignore[assignment]
    slurm_stand_in.forget_ended()
    assert look(slurm, [ended]) == {ended: JobView(ended, "ended")}


def test_many_forgotten_jobs_take_one_more_question(
    slurm: Slurm, slurm_stand_in: SlurmStandIn
) -> None:
    slurm_stand_in.accounting = "off"
    slurm_stand_in.command("sbatch", "--hold", "--output=/dev/null", "--wrap=:")
    slurm_stand_in.calls.clear()
    views = look(slurm, [str(id) for id in range(1, 10_001)])
    assert [call[0] for call in slurm_stand_in.calls] == ["squeue", "sacct", "scontrol"]
    assert views["1"].state == "queued"
    assert {views[str(id)].state for id in range(2, 10_001)} == {"ended"}


def test_a_queue_that_answers_nothing_is_not_believed_against_the_controller(
    slurm: Slurm, slurm_stand_in: SlurmStandIn
) -> None:
    slurm_stand_in.accounting = "off"
    slurm_stand_in.command("sbatch", "--hold", "--output=/dev/null", "--wrap=:")
    slurm_stand_in.silent.add("squeue")
    assert look(slurm, ["1"])["1"].state == "unknown"


@pytest.mark.parametrize("silenced", [["squeue"], ["squeue", "sacct", "scontrol"]])
def test_a_queue_that_fails_makes_all_unknown(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, ended: str, silenced: Sequence[str]
) -> None:
    for command in silenced:
        slurm_stand_in.failing[command] = f"{command}: error: Socket timed out on send/recv"
    views = look(slurm, [ended, "7"])
    assert {view.state for view in views.values()} == {"unknown"}
    assert all(view.unanswered and "Socket timed out" in view.why for view in views.values())


def test_a_controller_that_is_away_leaves_a_forgotten_job_unknown(
    slurm: Slurm, slurm_stand_in: SlurmStandIn
) -> None:
    slurm_stand_in.silent.update({"squeue", "sacct"})
    slurm_stand_in.failing["scontrol"] = "slurm_load_jobs error: Unable to contact slurm controller"
    assert look(slurm, ["7"])["7"].state == "unknown"


def test_an_accounting_that_lags_behind_is_not_believed_that_a_job_runs(
    slurm: Slurm, slurm_stand_in: SlurmStandIn
) -> None:
    slurm_stand_in.command("sbatch", "--hold", "--output=/dev/null", "--wrap=:")
    slurm_stand_in.silent.add("squeue")
    assert look(slurm, ["1"])["1"].state == "unknown"


def test_jobs_are_found_by_their_name_an_array_once(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, submission: Make, records: JobRecords, ended: str
) -> None:
    [array] = submit(slurm, submission(["/nowhere"] * 3, hold=True), records)
    assert named(slurm, "orrery-sweep-1a2b") == [array.id]
    slurm_stand_in.failing["squeue"] = "slurm_load_jobs error: Unable to contact slurm controller"
    with pytest.raises(SlurmError) as raised:
        named(slurm, "orrery-sweep-1a2b")
    assert raised.value.is_transient


def test_nothing_asked_is_nothing_run(slurm: Slurm, slurm_stand_in: SlurmStandIn) -> None:
    assert look(slurm, []) == {}
    assert slurm_stand_in.calls == []
