"""SLURM's commands: their own words, a time limit, and what they tell of the cluster."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from cluster.contract import ClusterError
from cluster.slurm.check import check, refuse_wrong
from cluster.slurm.commands import Slurm, SlurmError
from cluster.slurm.limits import ClusterLimits, Partition
from cluster.slurm.settings import SlurmSettings
from tests.cluster.stand_in.controller import SlurmStandIn


def test_no_slurm_on_the_path_is_said_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"No SLURM here: sbatch, .*--on local"):
        Slurm.find()
    assert check(SlurmSettings())[0][1] is False


def test_a_command_that_does_not_answer_is_given_up(
    slurm: Slurm, slurm_stand_in: SlurmStandIn
) -> None:
    slurm_stand_in.hanging.add("sinfo")
    with pytest.raises(SlurmError, match=r"sinfo gave no answer within 0.5 s") as raised:
        slurm.ask(["sinfo"], timeout_s=0.5)
    assert raised.value.is_transient


def test_a_controller_that_is_away_is_told_from_a_refusal(
    slurm: Slurm, slurm_stand_in: SlurmStandIn
) -> None:
    with pytest.raises(SlurmError) as refused:
        slurm.release(["99"])
    assert not refused.value.is_transient
    assert refused.value.says_no_such_job
    slurm_stand_in.away = True
    with pytest.raises(SlurmError, match="Unable to contact") as away:
        slurm.release(["99"])
    assert away.value.is_transient


@pytest.mark.parametrize(
    "said",
    [
        "slurm_load_jobs error: Zero Bytes were transmitted or received",
        "sbatch: error: Batch job submission failed: Connection reset by peer",
        "slurm_receive_msg: No route to host",
        "Slurm temporarily unable to accept job, sleeping and retrying",
    ],
)
def test_a_lost_answer_is_no_refusal(said: str) -> None:
    assert SlurmError(said).is_transient


def test_a_token_that_slurm_is_asked_with_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JWT", "a.b.c")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    seen = Slurm().environment
    assert seen["SLURM_JWT"] == "a.b.c"
    assert "SLURM_JOB_ID" not in seen


def test_cancelling_what_has_ended_is_no_error(slurm: Slurm, slurm_stand_in: SlurmStandIn) -> None:
    slurm.cancel(["99"])
    slurm_stand_in.failing["scancel"] = (
        "scancel: error: Kill job error on job id 99: Job/step already completing or completed"
    )
    slurm.cancel(["99"])
    slurm_stand_in.failing["scancel"] = "scancel: error: Access/permission denied"
    with pytest.raises(SlurmError, match=r"^scancel: Access/permission denied$"):
        slurm.cancel(["99"])


def test_the_limits_are_those_of_controller_and_accounting(
    slurm: Slurm, slurm_stand_in: SlurmStandIn
) -> None:
    slurm_stand_in.max_submit = 300
    assert slurm.settings_of_cluster() == ClusterLimits("22.05.8", 1001, 300, 10_000, "stand-in")
    slurm_stand_in.accounting = "off"
    assert slurm.settings_of_cluster().max_submit is None
    assert slurm.partitions() == [
        Partition("main", True, True, None, 2),
        Partition("short", True, False, 600, 2),
    ]


def test_a_check_says_what_is_wrong_and_submits_nothing(
    slurm: Slurm, slurm_stand_in: SlurmStandIn, tmp_path: Path
) -> None:
    good = check(SlurmSettings(account="lab", qos="normal"), tmp_path)
    assert {what for what, _, _ in good} >= {"SLURM", "partition", "time", "account", "qos", "home"}
    assert all(ok for what, ok, _ in good if what not in ("python", "home"))
    bad = {
        what: found
        for what, ok, found in check(SlurmSettings(partition="short", account="labs", time="11"))
        if not ok and what != "python"
    }
    assert bad == {
        "account": "'labs' is none of yours: lab.",
        "time": "limit 11 is more than the 00:10:00 that 'short' allows, so the job would never "
        "start. Give a shorter slurm.time.",
    }
    slurm_stand_in.accounting = "off"
    unchecked = {what: ok for what, ok, _ in check(SlurmSettings(account="labs"))}
    assert unchecked["account"] is True
    assert slurm_stand_in.count("sbatch") == 0


def test_a_partition_that_is_not_there_is_refused_naming_those_that_are(
    slurm_stand_in: SlurmStandIn,
) -> None:
    refuse_wrong(SlurmSettings())
    refuse_wrong(SlurmSettings(partition="main,short", time="5"))
    with pytest.raises(
        ClusterError, match=r"'mian' does not exist. Did you mean 'main'\? There are: main, short"
    ):
        refuse_wrong(SlurmSettings(partition="mian"))
    slurm_stand_in.down_partitions.add("short")
    with pytest.raises(ClusterError, match=r"'short' takes no jobs now"):
        refuse_wrong(SlurmSettings(partition="short"))


def test_a_command_that_fails_without_a_word_is_told_with_its_status(slurm: Slurm) -> None:
    with pytest.raises(SlurmError, match=r"^false: failed without a word \(exit status 1\)$"):
        slurm.ask(["false"])


def test_a_command_that_hangs_goes_with_what_it_has_started(slurm: Slurm, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    wrapper = f"sleep 300 & echo $! > {pid}; wait"
    with pytest.raises(SlurmError, match="gave no answer within 1 s"):
        slurm.ask(["bash", "-c", wrapper], timeout_s=1)
    child = int(pid.read_text())
    deadline = time.monotonic() + 30
    while _lives(child):
        assert time.monotonic() < deadline, "the wrapper's child lives on"
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_many_jobs_are_cancelled_in_lots(slurm: Slurm, slurm_stand_in: SlurmStandIn) -> None:
    slurm.cancel(str(id) for id in range(1, 402))
    assert slurm_stand_in.count("scancel") == 3


@pytest.mark.parametrize(
    ("said", "full"),
    [
        ("sbatch: AssocMaxSubmitJobLimit; Batch job submission failed", True),
        ("sbatch: QOSMaxSubmitJobPerUserLimit; Batch job submission failed", True),
        ("sbatch: AssocGrpSubmitJobsLimit; Batch job submission failed", True),
        ("sbatch: QOSMaxWallDurationPerJobLimit; Batch job submission failed", False),
        ("sbatch: Invalid qos specification", False),
    ],
)
def test_a_limit_on_jobs_in_the_queue_is_told_from_others(said: str, full: bool) -> None:
    assert SlurmError(said).says_queue_full is full
