"""What MLflow's pages show of a study without set-up: a saved view of its table, links in its note.

A saved view is a tag of the experiment (MLflow 3.17: ``mlflow.sharedViewState.<id>``, as its page
writes it under Views): the state of the table as JSON, text within JSON.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from telemetry.runs import Overview, StudyRun
from telemetry.sinks import mlflow_names as names

VIEW_ID = "orrery"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW_ID}"
VIEW_NAME = "Orrery"
MOST_LINKED = 25
MACHINE_LEARNING = "workflowType=machine_learning"
"""Keeps a page that is opened by its address out of the GenAI pages."""


def view(overview: Overview, parent: str) -> str:
    """The tag's value: columns for measures, states and factors, the runs under their `parent`."""
    columns = [
        *(f"metrics.`{names.key(measure)}`" for measure in overview.measures),
        "tags.`state`",
        "tags.`verdict`",
        *(f"tags.`{names.key(names.factor_tag(name))}`" for name in overview.factors),
        "attributes.`Duration`",
    ]
    shown = {
        "searchFilter": "",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "runsExpanded": {parent: True},
    }
    named = {"name": VIEW_NAME, "createdAt": 0, "updatedAt": 0, "state": json.dumps(shown)}
    return json.dumps(named)


def state_of_view(tag: str) -> str | None:
    """The table's state in a saved view that `view` has made; None for anything else."""
    try:
        state = json.loads(tag)["state"]
        json.loads(state)
    except (ValueError, KeyError, TypeError):
        return None
    return str(state)


def study_page(experiment_id: str, *, shared: bool) -> str:
    """The path of the page that has the runs of a study; `shared`: by its saved view."""
    view = f"viewStateShareKey={VIEW_ID}&" if shared else ""
    return f"#/experiments/{experiment_id}/runs?{view}{MACHINE_LEARNING}"


def run_page(experiment_id: str, run_id: str) -> str:
    """The path of a run's page."""
    return f"#/experiments/{experiment_id}/runs/{run_id}"


def linked_note(study: StudyRun, experiment_id: str, run_id: str) -> str:
    """The study's note with links to its report's files and to the runs of each arm.

    They stand at its end, and are left out where MLflow would cut the note.
    """
    note = study.note
    if not note:
        return note
    page = run_page(experiment_id, run_id)
    files = [
        f"[{name}]({page}/artifacts/{quote(name)}?{MACHINE_LEARNING})"
        for name in study.overview.files
    ]
    arms = [
        f"[{_plain(arm)}]({_runs_of_arm(study, arm, experiment_id)})"
        for arm in study.overview.arms[:MOST_LINKED]
    ]
    if (more := len(study.overview.arms) - MOST_LINKED) > 0:
        arms.append(f"and {more} more")
    for title, links in (("Report", files), ("Runs by arm", arms)):
        longer = f"{note}\n\n**{title}.** {' · '.join(links)}"
        if links and len(longer) <= names.TAG_CHARACTERS:
            note = longer
    return note


def _runs_of_arm(study: StudyRun, arm: str, experiment_id: str) -> str:
    quoted = names.value(arm, names.TAG_CHARACTERS).replace("'", "")
    wanted = f"tags.arm = '{quoted}' and tags.`{names.INSTANCE_TAG}` = '{study.instance}'"
    order = f"metrics.`{names.key(study.overview.measures[0])}`" if study.overview.measures else ""
    ordered = f"&orderByKey={quote(order, safe='')}" if order else ""
    return (
        f"#/experiments/{experiment_id}/runs?searchFilter={quote(wanted, safe='')}{ordered}"
        f"&{MACHINE_LEARNING}"
    )


def _plain(text: str) -> str:
    return text.replace("[", "(").replace("]", ")")
