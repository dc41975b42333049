"""`--detach`: what is started, and what a person is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from orchestrator.cli.options import print_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster import Place
    from cluster.slurm.records import JobRecord
    from orchestrator.run_words import RunOptions
    from orchestrator.study import Study

_NEXT = (
    ("watch", (), "how it stands, live"),
    ("status", (), "how it stands, once"),
    ("logs", ("-f",), "what the driver says"),
    ("cancel", (), "stop it; `orrery run` goes on"),
)


def run_detached(study: Study, place: Place, options: RunOptions, as_json: bool) -> int:
    """Starts the driver of a study so that it outlives this shell; gives the exit code."""
    from orchestrator.publishing import refuse_place

    study.home.writable()
    refuse_place(study.home.publishing_to(options.to))
    made = study.plan()
    study.maker.check(item.trial for item in made.to_run)
    if place.kind == "slurm-array":
        return _array(study, place, options, as_json)
    if place.kind == "slurm":
        return _head_job(study, place, options, as_json)
    return _process(study, place, options, as_json)


def _array(study: Study, place: Place, options: RunOptions, as_json: bool) -> int:
    from rich.console import Console

    from orchestrator.driving import driver_of, seat_text
    from orchestrator.errors import UsageError
    from orchestrator.submitting import submit_array

    if (seat := driver_of(study)) is not None:
        raise UsageError(
            f"{seat_text(seat)} drives this study already, and submits what is missing: orrery "
            "watch shows it."
        )
    records = submit_array(study, place, options, Console(stderr=True, highlight=False))
    if not as_json and not records:
        typer.echo(f"{study.instance}: nothing was submitted")
    return _submitted(study, records, as_json)


def _head_job(study: Study, place: Place, options: RunOptions, as_json: bool) -> int:
    from rich.console import Console

    from orchestrator.head_job import submit_head

    record = submit_head(study, place, options, Console(stderr=True, highlight=False))
    return _submitted(study, [record], as_json)


def _submitted(study: Study, records: Sequence[JobRecord], as_json: bool) -> int:
    """Tells which jobs go on by themselves."""
    after = afterwards(study)
    if as_json:
        jobs = [{"kind": r.kind, "id": r.id, "tasks": r.tasks} for r in records]
        told = {"study": study.instance, "started": bool(records), "jobs": jobs}
        print_json({**told, "commands": after})
        return 0
    for record in records:
        tasks = f", {record.tasks} tasks" if record.kind == "array" else ""
        typer.echo(f"{study.instance}: {record.kind} {record.id}{tasks}")
    _tell(after)
    return 0


def _process(study: Study, place: Place, options: RunOptions, as_json: bool) -> int:
    from orchestrator.detaching import EndedAtOnce, detach

    came = detach(study, place, options)
    if isinstance(came, EndedAtOnce):
        typer.echo(came.said, nl=False, err=True)
        if as_json:
            print_json({"study": study.instance, "started": False, "exit_code": came.exit_code})
        return came.exit_code
    after = afterwards(study)
    if as_json:
        print_json({**came.to_json(), "commands": after})
        return 0
    verb = "drives it now, and when this shell has closed" if came.started else "drives it already"
    typer.echo(f"{study.instance}: {came.driver} {verb}")
    typer.echo(f"log: {came.log}")
    _tell(after)
    return 0


def _tell(commands: Mapping[str, str]) -> None:
    for command, what in commands.items():
        typer.echo(f"  {command:<40} {what}")


def afterwards(study: Study) -> dict[str, str]:
    """The commands that one wants next, and what each is for."""
    import shlex

    from orchestrator.home import Home

    place = [] if study.home == Home.find() else ["--home", str(study.home.root)]
    return {
        shlex.join(["orrery", verb, study.name, *options, *place]): what
        for verb, options, what in _NEXT
    }
