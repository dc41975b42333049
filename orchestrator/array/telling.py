"""What the driver of an array tells its user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cluster.slurm.queue import JobView
from cluster.slurm.records import JobRecord
from orchestrator.array.followed import Blind, FollowedTask
from orchestrator.counted import counted
from orchestrator.publishing import reproduce_command

if TYPE_CHECKING:
    from rich.console import Console

    from cluster import Place
    from orchestrator.study import Study


class Telling:
    """Lines about one study's arrays; what stays true is told once."""

    def __init__(self, study: Study, place: Place, console: Console) -> None:
        self._study, self._console = study, console
        self.again = f"{reproduce_command(study)} --on {place}"
        """The command that attaches to the study again."""
        self._told_of_no_room = False
        self._told_of_held: set[str] = set()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def submitted(self, records: Sequence[JobRecord], waiting: int) -> None:
        arrays = ", ".join(f"{record.id}_[0-{record.tasks - 1}]" for record in records)
        more = f"; no room in the queue yet for {counted(waiting, 'trial')}" if waiting else ""
        self.say(f"submitted {sum(record.tasks for record in records)} tasks as {arrays}{more}")

    def no_room(self, waiting: int) -> None:
        """Where nothing of this study is in the queue, so that nothing else is told."""
        if not self._told_of_no_room:
            self._told_of_no_room = True
            self.say(
                f"no room in SLURM's queue for {counted(waiting, 'trial')}: other jobs of yours "
                "take all that you may have there (MaxSubmitJobs, slurm.max_submit); tried again"
            )

    def held(self, views: Iterable[JobView]) -> None:
        """Each once: SLURM holds a job that it could not start, and it would wait for ever."""
        for view in views:
            if view.is_held and view.id not in self._told_of_held:
                self._told_of_held.add(view.id)
                self.say(
                    f"job {view.id} is held in the queue ({view.why or view.said}) and won't start "
                    f"until somebody says: scontrol release {view.id}"
                )

    def goes_on(self, tasks: Iterable[FollowedTask]) -> None:
        """The driver leaves, its jobs stay."""
        states = Counter(task.view.state for task in tasks)
        there = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        self.say(
            f"The jobs go on ({there or 'none is left'}). Look: orrery status {self._study.name}. "
            f"Attach again: {self.again}. End them: orrery cancel {self._study.name}"
        )

    def blind_text(self, blind: Blind) -> str:
        """One line for a home that is not seen where the tasks ran."""
        task, view = blind.task, blind.view
        nodes = " and ".join(f"'{node}'" for node in blind.nodes)
        where = f"node {nodes}" if len(blind.nodes) == 1 else f"nodes {nodes}"
        ended = f" ({view.ended_as})" if view.ended_as else ""
        return (
            f"Job {task.job} ended{ended} and never started its work, as did every other that ran: "
            f"{where if nodes else 'its node'} probably can't see the home "
            f"'{self._study.home.root}', which has to be on a file system that every node shares. "
            f"The other jobs were cancelled. What it said, if anything: {task.log}"
        )
