"""What a run on SLURM would submit, told without submitting anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from cluster import NodeSize, Place
    from cluster.slurm.limits import ClusterLimits
    from cluster.slurm.settings import SlurmSettings
    from cluster.slurm.submission import Submission
    from cluster.sources import Sources
    from orchestrator.planning import Plan
    from orchestrator.study import Study


@dataclass(frozen=True)
class PlannedJobs:
    """The jobs of a run. `scripts` are what sbatch would be given, one a call or the first of equal
    ones; `arrays` the index ranges, empty for pilots."""

    place: str
    jobs: int
    """Jobs, or tasks of arrays."""
    about: str
    """How many, and what each of them takes and runs."""
    scripts: tuple[str, ...]
    arrays: tuple[str, ...]
    settings: tuple[tuple[str, Any, str], ...]
    """Name, value, and where it comes from, of each setting that somebody has said."""
    limits: str
    """By whose limits arrays were cut."""

    def to_json(self) -> dict[str, Any]:
        return {
            "place": self.place,
            "jobs": self.jobs,
            "about": self.about,
            "scripts": list(self.scripts),
            "arrays": list(self.arrays),
            "settings": [
                {"name": name, "value": value, "from": source}
                for name, value, source in self.settings
            ],
            "limits": self.limits,
        }

    def text(self) -> str:
        """For a person: the settings with their sources, then each script whole."""
        lines = [self.about]
        if self.arrays:
            lines.append(f"arrays: {', '.join(self.arrays)} ({self.limits})")
        lines += [
            f"slurm.{name} = {value}  (from {source})" for name, value, source in self.settings
        ]
        for number, script in enumerate(self.scripts, 1):
            of = f"{number} of {len(self.scripts)}" if self.arrays else "of each job"
            lines += ["", f"--- script {of}", script.rstrip()]
        return "\n".join(lines)


def planned_jobs(study: Study, plan: Plan, place: Place) -> PlannedJobs | None:
    """What `orrery run --on slurm…` would submit now; None if nothing is to run.

    Needs no SLURM; where there is one, its limits count and a partition that it does not have is
    refused. Raises `UsageError`.
    """
    from cluster.contract import ClusterError

    trials = len(plan.to_run) + plan.proposals_left
    if not trials:
        return None
    try:
        return _planned(study, trials, place)
    except ClusterError as error:
        raise UsageError(str(error)) from error


def _planned(study: Study, trials: int, place: Place) -> PlannedJobs:
    from cluster.slurm.profiles import settings_for
    from cluster.slurm.submission import preview

    settings = settings_for(place.detail, study.file.slurm)
    limits, whose = _limits(settings)
    made = _array if place.kind == "slurm-array" else _pilots
    submission, about = made(study, settings, trials)
    shown = preview(submission, limits)
    return PlannedJobs(
        place=str(place),
        jobs=len(submission.arguments),
        about=about,
        scripts=tuple(shown.scripts),
        arrays=tuple(shown.arrays),
        settings=tuple(_said(settings, study.file.slurm, place)),
        limits=whose,
    )


def _array(study: Study, settings: SlurmSettings, trials: int) -> tuple[Submission, str]:
    from orchestrator.array.outbox import array_submission

    each = settings.trials_per_task
    tasks = -(-trials // each)
    files = [f"<task {number}>" for number in range(tasks)]
    at_once = settings.at_once or study.file.resources.max_concurrent
    about = f"{tasks} array tasks, {each} trial{'s' if each > 1 else ''} each"
    about += f", at most {at_once} at once" if at_once else ""
    return array_submission(study, settings, files, _sources(study)), about


def _pilots(study: Study, settings: SlurmSettings, trials: int) -> tuple[Submission, str]:
    from cluster.contract import ClusterRequest
    from cluster.slurm.pilot_size import full_fleet, pilot_size, pilots_for
    from cluster.slurm.tending import pilot_submission

    resources = study.file.resources
    size = pilot_size(resources.trial_size, settings, _largest_node(settings))
    request = ClusterRequest(
        study=study.instance,
        home=study.home.root,
        folder=study.folder,
        trial=resources.trial_size,
        trials=trials,
        max_concurrent=resources.max_concurrent,
        slurm=settings,
    )
    full_fleet(size, request)  # refuses what no trial fits on
    pilots = pilots_for(trials, size, request)
    room = f"{size.ranks} rank{'s' if size.ranks > 1 else ''} of a trial"
    about = (
        f"up to {pilots} pilot jobs, each of {size.cpus} CPUs and {size.gpus} GPUs with room for "
        f"{room}; more are asked for as these end while work remains"
    )
    head = study.folder / "head"
    submission = pilot_submission(
        request, size, _sources(study), "<the head's address>", head / "<token>", pilots
    )
    return submission, about


def _largest_node(settings: SlurmSettings) -> NodeSize | None:
    from cluster.contract import ClusterError
    from cluster.slurm.commands import Slurm
    from cluster.slurm.pilot_size import largest_node

    try:
        return largest_node(Slurm.find(), settings)
    except ClusterError:
        return None


def _sources(study: Study) -> Sources:
    """Stands for the copy that a submission makes of the sources."""
    from cluster.sources import Sources

    return Sources("<digest>", study.home.root / "sources" / "<digest>")


def _limits(settings: SlurmSettings) -> tuple[ClusterLimits, str]:
    from cluster.contract import ClusterError
    from cluster.slurm.check import refuse_wrong
    from cluster.slurm.commands import Slurm, SlurmError
    from cluster.slurm.limits import ClusterLimits

    try:
        slurm = Slurm.find()
    except ClusterError:
        return ClusterLimits(), "by SLURM's default limits: there is no SLURM here to ask"
    try:
        refuse_wrong(settings)
        return slurm.settings_of_cluster(), "by this cluster's limits"
    except SlurmError as error:
        return ClusterLimits(), f"by SLURM's default limits: {_first(error)}"


def _first(error: Exception) -> str:
    """What it says first."""
    return str(error).partition(";")[0]


def _said(
    settings: SlurmSettings, of_study: SlurmSettings, place: Place
) -> list[tuple[str, Any, str]]:
    from cluster.slurm.profiles import DEFAULT, profiles_file

    profile = f"profile '{place.detail or DEFAULT}' in {profiles_file()}"
    return [
        (
            name,
            getattr(settings, name),
            "the study" if name in of_study.model_fields_set else profile,
        )
        for name in type(settings).model_fields
        if name in settings.model_fields_set
    ]
