"""What cannot run as a job array."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from cluster import Place
    from orchestrator.study import Study


def refuse_array(study: Study, place: Place) -> None:
    """Raises `UsageError` for a search on an array, whose proposals learn from results, and for
    ranks that do not lie evenly on their nodes."""
    if place.kind != "slurm-array":
        return
    ranks, nodes = study.file.resources.ranks, study.file.slurm.nodes_per_task
    if ranks % nodes:
        raise UsageError(
            f"{ranks} ranks cannot lie evenly on slurm.nodes_per_task={nodes} nodes: give another "
            "number of ranks (resources.ranks) or nodes."
        )
    if study.searching is not None:
        raise UsageError(
            f"'{study.name}' is a search: each proposal learns from the results before it, and an "
            "array is submitted as a whole. Use --on slurm."
        )
