"""`orrery cancel` where nobody drives the study any more, but SLURM's queue has its trials."""

from __future__ import annotations

from cluster.slurm.records import JobRecords
from orchestrator import cancelling
from orchestrator.attempts import attempts, claim_attempt
from orchestrator.cancellation import cancel_study
from orchestrator.ledger import read_trial
from orchestrator.plan_file import write_plan
from tests.orchestrator.array.conftest import Arrays
from tests.orchestrator.quick_study import wait_until


def silent(text: str) -> None:
    """Nobody reads the progress."""


def in_queue(arrays: Arrays) -> str:
    return arrays.slurm.command("squeue", "--noheader").strip()


def test_jobs_that_wait_are_taken_out_of_the_queue_by_one_command(arrays: Arrays) -> None:
    study = arrays.load()
    arrays.nothing_starts()
    arrays.submit(study)
    told = cancel_study(study.home, study.instance, silent)
    assert told.ended
    assert "jobs in the queue: 1" in told.found
    assert "scancel 1" in told.did
    assert arrays.slurm.count("scancel") == 1
    assert in_queue(arrays) == ""
    assert JobRecords(study.folder).open() == []
    again = cancel_study(study.home, study.instance, silent)
    assert again.did == ()
    assert {item.action for item in study.plan().trials} == {"run"}


def test_jobs_that_were_submitted_meanwhile_are_taken_out_too(arrays: Arrays) -> None:
    """By a driver that had not looked at the file yet, and has died since."""
    study = arrays.load()
    arrays.nothing_starts()
    write_plan(study, study.plan())
    first = study.plan().trials[0].trial.identity
    held = claim_attempt(study.home.trial(first), outcome_number=0, study=study.instance)

    def submits(text: str) -> None:
        if not JobRecords(study.folder).all():
            arrays.submit(study)
            held.finish("cancelled")

    told = cancel_study(study.home, study.instance, submits)
    assert told.ended, told.left
    assert "scancel 1" in told.did
    assert in_queue(arrays) == ""
    assert JobRecords(study.folder).open() == []


def test_trials_that_run_save_before_their_jobs_are_cancelled(arrays: Arrays) -> None:
    study = arrays.load(base={"steps": 3000, "step_s": 0.05})
    arrays.submit(study)
    identities = [item.trial.identity for item in study.plan().trials]

    def saving() -> bool:
        tries = [attempts(study.home.trial(identity)) for identity in identities]
        return all(t and any((t[0].folder / "checkpoint").glob("step-*")) for t in tries)

    wait_until(saving, "all trials have saved")
    told = cancel_study(study.home, study.instance, silent)
    assert told.ended, told.left
    for identity in identities:
        (attempt,) = attempts(study.home.trial(identity))
        end = attempt.end()
        assert end is not None
        assert (end.state, end.failure) == ("cancelled", None)
        assert read_trial(study.home, identity).has_checkpoint
    wait_until(lambda: in_queue(arrays) == "", "the queue is empty")
    assert cancelling.asked(study.folder)


def test_what_a_killed_submission_left_held_is_taken_out_though_no_record_tells_of_it(
    arrays: Arrays,
) -> None:
    """A head's, say, of a `run --detach` that was killed."""
    study = arrays.load(seeds=[0])
    arrays.nothing_starts()
    write_plan(study, study.plan())
    (study.folder / "jobs").mkdir()
    arrays.slurm.command(
        "sbatch",
        "--hold",
        f"--job-name=orrery-head-{study.instance}",
        f"--chdir={study.folder}",
        "--output=/dev/null",
        "--wrap=:",
    )
    told = cancel_study(study.home, study.instance, silent)
    assert told.did == ("scancel 1",)
    assert in_queue(arrays) == ""
