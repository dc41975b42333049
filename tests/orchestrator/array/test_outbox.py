"""Waves that are submitted while the controller comes and goes."""

from __future__ import annotations

import msgspec
import pytest

from cluster.slurm.commands import Slurm, SlurmError
from cluster.slurm.settings import SlurmSettings
from orchestrator import Study
from orchestrator.array.outbox import Outbox
from orchestrator.array.waves import sent_tasks
from orchestrator.engine.ticket import Ticket
from tests.orchestrator.array.conftest import Arrays
from tests.orchestrator.quick_study import tickets

AWAY = "error: Unable to contact slurm controller (connect failure)"


def named(study: Study, batch: str = "token") -> list[Ticket]:
    made = enumerate(tickets(study))
    return [msgspec.structs.replace(ticket, token=f"{batch} {place}") for place, ticket in made]


def outbox(study: Study) -> Outbox:
    return Outbox(study, SlurmSettings(), Slurm.find())


def queued(arrays: Arrays) -> set[str]:
    said = arrays.slurm.command("squeue", "--noheader", "--array", "--format=%i|%r")
    return set(said.split())


def fail_at_release(arrays: Arrays) -> None:
    """The controller goes after it has taken an array, and comes back only for the next call."""
    arrays.slurm.failing |= {"scontrol": f"scontrol: {AWAY}", "scancel": f"scancel: {AWAY}"}
    arrays.slurm.failing_after["scontrol"] = 1  # its limits are told


def test_what_a_failed_submission_left_in_the_queue_goes_before_the_next(arrays: Arrays) -> None:
    arrays.nothing_starts()
    study = arrays.load(seeds=[0])
    sending = outbox(study)
    sending.put(named(study))
    fail_at_release(arrays)
    with pytest.raises(SlurmError) as failed:
        sending.send()
    assert failed.value.is_transient
    assert queued(arrays) == {"1_0|JobHeldUser", "1_1|JobHeldUser"}
    arrays.slurm.failing.clear()
    (record,) = sending.send()
    assert {job.partition("|")[0] for job in queued(arrays)} == {f"{record.id}_{k}" for k in (0, 1)}
    assert "JobHeldUser" not in str(queued(arrays))
    tasks = list(sent_tasks(study.folder))
    assert [task.job for task in tasks] == record.job_ids
    assert [handed.token for task in tasks for handed in task.handed] == ["token 0", "token 1"]


def test_an_array_that_was_released_without_an_answer_is_not_submitted_beside_itself(
    arrays: Arrays,
) -> None:
    arrays.nothing_starts()
    study = arrays.load(seeds=[0])
    sending = outbox(study)
    sending.put(named(study))
    fail_at_release(arrays)
    with pytest.raises(SlurmError):
        sending.send()
    arrays.slurm.failing.clear()
    arrays.slurm.command("scontrol", "release", "1")  # it was carried out all the same
    (record,) = sending.send()
    assert {job.partition("_")[0] for job in queued(arrays)} == {record.id}


def test_a_wave_that_was_submitted_is_told_though_the_next_one_fails(arrays: Arrays) -> None:
    arrays.nothing_starts()
    study = arrays.load(seeds=[0])
    sending = outbox(study)
    first, second = named(study)
    sending.put([first])
    sending.put([second])
    arrays.slurm.failing["sbatch"] = f"sbatch: {AWAY}"
    arrays.slurm.failing_after["sbatch"] = 1
    assert [record.id for record in sending.send()] == ["1"]
    with pytest.raises(SlurmError):
        sending.send()
    arrays.slurm.failing.clear()
    assert [record.id for record in sending.send()] == ["2"]
    assert sending.waiting() == 0


def test_a_queue_that_an_untold_limit_fills_is_waited_for_while_something_is_in_it(
    arrays: Arrays,
) -> None:
    arrays.nothing_starts()
    arrays.slurm.max_submit, arrays.slurm.tells_max_submit = 2, False
    study = arrays.load(seeds=[0])
    sending = outbox(study)
    sending.put(named(study))
    sending.put(named(study, "next"))
    (record,) = sending.send(room_was_made=True)
    assert sending.send(room_was_made=True) == []
    assert sending.waiting() == 2
    arrays.slurm.command("scancel", record.id)
    assert len(sending.send(room_was_made=True)) == 1


def test_a_wave_that_an_empty_queue_does_not_take_says_which_setting_helps(
    arrays: Arrays,
) -> None:
    arrays.slurm.max_submit, arrays.slurm.tells_max_submit = 1, False
    study = arrays.load(seeds=[0])
    sending = outbox(study)
    sending.put(named(study))
    with pytest.raises(SlurmError, match=r"AssocMaxSubmitJobLimit.*slurm\.max_submit"):
        sending.send()
