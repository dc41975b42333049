"""Attempts: one process holds a trial, and what it commits is whole."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator.attempts import (
    HEARTBEAT_LIMIT_S,
    UNCLAIMED_GRACE_S,
    Attempt,
    AttemptCheckpoints,
    HeldAttempt,
    Superseded,
    attempts,
    claim_attempt,
    latest_checkpoint,
    outcomes,
)
from orchestrator.errors import BusyError, DamagedFileError
from orchestrator.home import publish_once, write_whole
from orchestrator.process import Process, _started, boot_key
from orchestrator.records import Claim, Failure, Outcome, Provenance, encode
from tests.orchestrator.quick_study import environment, wait_until


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    return tmp_path / "trials" / "0123456789abcdef0123"


def claim(trial: Path, number: int = 0, code: str = "") -> HeldAttempt:
    return claim_attempt(trial, outcome_number=number, study="s-1", code_digest=code)


def outcome(held: HeldAttempt, **fields: Any) -> Outcome:
    base: dict[str, Any] = {
        "identity": held.folder.parent.name,
        "number": held.held.outcome_number,
        "attempt": held.number,
        "study": "s-1",
        "provenance": Provenance(code_digest="c"),
        "started_at_s": 1.0,
        "finished_at_s": 2.0,
    }
    return Outcome(**{**base, **fields})


def by(process: Process, attempt: HeldAttempt) -> Attempt:
    """The attempt as if `process` had claimed it."""
    path = attempt.folder / "claim.json"
    path.write_bytes(encode(msgspec.structs.replace(attempt.held, process=process)))
    return Attempt(attempt.folder)


def like_me(**changes: Any) -> Process:
    return msgspec.structs.replace(Process.current(), **changes)


def aged(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def dead_pid() -> int:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


# -- claims ---------------------------------------------------------------------------------------


def test_a_held_trial_is_refused_to_others(trial: Path) -> None:
    held = claim(trial)
    assert held.number == 0
    with pytest.raises(BusyError, match=r"attempt 0 .* is alive"):
        claim(trial)


def test_a_claim_carries_its_senders_token_and_the_code_that_runs(trial: Path) -> None:
    held = claim_attempt(trial, outcome_number=0, study="s-1", token="mine", code_digest="c1")
    assert (held.held.token, held.held.code_digest) == ("mine", "c1")
    assert held.claim() == held.held


@pytest.mark.parametrize("number", [0, 1])
def test_a_number_that_was_published_meanwhile_is_not_claimed(trial: Path, number: int) -> None:
    for earlier in (0, 1):
        first = claim(trial, earlier)
        first.publish(outcome(first))
    with pytest.raises(BusyError, match="was published meanwhile"):
        claim(trial, number)
    assert [attempt.number for attempt in attempts(trial)] == [0, 1]
    assert claim(trial, 2).number == 2


def test_the_next_attempt_follows_one_that_has_ended(trial: Path) -> None:
    claim(trial).finish("failed", Failure("user_error", "x"))
    assert claim(trial).number == 1


def test_of_many_processes_one_gets_the_claim(trial: Path, tmp_path: Path) -> None:
    code = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from orchestrator.attempts import claim_attempt
        from orchestrator.errors import BusyError
        start = Path({str(tmp_path / "start")!r})
        print("ready", flush=True)
        while not start.exists():
            pass
        try:
            claim_attempt(Path({str(trial)!r}), outcome_number=0, study="s-1")
        except BusyError:
            print("busy", flush=True)
        else:
            print("won", flush=True)
        sys.stdin.read()  # alive until told
        """
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        for _ in range(8)
    ]
    try:
        assert all(racer.stdout is not None for racer in racers)
        assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 8  # type: ignore[union-attr]
        (tmp_path / "start").touch()
        said = sorted(racer.stdout.readline().strip() for racer in racers)  # type: ignore[union-attr]
    finally:
        for racer in racers:
            racer.communicate()
    assert said == ["busy"] * 7 + ["won"]
    assert [attempt.number for attempt in attempts(trial)] == [0]


def test_a_dead_process_loses_its_claim_and_the_loss_is_recorded(trial: Path) -> None:
    lost = by(like_me(pid=dead_pid()), claim(trial))
    assert lost.life() == "dead"
    assert claim(trial).number == 1
    end = lost.end()
    assert end is not None
    assert (end.state, end.failure and end.failure.kind) == ("preempted", "node_lost")


def test_a_reused_pid_is_not_the_process_that_claimed(trial: Path) -> None:
    started = Process.current().started
    assert by(like_me(started=started - 100), claim(trial)).life() == "dead"


def test_a_clock_that_is_set_ends_no_process(trial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    if not Path("/proc/self/stat").exists():
        pytest.skip("this system tells starts by the clock alone")
    held = claim(trial)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: time.time() + 7200)
    assert Attempt(held.folder).life() == "alive"
    assert Process.current() == held.held.process


def test_a_zombie_process_is_dead(trial: Path) -> None:
    import psutil

    child = subprocess.Popen([sys.executable, "-c", ""])  # not waited for: it becomes a zombie
    process = psutil.Process(child.pid)
    wait_until(lambda: process.status() == psutil.STATUS_ZOMBIE, "the child is a zombie")
    try:
        zombie = like_me(pid=child.pid, started=_started(child.pid))
        assert by(zombie, claim(trial)).life() == "dead"
    finally:
        child.wait()


def test_a_restarted_host_has_lost_its_processes(trial: Path) -> None:
    namespace = boot_key().split("/")[1]
    held = claim(trial)
    assert by(like_me(boot=f"another-boot/{namespace}"), held).life() == "dead"


def test_a_container_of_the_same_host_is_another_host(trial: Path) -> None:
    """Its pids mean nothing here: it must not be taken for dead."""
    boot = boot_key().split("/")[0]
    attempt = by(like_me(boot=f"{boot}/pid:[1]", pid=dead_pid()), claim(trial))
    assert attempt.life() == "alive"


def on_another_host(trial: Path, slurm_job: str | None = None) -> Attempt:
    return by(Process("elsewhere", "boot/ns", 1, 1.0, slurm_job), claim(trial))


def fallen_silent(attempt: Attempt) -> Attempt:
    """The attempt, with its last heartbeat (or its claim) too long ago."""
    heartbeat = attempt.folder / "heartbeat"
    path = heartbeat if heartbeat.exists() else attempt.folder / "claim.json"
    aged(path, HEARTBEAT_LIMIT_S + 10)
    return attempt


def test_another_host_is_alive_while_it_beats_and_dead_after(trial: Path) -> None:
    there = on_another_host(trial)
    assert there.life() == "alive"
    assert fallen_silent(there).life() == "dead"
    there.beat()
    assert there.life() == "alive"
    with pytest.raises(BusyError, match="is alive"):
        claim(trial)
    fallen_silent(there)
    assert claim(trial).number == 1
    end = there.end()
    assert end is not None
    assert end.failure is not None
    assert end.failure.kind == "node_lost"


def test_a_job_of_slurm_that_fell_silent_may_wait_in_its_queue(trial: Path) -> None:
    there = on_another_host(trial, slurm_job="123")
    assert there.life() == "alive"
    assert fallen_silent(there).life() == "unknown"
    with pytest.raises(BusyError, match="is unknown"):
        claim(trial)
    there.finish("preempted")
    assert claim(trial).number == 1


def test_a_claim_that_a_power_cut_emptied_is_nobodys(trial: Path) -> None:
    held = claim(trial)
    (held.folder / "claim.json").write_bytes(b"")
    with pytest.raises(BusyError):
        claim(trial)
    aged(held.folder, UNCLAIMED_GRACE_S + 5)
    assert claim(trial).number == 1


def test_a_folder_without_a_claim_belongs_to_its_maker_for_a_while(trial: Path) -> None:
    folder = trial / "attempt-0000"
    folder.mkdir(parents=True)
    with pytest.raises(BusyError):
        claim(trial)
    aged(folder, UNCLAIMED_GRACE_S + 5)
    assert claim(trial).number == 1


def test_an_attempt_that_published_makes_way_without_being_told_lost(trial: Path) -> None:
    first = claim(trial)
    first.publish(outcome(first))
    assert claim(trial, 1).number == 1
    assert first.end() is None


# -- superseded -----------------------------------------------------------------------------------


def superseded(trial: Path) -> HeldAttempt:
    """An attempt that slept while it was taken for dead, and whose trial another one holds."""
    held = claim(trial)
    Attempt(held.folder).finish("preempted", Failure("node_lost", "taken for dead"))
    claim(trial)
    return held


def test_a_superseded_attempt_publishes_nothing(trial: Path) -> None:
    held = superseded(trial)
    with pytest.raises(Superseded):
        held.publish(outcome(held))
    assert outcomes(trial) == []


def test_a_superseded_attempt_saves_no_checkpoint(trial: Path) -> None:
    held = superseded(trial)
    with pytest.raises(Superseded), AttemptCheckpoints(held).saving(3) as folder:
        (folder / "x").write_text("x")
    assert latest_checkpoint(trial) is None
    assert list((held.folder / "checkpoint").iterdir()) == []


def test_an_attempt_that_was_ended_from_outside_commits_nothing(trial: Path) -> None:
    held = claim(trial)
    Attempt(held.folder).finish("cancelled")
    with pytest.raises(Superseded):
        held.verify()


def test_a_claim_with_another_token_is_not_held(trial: Path) -> None:
    held = claim(trial)
    other = msgspec.structs.replace(held.held, token="another")
    write_whole(held.folder / "claim.json", encode(other))
    with pytest.raises(Superseded):
        held.verify()


def test_superseded_passes_through_a_workload_that_catches_errors(trial: Path) -> None:
    assert not issubclass(Superseded, Exception)


# -- outcomes -------------------------------------------------------------------------------------


def test_the_first_to_publish_a_number_wins(trial: Path) -> None:
    held = claim(trial)
    assert held.publish(outcome(held, metrics={"f1": 1.0}))
    assert not held.publish(outcome(held, metrics={"f1": 2.0}))
    assert [o.metrics for o in outcomes(trial)] == [{"f1": 1.0}]


def test_the_highest_number_is_read_last(trial: Path) -> None:
    for number in (0, 1, 2):
        held = claim(trial, number)
        held.publish(outcome(held, metrics={"f1": float(number)}))
    assert [o.number for o in outcomes(trial)] == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"{", b'{"identity": 3}', b"\x00\xff"])
def test_a_damaged_outcome_is_an_error_that_says_what_to_do(trial: Path, content: bytes) -> None:
    trial.mkdir(parents=True)
    (trial / "outcome-0000.json").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"outcome-0000\.json' cannot be read.*Move it away"):
        outcomes(trial)


def test_numbers_that_json_lacks_come_back(trial: Path) -> None:
    from orchestrator.records import storable

    held = claim(trial)
    values = {"a": float("inf"), "b": float("-inf"), "c": None, "d": 0.1}
    held.publish(outcome(held, metrics={k: storable(v) for k, v in values.items()} | {"e": "nan"}))
    (found,) = outcomes(trial)
    read = found.values()
    assert read.pop("e") != read.get("e")
    assert read == values


def test_records_of_a_newer_version_with_more_fields_can_be_read(trial: Path) -> None:
    held = claim(trial)
    held.publish(outcome(held))
    path = trial / "outcome-0000.json"
    path.write_text(path.read_text().replace('"version"', '"later_field": 1,\n "version"'))
    assert outcomes(trial)[0].identity == trial.name


def test_an_end_that_is_recorded_stays(trial: Path) -> None:
    held = claim(trial)
    assert held.finish("failed", Failure("user_error", "first"))
    assert not held.finish("preempted")
    assert held.finish("failed", Failure("node_lost", "second"), replace=True)
    end = held.end()
    assert end is not None
    assert end.failure == Failure("node_lost", "second")


# -- checkpoints ----------------------------------------------------------------------------------


def save(held: HeldAttempt, step: int, text: str = "") -> None:
    with AttemptCheckpoints(held).saving(step) as folder:
        (folder / "state").write_text(text or str(step))


def test_the_last_checkpoint_is_kept(trial: Path) -> None:
    held = claim(trial)
    for step in (1, 2, 10):
        save(held, step)
    latest = AttemptCheckpoints(held).latest()
    assert latest is not None
    assert (latest.step, (latest.path / "state").read_text()) == (10, "10")
    assert [path.name for path in (held.folder / "checkpoint").iterdir()] == [latest.path.name]


def test_a_checkpoint_may_be_saved_again(trial: Path) -> None:
    held = claim(trial)
    save(held, 1, "old")
    save(held, 1, "new")
    latest = latest_checkpoint(trial)
    assert latest is not None
    assert (latest.path / "state").read_text() == "new"


def test_a_block_that_raises_leaves_the_one_before(trial: Path) -> None:
    held = claim(trial)
    save(held, 1)
    with pytest.raises(ZeroDivisionError), AttemptCheckpoints(held).saving(2):
        _ = 1 / 0
    latest = latest_checkpoint(trial)
    assert latest is not None
    assert latest.step == 1


def test_a_half_made_checkpoint_is_passed_over(trial: Path) -> None:
    held = claim(trial)
    (held.folder / "checkpoint" / ".partial-abc").mkdir(parents=True)
    assert latest_checkpoint(trial) is None
    save(held, 1)
    latest = latest_checkpoint(trial)
    assert latest is not None
    assert latest.step == 1


def test_a_later_attempt_goes_on_from_an_earlier_ones_checkpoint(trial: Path) -> None:
    first = claim(trial)
    save(first, 7)
    first.finish("preempted")
    second = claim(trial)
    latest = AttemptCheckpoints(second).latest()
    assert latest is not None
    assert latest.step == 7
    save(second, 7, "second")
    newest = latest_checkpoint(trial)
    assert newest is not None
    assert (newest.path / "state").read_text() == "second"


def test_a_checkpoint_is_on_the_disk_itself_before_it_counts(
    trial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[int, bool]] = []
    held = claim(trial)

    def recorded(descriptor: int) -> None:
        complete = latest_checkpoint(trial) is not None
        flushed.append((os.fstat(descriptor).st_ino, complete))

    monkeypatch.setattr(os, "fsync", recorded)
    with AttemptCheckpoints(held).saving(1) as folder:
        (folder / "part").mkdir()
        (folder / "part" / "state").write_text("1")
    latest = latest_checkpoint(trial)
    assert latest is not None
    inodes = [path.stat().st_ino for path in (latest.path / "part" / "state", latest.path)]
    assert {(inode, False) for inode in inodes} <= set(flushed)
    assert (latest.path.parent.stat().st_ino, True) in flushed  # its new name


def test_checkpoints_know_the_code_that_made_them(trial: Path) -> None:
    first = claim(trial, code="old")
    assert AttemptCheckpoints(first).codes() == ["old"]
    save(first, 7)
    first.finish("preempted")
    second = claim(trial, code="new")
    assert AttemptCheckpoints(second).codes() == ["old", "new"]
    save(second, 8)
    assert AttemptCheckpoints(second).codes() == ["new"]


def test_checkpoints_of_other_code_can_be_passed_over(trial: Path) -> None:
    for code, step in (("mine", 3), ("theirs", 9)):
        held = claim(trial, code=code)
        save(held, step)
        held.finish("preempted")
    held = claim(trial, code="mine")
    mine = AttemptCheckpoints(held, same_code=True)
    latest = mine.latest()
    assert latest is not None
    assert (latest.step, mine.codes()) == (3, ["mine"])
    assert latest_checkpoint(trial, code_digest="mine") == latest
    assert latest_checkpoint(trial, code_digest="nobody's") is None
    anyones = AttemptCheckpoints(held).latest()
    assert anyones is not None
    assert anyones.step == 9


# -- files ----------------------------------------------------------------------------------------


def test_a_file_appears_whole_and_once(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert publish_once(path, b"one")
    assert not publish_once(path, b"two")
    assert path.read_bytes() == b"one"
    write_whole(path, b"three")
    assert path.read_bytes() == b"three"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_the_records_format_has_not_changed(trial: Path) -> None:
    """Homes that people have are read by it."""
    before_clusters = (
        b'{"attempt":0,"outcome_number":0,"token":"t","process":{"host":"h","boot":"b","pid":1,'
        b'"started":2.0,"slurm_job":null},"study":"s-1","claimed_at_s":3.0,"code_digest":"c",'
        b'"version":1}'
    )
    text = before_clusters.replace(b'"slurm_job":null', b'"slurm_job":null,"slurm_cluster":""')
    claimed = msgspec.json.decode(before_clusters, type=Claim)
    assert claimed == msgspec.json.decode(text, type=Claim)
    assert msgspec.json.encode(claimed) == text
