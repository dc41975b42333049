"""submitit's executor for SLURM, which submits held and writes what a job needs afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from submitit.core.utils import DelayedSubmission, JobPaths
from submitit.slurm.slurm import SlurmExecutor

from cluster.slurm.commands import Slurm

SBATCH_TIMEOUT_S = 120
"""sbatch itself tries again for a while when the controller is busy."""

_NEVER = 10**9


class HeldExecutor(SlurmExecutor):  # type: ignore[misc]
    """Scripts, pickles and the worker's entry are submitit's; asking SLURM is ours, with a time
    limit and its own words, and without its registration of each task in a watcher."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder=folder, max_num_timeout=_NEVER)

    @classmethod
    def affinity(cls) -> int:
        """A script can be made where there is no SLURM."""
        return 2

    def script(self, tasks: int | None) -> str:
        """What sbatch is handed: an array of that many tasks, or a job."""
        self.parameters.pop("map_count", None)
        if tasks is not None:
            self.parameters["map_count"] = tasks
        return str(self._make_submission_file_text(self._submitit_command_str, ""))

    def submit_held(
        self,
        slurm: Slurm,
        function: Callable[..., Any],
        arguments: Sequence[Any],
        *,
        array: bool,
        without: Iterable[str],
        record: Callable[[str], None],
    ) -> str:
        """Submits a job, or an array of one task for each argument, and gives its id.

        `record` is called with the id as soon as there is one; pickles are written after it, under
        their final names: the job is held, so that no task looks for them before. `without`: see
        `Slurm.ask`. Raises `SlurmError`, `OSError`, and what `record` raises.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        script = self.folder / f".{uuid.uuid4().hex}.sh"
        script.write_text(self.script(len(arguments) if array else None))
        try:
            said = slurm.ask(["sbatch", str(script)], SBATCH_TIMEOUT_S, without)
            id = str(self._get_job_id_from_submission_command(said))
            record(id)
            script.rename(JobPaths(self.folder, f"{id}_0" if array else id).submission_file)
        finally:
            script.unlink(missing_ok=True)
        for index, argument in enumerate(arguments):
            delayed = DelayedSubmission(function, argument)
            # notices never count as timeouts, not before our own handlers are in place either
            delayed.set_timeout(_NEVER, _NEVER)
            job = f"{id}_{index}" if array else id
            delayed.dump(self.folder / f"{job}_submitted.pkl")
        return id
