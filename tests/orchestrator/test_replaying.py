"""`orrery replay`: the same numbers again, or where they part, and a home that is only read."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Study
from orchestrator.attempts import attempts
from orchestrator.engine.ranks import Ranks
from orchestrator.engine.worker import AttemptFailed, run_attempt
from orchestrator.home import Home
from orchestrator.replaying import CannotReplay, Replay, replay_trial
from orchestrator.replaying.comparing import Pair, compare, is_reproducible, row_pairs
from orchestrator.replaying.recorded import Recorded
from orchestrator.retention import collect_garbage
from orchestrator.tracing import trace_trial
from telemetry import EpisodeContext, archive_events
from tests.orchestrator.quick_study import (
    QUESTIONED,
    QUICK,
    RANKED,
    arm,
    computed,
    driver,
    finish,
    go_on,
    orrery_here,
    processes_naming,
    quick_study,
    tickets,
    wait_until,
)
from workloads.contract import Metric, TrialStopped


def one_trial(home: Home, workload: str = QUICK, **base: Any) -> Study:
    mapping = quick_study(
        arm("a"), workload=workload, seeds=[3], base={"steps": 6, "metrics": 2, **base}
    )
    return Study.load(mapping, home=home.root)


def run_in_another_process(study: Study) -> subprocess.Popen[bytes]:
    """Starts an attempt in a process that a test may kill."""
    from tests.orchestrator.quick_study import environment

    (ticket,) = tickets(study)
    words = (
        "import sys, msgspec; from orchestrator.engine.ticket import Ticket; "
        "from orchestrator.engine.worker import run_attempt; "
        "run_attempt(msgspec.json.decode(sys.stdin.buffer.read(), type=Ticket), lambda s, m: None)"
    )
    import msgspec

    process = subprocess.Popen(
        [sys.executable, "-c", words], stdin=subprocess.PIPE, env=environment()
    )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(ticket))
    process.stdin.close()
    return process


def files_of(home: Home) -> dict[str, str]:
    """What every file of a home holds."""
    return {
        str(path.relative_to(home.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.root.rglob("*"))
        if path.is_file()
    }


def rewritten(home: Home, identity: str, change: Mapping[str, str]) -> None:
    """Changes the text of a trial's spool, as if it had been recorded so."""
    (spool,) = home.trial(identity).glob("attempt-*/spool/rank-0000.jsonl")
    text = spool.read_text()
    for pattern, new in change.items():
        text, count = re.subn(pattern, new, text, count=1)
        assert count == 1, pattern
    spool.write_text(text)


# -- the same again -------------------------------------------------------------------------------


def test_a_replay_is_identical_and_its_home_is_only_read(home: Home) -> None:
    (identity,) = finish(one_trial(home))
    before = files_of(home)
    found = replay_trial(identity[:7], home.root)
    assert found.answer == "identical"
    assert (found.comparison.rows, found.comparison.metrics) == (18, 3)
    assert found.comparison.final == 3
    assert found.comparison.scores == 20
    assert not found.differences
    assert files_of(home) == before


def test_a_trial_that_was_killed_and_resumed_is_identical_over_all_its_rows(home: Home) -> None:
    log = home.root / "log.txt"
    study = one_trial(home, steps=40, step_s=0.02, log=str(log))
    process = run_in_another_process(study)
    wait_until(lambda: len(computed(log)) >= 20, "half of the steps")
    process.send_signal(signal.SIGKILL)
    process.wait()
    (identity,) = finish(study)
    folder = home.trial(identity)
    assert len(attempts(folder)) == 2
    archive_events(folder)
    found = replay_trial(identity, home.root)
    assert found.answer == "identical"
    assert found.comparison.rows == 120
    assert found.attempts == 2
    second = replay_trial(identity, home.root, attempt=1)
    assert second.answer == "identical", second.text()
    assert 3 <= second.comparison.rows <= 66


def test_a_trial_that_was_retried_takes_as_many_attempts_again(home: Home) -> None:
    (ticket,) = tickets(one_trial(home, fault="raise", fault_step=4, fault_times=1))
    with pytest.raises(AttemptFailed):
        run_attempt(ticket, go_on)
    run_attempt(ticket, go_on)
    found = replay_trial(ticket.identity, home.root)
    assert (found.answer, found.comparison.rows) == ("identical", 18)


def test_a_failed_trial_fails_the_same_way_again(home: Home) -> None:
    (ticket,) = tickets(one_trial(home, fault="raise", fault_step=4))
    with pytest.raises(AttemptFailed):
        run_attempt(ticket, go_on)
    found = replay_trial(ticket.identity, home.root)
    assert found.answer == "identical"
    assert found.comparison.rows == 9
    assert found.ended_then == found.ended_now == "user_error: ValueError: the walk fell off"


def test_a_trial_that_was_observed_again_more_widely_is_compared_with_that_observation(
    home: Home,
) -> None:
    """The mean over questions differs with their number, and stands at the same step."""
    (first,) = finish(one_trial(home, workload=QUESTIONED))
    wider = one_trial(home, workload=QUESTIONED, questions=40)
    assert finish(wider) == [first]
    archive_events(home.trial(first))
    found = replay_trial(first, home.root)
    assert found.answer == "identical", found.text()
    assert (found.attempt, found.attempts, found.comparison.scores) == (1, 1, 40)
    assert list(found.passed_over) == ["attempt 0: questions was 20, not 40"]
    assert "not compared: attempt 0: questions was 20, not 40" in found.text()
    narrow = replay_trial(first, home.root, attempt=0)
    assert (narrow.answer, narrow.comparison.scores) == ("identical", 20)
    assert not narrow.passed_over


def test_a_pruned_trial_is_compared_as_far_as_it_went(home: Home) -> None:
    def prune(step: int, metrics: Mapping[str, float | None]) -> None:
        if step == 3:
            raise TrialStopped

    (ticket,) = tickets(one_trial(home, steps=500))
    assert run_attempt(ticket, prune) == "pruned"
    found = replay_trial(ticket.identity, home.root)
    assert found.answer == "identical"
    assert found.comparison.rows == 9


# -- where they part ------------------------------------------------------------------------------


def test_the_first_step_at_which_they_part_is_named_with_both_values(home: Home) -> None:
    (identity,) = finish(one_trial(home))
    rewritten(home, identity, {r'("train/m1":)[^,}]+([^\n]*"step":4)': r"\g<1>0.5\2"})
    found = replay_trial(identity, home.root)
    assert (found.answer, found.exit_code) == ("parted", 1)
    first = found.comparison.first
    assert first is not None
    assert (first.metric, first.step, first.recorded) == ("train/m1", 4, 0.5)
    assert found.comparison.beyond == 1
    assert "train/m1 at step 4: 0.5 then, " in found.text()


def test_a_difference_within_the_tolerance_is_told_with_its_place(home: Home) -> None:
    (identity,) = finish(one_trial(home))
    (spool,) = home.trial(identity).glob("attempt-*/spool/rank-0000.jsonl")
    match = re.search(r'"train/m0":([-\d.e]+)[^\n]*"step":2', spool.read_text())
    assert match is not None
    near = float(match[1]) * (1 + 1e-9)
    rewritten(home, identity, {re.escape(match[0]): match[0].replace(match[1], repr(near))})
    loose = replay_trial(identity, home.root, tolerance=1e-6)
    assert (loose.answer, loose.exit_code) == ("within_tolerance", 0)
    largest = loose.comparison.largest
    assert largest is not None
    assert (largest.metric, largest.step) == ("train/m0", 2)
    assert largest.difference == pytest.approx(1e-9, rel=1e-3)


def test_a_row_that_one_side_lacks_parts_them(home: Home) -> None:
    (identity,) = finish(one_trial(home))
    rewritten(home, identity, {r'"train/m1":[^,}]+([^\n]*"step":5)': r'"extra":1.5\1'})
    found = replay_trial(identity, home.root)
    assert found.answer == "parted"
    assert (found.comparison.missing_then, found.comparison.missing_now) == (1, 1)


def test_other_packages_and_code_are_named(home: Home) -> None:
    (identity,) = finish(one_trial(home))
    (lock,) = (home.root / "environments").iterdir()
    pins = json.loads(lock.read_bytes())
    pins["numpy"] = "1.0.0"
    lock.with_name("0000000000000000.json").write_text(json.dumps(pins))
    rewritten(home, identity, {lock.stem: "0" * 16})
    (claim,) = home.trial(identity).glob("attempt-*/claim.json")
    told = json.loads(claim.read_bytes())
    claim.write_text(json.dumps({**told, "code_digest": "another"}))
    found = replay_trial(identity, home.root)
    assert found.answer == "identical"
    assert any(line.startswith("source code: another then") for line in found.differences)
    assert any("numpy 1.0.0 → " in line for line in found.differences)


# -- what cannot be replayed ----------------------------------------------------------------------


def test_changed_and_missing_inputs_are_named(home: Home, tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("four")
    (identity,) = finish(one_trial(home, data=str(data)))
    data.write_text("fiver")
    with pytest.raises(CannotReplay, match="data was 'len:4', is 'len:5'"):
        replay_trial(identity, home.root)
    data.unlink()
    with pytest.raises(CannotReplay, match="an input is gone"):
        replay_trial(identity, home.root)
    assert not list(home.root.glob(".replay-*"))


def test_a_trial_without_a_context_is_refused(home: Home) -> None:
    (identity,) = finish(one_trial(home))
    (spool,) = home.trial(identity).glob("attempt-*/spool/rank-0000.jsonl")
    kept = [line for line in spool.read_text().splitlines() if '"kind":"context"' not in line]
    spool.write_text("\n".join(kept) + "\n")
    with pytest.raises(CannotReplay, match="what it ran from"):
        replay_trial(identity, home.root)


def test_a_record_that_says_nothing_of_monitors_is_replayed_without_any(home: Home) -> None:
    """A release that had none; those that are on by default now would report what it has not."""

    def recorded(**hyperparameters: Any) -> Recorded:
        context = EpisodeContext(hyperparameters=hyperparameters)
        return Recorded(home, "0" * 20, 0, context, None, {}, None, None, 1)

    assert recorded(steps=3).config == {"monitors": [], "steps": 3}
    assert recorded(monitors=["rank"]).config == {"monitors": ["rank"]}


def test_a_replay_that_the_machine_ends_is_no_parting(home: Home) -> None:
    """The first attempt kills itself, here as there: one attempt alone is too few."""
    study = one_trial(home, fault="kill", fault_step=2, fault_times=1)
    process = run_in_another_process(study)
    process.wait()
    (identity,) = finish(study)
    whole = replay_trial(identity, home.root)
    assert (whole.answer, whole.attempts) == ("identical", 2)
    with pytest.raises(CannotReplay, match="broke off"):
        replay_trial(identity, home.root, attempt=1)
    assert not list(home.root.glob(".replay-*"))


def test_a_damaged_archive_is_refused_by_its_name(home: Home) -> None:
    (identity,) = finish(one_trial(home))
    (archive_events(home.trial(identity), remove_spools=True) or Path()).write_bytes(b"PAR1 not")
    with pytest.raises(CannotReplay, match=r"its events cannot be read \(.*events\.parquet"):
        replay_trial(identity, home.root)


def test_a_replay_on_another_host_is_left_alone(home: Home) -> None:
    """Its pid is nobody's here."""
    (identity,) = finish(one_trial(home, steps=2))
    theirs = home.root / f".replay-{identity[:8]}-elsewhere.1-99999999-abcdefgh"
    theirs.mkdir()
    assert replay_trial(identity, home.root).answer == "identical"
    assert theirs.exists()


def test_an_attempt_that_is_not_there_is_refused_with_those_that_are(home: Home) -> None:
    (identity,) = finish(one_trial(home))
    with pytest.raises(CannotReplay, match=r"no attempt 4\. There are: 0"):
        replay_trial(identity, home.root, attempt=4)


# -- the command ----------------------------------------------------------------------------------


def test_the_command_answers_by_exit_code_and_json(home: Home, tmp_path: Path) -> None:
    (identity,) = finish(one_trial(home))
    rewritten(home, identity, {r'("train/m1":)[^,}]+([^\n]*"step":4)': r"\g<1>0.5\2"})
    parted = orrery_here("replay", identity[:6], "--json", "--home", home.root, cwd=tmp_path)
    assert parted.returncode == 1, parted.stderr
    told = json.loads(parted.stdout)
    assert (told["answer"], told["first_parting"]["step"]) == ("parted", 4)
    assert orrery_here("replay", "none", "--home", home.root, cwd=tmp_path).returncode == 2


def test_what_is_kept_outlives_the_next_replay(home: Home, tmp_path: Path) -> None:
    (identity,) = finish(one_trial(home, steps=2))
    ran = orrery_here("replay", identity, "--keep", "--json", "--home", home.root, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    kept = Path(json.loads(ran.stdout)["kept"])
    replay_trial(identity, home.root)
    assert kept not in collect_garbage(home.root).paths
    assert (kept / "output.txt").exists()


def test_ctrl_c_ends_the_replay_and_removes_its_files(home: Home, tmp_path: Path) -> None:
    study = one_trial(home, fault="sleep", fault_step=3)
    (ticket,) = tickets(study)
    identity = ticket.identity
    process = run_in_another_process(study)
    wait_until(lambda: list(home.trial(identity).glob("*/checkpoint/step-*2")), "two steps")
    process.kill()
    process.wait()
    with driver("replay", identity, "--home", home.root, cwd=tmp_path) as running:
        running.wait_until(
            lambda: list(home.root.glob(".replay-*/trials/*/attempt-0000/checkpoint/step-*2")),
            "a replay",
        )
        running.interrupt()
        assert running.end() == 130
    assert not list(home.root.glob(".replay-*"))
    wait_until(lambda: not processes_naming(f".replay-{identity[:8]}"), "no process left")


def test_trace_names_the_command_that_replays(home: Home) -> None:
    (identity,) = finish(one_trial(home))
    told = trace_trial(identity, home.root)
    assert told.replay == f"orrery replay {identity[:8]} --home {home.root}"
    assert f"replay: {told.replay}" in told.text()


# -- numbers --------------------------------------------------------------------------------------


def test_what_measures_time_or_the_machine_is_not_compared() -> None:
    metrics = {"s": Metric("time", reproducible=False), "eval/s": Metric("x"), "f1": Metric("x")}
    keys = ["s", "s/spread", "sys/cpu_percent", "ranks/slowest", "f1", "undeclared"]
    assert [is_reproducible(key, metrics) for key in keys] == [False] * 4 + [True, True]
    assert not is_reproducible("best/t", {"eval/t": Metric("time", reproducible=False)})


def test_nan_equals_nan_and_nothing_else() -> None:
    nan = float("nan")
    assert Pair("x", 1, nan, nan).difference == 0
    assert Pair("x", 1, nan, 1.0).difference == float("inf")
    assert Pair("x", 1, None, 0.0).difference == float("inf")
    assert Pair("x", 1, float("inf"), float("inf")).difference == 0


def test_zeros_of_two_signs_are_equal_and_not_identical() -> None:
    signs = Pair("x", 1, 0.0, -0.0)
    assert (signs.difference, signs.same) == (0, False)
    found = compare([signs, Pair("x", 2, 0.0, 0.0)], (), (), 0.0)
    assert (found.answer, found.differing, found.largest) == ("within_tolerance", 1, signs)


def test_what_only_an_attempt_with_other_settings_has_is_no_difference() -> None:
    then, now = {(2, "a"): 2.0}, {(1, "a"): 1.0, (2, "a"): 2.0}
    found = compare(row_pairs(then, now, {}, None, {(1, "a")}), (), (), 0.0)
    assert (found.rows, found.answer) == (1, "identical")


def test_what_a_cut_off_record_lacks_at_its_end_is_no_difference() -> None:
    then = {(1, "a"): 1.0, (2, "a"): 2.0}
    now = {**then, (2, "b"): 5.0, (3, "a"): 3.0}
    found = compare(row_pairs(then, now, {}, 2), (), (), 0.0)
    assert (found.rows, found.answer) == (2, "identical")
    assert compare(row_pairs(then, now, {}, None), (), (), 0.0).beyond == 2


def test_json_of_a_parting_holds_no_nan() -> None:
    found = compare(row_pairs({(1, "a"): float("nan")}, {(1, "a"): 1.0}, {}, None), (), (), 0.0)
    answer = Replay("i", 0, 1, "l", found, "done", "done", True, (), 0.0)
    json.dumps(answer.to_json(), allow_nan=False)
    assert answer.exit_code == 1


# -- what ships, and several ranks ----------------------------------------------------------------


@pytest.mark.slow
def test_the_lora_workload_is_bit_identical_though_it_was_killed_and_resumed(home: Home) -> None:
    mapping = quick_study(
        arm("a"),
        workload="latent_lora",
        seeds=[1],
        base={
            "model": "embedded:llama", "samples": 400, "epochs": 2, "batch_size": 8, "d_z": 8,
            "test_questions": 40, "dev_questions": 20, "checkpoint_steps": 10,
            "lora": {"rank": 4, "layers": 2},
        },
    )  # fmt: skip
    study = Study.load(mapping, home=home.root)
    (trial,) = study.trials()
    folder = home.trial(trial.identity)
    process = run_in_another_process(study)
    wait_until(lambda: list(folder.glob("*/checkpoint/step-*[1-9]0")), "a checkpoint")
    process.send_signal(signal.SIGKILL)
    process.wait()
    finish(study)
    assert len(attempts(folder)) == 2
    found = replay_trial(trial.identity, home.root)
    assert found.answer == "identical", found.text()
    assert found.comparison.metrics > 15
    assert found.comparison.scores == 4 * (40 + 20)


@pytest.mark.slow
def test_a_trial_of_two_ranks_is_replayed_with_two(home: Home, ray_session: object) -> None:
    mapping = quick_study(arm("a"), workload=RANKED, seeds=[0], resources={"ranks": 2, "cpus": 0.5})
    (ticket,) = tickets(Study.load(mapping, home=home.root))
    with Ranks() as launch:
        run_attempt(ticket, go_on, None, launch)
    found = replay_trial(ticket.identity, home.root)
    assert found.answer == "identical", found.text()
    assert found.comparison.rows > 9, "rows of both ranks, and their spread"


def test_a_trial_that_failed_before_its_first_row_is_not_called_identical(home: Home) -> None:
    study = one_trial(home, fault="raise", fault_step=1)
    (ticket,) = tickets(study)
    with pytest.raises(AttemptFailed):
        run_attempt(ticket, go_on)
    found = replay_trial(ticket.identity, home.root)
    assert (found.comparison.rows, found.comparison.final) == (0, 0)
    assert found.answer == "nothing_to_compare"
    assert found.exit_code == 0
    assert "identical" not in found.text()
    assert "nothing to compare" in found.text()
    assert "ended: " in found.text()


def test_a_home_that_cannot_be_written_is_replayed_elsewhere(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk's refusal is simulated: a test may run as a user that no permission binds."""
    import errno
    import tempfile

    (identity,) = finish(one_trial(home))
    make = tempfile.mkdtemp

    def refusing(*args: Any, **options: Any) -> str:
        if options.get("dir") == home.root:
            raise OSError(errno.EROFS, "Read-only file system")
        return str(make(*args, **options))

    monkeypatch.setattr(tempfile, "mkdtemp", refusing)
    assert replay_trial(identity, home.root).answer == "identical"
    assert "replaying in" in caplog.text
