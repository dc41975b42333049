"""`orrery logs`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import AsJson, HomeFolder, Preset, Settings, known_study, print_json

if TYPE_CHECKING:
    from cluster.slurm.records import JobRecord
    from orchestrator.home import Home
    from orchestrator.log_reading import TrialLogs


def logs(
    name: Annotated[
        str,
        typer.Argument(
            metavar="TRIAL|STUDY", help="A trial, as orrery trace takes it; or a study: its driver."
        ),
    ],
    settings: Settings = None,
    preset: Preset = None,
    home: HomeFolder = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on as it grows, until the trial has ended.")
    ] = False,
    rank: Annotated[int, typer.Option("--rank", min=0, metavar="N", help="Of that rank.")] = 0,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", min=0, metavar="K", help="Of that attempt \\[the newest]."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What a trial prints, or what the detached driver of a study says. Ctrl-C leaves it alone."""
    from orchestrator.errors import UsageError

    if follow and as_json:
        raise UsageError("-f and --json do not go together: leave one out.")
    try:
        trial = _trial(name, home)
        if trial is None:
            _driver(name, settings, preset, home, follow, as_json)
        else:
            place, identity = trial
            _attempt(_trial_logs(place, identity, rank), attempt, follow, as_json)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _trial(name: str, home: Path | None) -> tuple[Home, str] | None:
    """The trial of that name; None if it names a study. Raises `UsageError` if it is neither."""
    from orchestrator.errors import UsageError
    from orchestrator.home import Home
    from orchestrator.study import Study, shipped_studies
    from orchestrator.tracing import find_trial

    place = Home.find(home)
    if name.endswith((".yaml", ".yml")) or name in shipped_studies():
        return None
    if Study.last_run(name, home=home) is not None:
        return None
    try:
        return place, find_trial(place, name, planned=True)
    except UsageError as error:
        raise UsageError(f"{error} A study of that name has not been run here either.") from error


def _trial_logs(place: Home, identity: str, rank: int) -> TrialLogs:
    from orchestrator.jobs_shown import Workers
    from orchestrator.log_reading import TrialLogs
    from orchestrator.tracing import studies_of

    return TrialLogs(place, identity, Workers(studies_of(place, identity)), rank)


def _attempt(trial: TrialLogs, number: int | None, follow: bool, as_json: bool) -> None:
    if follow:
        trial.follow(number, _tell, _say)
        return
    chosen = trial.attempt(number)
    path = trial.path(chosen) if chosen is not None else None
    there = path is not None and path.exists()
    if as_json:
        print_json(
            {
                "trial": trial.identity,
                "state": trial.state,
                "attempt": chosen.number if chosen is not None else None,
                "rank": trial.rank,
                "path": str(path) if there else None,
                "text": path.read_text(errors="replace") if path is not None and there else None,
            }
        )
    elif path is not None and there:
        _print_file(path)
    elif chosen is None:
        _say(f"{trial.identity[:8]}: {trial.state}: no attempt has begun")
    else:
        _say(f"{trial.identity[:8]}: {trial.state}: attempt {chosen.number} has no log")


def _driver(
    name: str,
    settings: list[str] | None,
    preset: str | None,
    home: Path | None,
    follow: bool,
    as_json: bool,
) -> None:
    from orchestrator.driving import driver_of, seat_text
    from orchestrator.log_files import driver_log
    from orchestrator.log_reading import follow_driver

    study = known_study(name, settings, preset, home)
    path, seat = driver_log(study.folder), driver_of(study)
    if as_json:
        text = path.read_text(errors="replace") if path.exists() else None
        driver = seat_text(seat) if seat is not None else None
        print_json({"study": study.instance, "driver": driver, "path": str(path), "text": text})
    elif not path.exists() and (sent := _sent_elsewhere(study.folder)) is not None:
        _ray_log(sent, follow)
    elif not path.exists():
        who = f"{seat_text(seat)} drives it, in a shell" if seat else "nobody drives it"
        _say(f"{study.instance}: no log of a detached driver: {who}")
    elif follow:
        follow_driver(study.folder, path, _tell)
    else:
        _print_file(path)


def _sent_elsewhere(study_folder: Path) -> JobRecord | None:
    """The job of a Ray cluster in which the study's driver runs, or ran last."""
    from cluster.slurm.records import JobRecords

    sent = [record for record in JobRecords(study_folder).all() if record.kind == "ray-job"]
    return sent[-1] if sent else None


def _ray_log(sent: JobRecord, follow: bool) -> None:
    """What the cluster has of a driver's words, up to its end with `follow`."""
    import time

    from cluster import ClusterError
    from cluster.ray_jobs import RayJobs
    from orchestrator.errors import UsageError
    from orchestrator.log_reading import LOOK_EVERY_S

    jobs, shown = RayJobs(sent.address or ""), 0
    try:
        while True:
            over = not follow or jobs.job(sent.id).ended
            log = jobs.log(sent.id)
            _tell(log[shown:].encode())
            shown = len(log)
            if over:
                return
            time.sleep(LOOK_EVERY_S)
    except ClusterError as error:
        raise UsageError(str(error)) from error


def _print_file(path: Path) -> None:
    from orchestrator.log_reading import GrowingFile

    for chunk in GrowingFile(path).read():
        _tell(chunk)


def _tell(chunk: bytes) -> None:
    typer.echo(chunk, nl=False)


def _say(line: str) -> None:
    typer.echo(line, err=True)
