"""Commands that look and run no trial: list, plan, status, trace, schema.

`status` also brings MLflow to the state of the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import (
    AsJson,
    HomeFolder,
    On,
    Preset,
    Settings,
    StudyName,
    known_study,
    load_study,
    print_json,
)

if TYPE_CHECKING:
    from orchestrator.planning import Plan
    from orchestrator.study import Study


def list_studies(as_json: AsJson = False) -> None:
    """Shipped studies and registered workloads."""
    from orchestrator.catalogue import catalogue

    entries = catalogue()
    if as_json:
        print_json(entries)
        return
    from orchestrator.cli.wrapping import labelled

    width = 2 + max(len(entry["name"]) for several in entries.values() for entry in several)
    typer.echo("Studies (orrery run STUDY):")
    for entry in entries["studies"]:
        typer.echo(labelled(f"  {entry['name']}", width, entry["question"]))
        if entry["presets"]:
            typer.echo(labelled("", width, f"presets: {', '.join(entry['presets'])}"))
    typer.echo("Workloads:")
    for entry in entries["workloads"]:
        typer.echo(labelled(f"  {entry['name']}", width, entry["source"]))


def plan(
    study: StudyName,
    settings: Settings = None,
    preset: Preset = None,
    home: HomeFolder = None,
    on: On = "local",
    as_json: AsJson = False,
) -> None:
    """What would run: arms, trials, what is known already, resources, what can be resolved.

    With --on slurm or slurm-array also the scripts that would be submitted.
    """
    from orchestrator.running import place_of_run

    place = place_of_run(on)
    chosen = load_study(study, settings, preset, home)
    made = chosen.plan()
    chosen.maker.check(item.trial for item in made.to_run)
    jobs = None
    if place.kind in ("slurm", "slurm-array"):
        from orchestrator.array.refusal import refuse_array
        from orchestrator.planned_jobs import planned_jobs

        refuse_array(chosen, place)
        jobs = planned_jobs(chosen, made, place)
    if as_json:
        print_json({**_plan_json(chosen, made), "jobs": jobs.to_json() if jobs else None})
        return
    from orchestrator.cli.plan_text import print_plan

    print_plan(chosen, made, place)
    if jobs is not None:
        typer.echo(jobs.text())


def status(
    study: StudyName,
    settings: Settings = None,
    preset: Preset = None,
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """How far a study is: every trial with its state, attempts and failure."""
    from orchestrator.cli.status_text import print_status, status_json

    chosen = known_study(study, settings, preset, home)
    made = chosen.plan()
    publish_what_is_left(chosen, made)
    if as_json:
        print_json(status_json(chosen, made))
    else:
        print_status(chosen, made)


def trace(
    trial: Annotated[
        str, typer.Argument(help="Its id, the start of it, its label, or 'ARM seed N'.")
    ],
    home: HomeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Why a trial failed, and the one command that reproduces it."""
    from orchestrator.tracing import trace_trial

    told = trace_trial(trial, home)
    if as_json:
        print_json(told.to_json())
    else:
        typer.echo(told.text())


def schema(
    workload: Annotated[
        str | None, typer.Argument(help="A workload: prints the schema of its configuration.")
    ] = None,
) -> None:
    """The JSON schema of a study file, or of a workload's configuration."""
    from orchestrator.study import workload_named
    from orchestrator.study_file import StudyFile

    if workload is None:
        print_json(StudyFile.model_json_schema())
    else:
        print_json(workload_named(workload).Config.model_json_schema())


def publish_what_is_left(study: Study, made: Plan) -> None:
    """What a driver that died has not published, or job arrays have done without one; a study that
    runs is left to its driver, and one that was told where to publish (`--to`) to the next run."""
    from orchestrator.driving import driver_of
    from orchestrator.plan_file import was_published_elsewhere
    from orchestrator.publishing import publish, state_of
    from orchestrator.reporting import saved_report

    states = {item.record.state for item in made.trials}
    if states == {"planned"} or was_published_elsewhere(study.folder):
        return
    by_others = any(i.record.state == "running" and i.job is None for i in made.trials)
    if by_others or ("running" in states and driver_of(study) is not None):
        return
    saved = saved_report(study, made)
    try:
        publish(
            study,
            made,
            saved.verdict if saved else None,
            state_of(made),
            saved.folder if saved else None,
            findings=saved.findings if saved else None,
        )
    except OSError as error:
        typer.echo(f"note: could not publish what is left: {error}", err=True)


def _plan_json(study: Study, made: Plan) -> dict[str, Any]:
    from orchestrator.cli.points_text import curves_json, points_json
    from orchestrator.earlier import damaged_plan_notes
    from orchestrator.rule_hash import rule_hash

    return {
        "study": study.instance,
        "question": study.file.question,
        "rule": rule_hash(study.file),
        "arms": [
            {"name": arm.name, "role": arm.role, "overrides": dict(arm.overrides)}
            for arm in made.arms
        ],
        "trials": [
            {
                "id": item.trial.identity,
                "arm": item.trial.arm,
                "replicate": item.trial.replicate,
                "state": item.state,
                "seed": item.trial.seed,
                "label": item.trial.label,
                "action": item.action,
                "why": item.why,
            }
            for item in made.trials
        ],
        "known": made.known,
        "to_run": len(made.to_run) + made.proposals_left,
        "known_under_other_code": made.other_code,
        "notes": [*made.notes, *damaged_plan_notes(study)],
        "points": points_json(made),
        "curves": curves_json(study),
    }
