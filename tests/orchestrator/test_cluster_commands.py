"""`plan`, `doctor`, `status` and `watch` for SLURM, with the stand-in for its commands."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cluster.slurm.records import JobKind, JobRecord, JobRecords
from orchestrator import Study, queue_views
from orchestrator.home import Home
from orchestrator.jobs_shown import JobsWatch, Workers, jobs_of
from orchestrator.plan_file import write_plan
from orchestrator.watching import Watcher
from tests.cluster.stand_in.controller import SlurmStandIn
from tests.orchestrator.quick_study import finish, quick_study, write_study
from tests.orchestrator.test_commands import said

__all__ = ["said"]  # the fixture


@pytest.fixture(autouse=True)
def _nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the queue of the test before has said is forgotten, and nothing is kept for long."""
    monkeypatch.setattr(queue_views, "_seen", {})


@pytest.fixture
def study(tmp_path: Path, home: Home) -> Study:
    """Of 12 trials, planned in its home."""
    mapping = quick_study(seeds=list(range(6)))
    made = Study.load(write_study(tmp_path, mapping), home=home.root)
    write_plan(made, made.plan())
    return made


def file_of(study: Study) -> str:
    assert study.source is not None
    return study.source


# -- plan -----------------------------------------------------------------------------------------


def test_plan_on_an_array_prints_script_and_ranges_and_submits_nothing(
    said: Any, study: Study, slurm_stand_in: SlurmStandIn
) -> None:
    slurm_stand_in.max_array_size = 5
    words = ("-s", "slurm.time=00:20:00", "-s", "slurm.trials_per_task=2")
    code, out, _ = said("plan", file_of(study), "--on", "slurm-array", *words)
    assert code == 0
    assert "6 array tasks, 2 trials each" in out
    assert "#SBATCH --time=00:20:00" in out
    assert "#SBATCH --array=0-4" in out
    assert "#SBATCH --array=0-0" in out
    assert "slurm.time = 00:20:00  (from the study)" in out
    assert "as many at once as 'slurm-array' has room for" in out
    assert slurm_stand_in.count("sbatch") == 0


def test_plan_on_pilots_says_how_many_and_how_big(
    said: Any, study: Study, slurm_stand_in: SlurmStandIn
) -> None:
    words = ("-s", "slurm.pilots=3", "-s", "resources.cpus=2")
    code, out, _ = said("plan", file_of(study), "--on", "slurm", *words, "--json")
    jobs = json.loads(out)["jobs"]
    assert code == 0
    assert (jobs["jobs"], jobs["arrays"], len(jobs["scripts"])) == (3, [], 1)
    assert "--cpus-per-task=2" in jobs["scripts"][0]
    assert "up to 3 pilot jobs, each of 2 CPUs" in jobs["about"]


def test_plan_says_which_setting_comes_from_where(
    said: Any, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = tmp_path / "clusters.yaml"
    profiles.write_text("mine: {partition: big, time: 02:00:00, account: lab}\n")
    monkeypatch.setenv("ORRERY_CLUSTERS", str(profiles))
    monkeypatch.setenv("PATH", str(tmp_path))  # no SLURM
    words = ("--on", "slurm-array:mine", "-s", "slurm.time=01:00:00", "--json")
    code, out, _ = said("plan", file_of(study), *words)
    jobs = json.loads(out)["jobs"]
    assert code == 0
    settings = {each["name"]: (each["value"], each["from"]) for each in jobs["settings"]}
    assert settings["time"] == ("01:00:00", "the study")
    assert settings["partition"] == ("big", f"profile 'mine' in {profiles}")
    assert "no SLURM here" in jobs["limits"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--on", "slurm-array", "-s", "slurm.partition=nosuch"], "'nosuch' does not exist"),
        (["--on", "slurm:nosuch"], "profile"),
        (["--on", "nowhere"], "no such place"),
        (["--on", "slurm", "-s", "slurm.extra.array=1"], "slurm.extra.array"),
        (["--on", "slurm", "-s", "slurm.time=1:00:00"], "put the time in quotes"),
    ],
)
def test_what_slurm_would_refuse_is_one_line(
    said: Any, study: Study, slurm_stand_in: SlurmStandIn, words: list[str], told: str
) -> None:
    code, _, err = said("plan", file_of(study), *words)
    assert code == 2
    assert told in err
    assert len(err.splitlines()) == 1


def test_plan_of_a_study_that_is_done_submits_nothing(
    said: Any, study: Study, slurm_stand_in: SlurmStandIn
) -> None:
    finish(study)
    code, out, _ = said("plan", file_of(study), "--on", "slurm-array", "--json")
    assert (code, json.loads(out)["jobs"]) == (0, None)


# -- doctor ---------------------------------------------------------------------------------------


def test_doctor_tells_what_slurm_has(said: Any, home: Home, slurm_stand_in: SlurmStandIn) -> None:
    code, out, _ = said("doctor", "--on", "slurm", "--json")
    found = {each["what"]: each for each in json.loads(out)}
    assert code == 0
    assert found["SLURM"]["ok"]
    assert "'main'" in found["partition"]["found"]
    assert str(home.root) in found["home"]["found"]


def test_doctor_without_slurm_says_so(
    said: Any, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, _ = said("doctor", "--on", "slurm")
    assert code == 1
    assert "No SLURM here" in out


# -- status and watch -----------------------------------------------------------------------------


def recorded(study: Study, id: str, kind: JobKind = "array", tasks: int = 1) -> None:
    JobRecords(study.folder).add(
        JobRecord(
            id=id,
            kind=kind,
            name=study.instance,
            submitted_at_s=time.time(),
            host="login",
            tasks=tasks,
            ready_at_s=time.time(),
        )
    )


def submitted(study: Study, *options: str, seconds: int = 600) -> str:
    """A job that sleeps; its id."""
    from cluster.slurm.commands import Slurm

    study.folder.mkdir(parents=True, exist_ok=True)
    script = study.folder / "sleep.sh"
    script.write_text(f"#!/bin/bash\nexec sleep {seconds}\n")
    own = [f"--job-name={study.instance}", "--output=/dev/null"]
    return Slurm.find().ask(["sbatch", *own, *options, str(script)]).split()[-1]


def test_status_shows_open_jobs_by_one_question(
    said: Any, study: Study, slurm_stand_in: SlurmStandIn
) -> None:
    array = submitted(study, "--array=0-5")
    pilot = submitted(study, "--hold")
    recorded(study, array, tasks=6)
    recorded(study, pilot, kind="pilot")
    deadline = time.monotonic() + 30
    while len(slurm_stand_in.running()) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    before = slurm_stand_in.count("squeue")
    code, out, _ = said("status", file_of(study))
    assert code == 0
    assert slurm_stand_in.count("squeue") == before + 1
    assert f"array {array}: 4 running, 2 queued: PENDING" in out
    assert "on s1, s2" in out
    assert f"pilot {pilot}: queued: PENDING" in out
    jobs = json.loads(said("status", file_of(study), "--json")[1])["jobs"]
    assert [(job["kind"], job["id"]) for job in jobs] == [("array", array), ("pilot", pilot)]
    assert Workers([study.folder]).there()


def test_jobs_that_the_queue_says_have_ended_are_asked_for_no_more(
    study: Study, slurm_stand_in: SlurmStandIn
) -> None:
    id = submitted(study, seconds=0)
    recorded(study, id, kind="pilot")
    deadline = time.monotonic() + 30
    while jobs_of(study.folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert JobRecords(study.folder).open() == []
    asked = len(slurm_stand_in.calls)
    assert jobs_of(study.folder) == ()
    assert len(slurm_stand_in.calls) == asked


def test_a_queue_that_does_not_answer_makes_a_job_unknown_and_nothing_else(
    study: Study, slurm_stand_in: SlurmStandIn
) -> None:
    recorded(study, submitted(study), kind="pilot")
    for name in ("squeue", "sacct", "scontrol"):
        slurm_stand_in.failing[name] = "Unable to contact slurm controller"
    (job,) = jobs_of(study.folder)
    assert dict(job.states) == {"unknown": 1}
    assert "unknown" in job.text
    assert len(JobRecords(study.folder).open()) == 1


def test_without_open_jobs_nobody_is_asked(
    said: Any, study: Study, slurm_stand_in: SlurmStandIn
) -> None:
    assert said("status", file_of(study))[0] == 0
    assert slurm_stand_in.calls == []


def test_a_study_whose_array_is_in_the_queue_runs_without_a_driver(
    study: Study, slurm_stand_in: SlurmStandIn
) -> None:
    recorded(study, submitted(study, "--hold", "--array=0-0"))
    frame = Watcher(study).look(whole=True)
    assert (frame.state, frame.driver, len(frame.jobs)) == ("running", None, 1)
    assert frame.to_json()["jobs"][0]["kind"] == "array"


def test_watching_asks_the_queue_now_and_then(study: Study, slurm_stand_in: SlurmStandIn) -> None:
    recorded(study, submitted(study, "--hold", "--array=0-0"))
    watch = JobsWatch(study.folder)
    assert len(watch.look()) == 1
    asked = slurm_stand_in.count("squeue")
    for _ in range(20):
        watch.look()
    assert slurm_stand_in.count("squeue") == asked


def test_a_planned_study_says_of_slurm_only_what_its_user_said(home: Home) -> None:
    study = Study.load(quick_study(slurm={"time": "00:30:00"}), home=home.root)
    write_plan(study, study.plan())
    again = Study.last_run(study.name, home=home.root)  # what a job that drives the study reads
    assert again is not None
    assert again.file.slurm.model_fields_set == {"time"}
