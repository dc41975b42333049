"""What a user says of their SLURM: in a study file's `slurm:`, in a profile, or by `-s slurm.…`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

_TIME = re.compile(r"(?:(?P<d>\d+)-)?(?P<a>\d+)(?::(?P<b>\d+))?(?::(?P<c>\d+))?\Z")
_MEMORY = re.compile(r"\d+(?:\.\d+)?[KMGT]?\Z")


class SlurmSettings(BaseModel):
    """Where jobs go and what they ask for. Never part of a trial's identity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    partition: str | None = None
    """Where jobs queue. Default: the cluster's own."""
    account: str | None = None
    """Who is charged. Default: the user's own."""
    qos: str | None = None
    """Quality of service. Default: the user's own."""
    constraint: str | None = None
    """Features that nodes must have, e.g. `a100|h100`."""
    gres: str | None = None
    """Generic resources of a job, e.g. `gpu:a100:2`. Default: what the trials on it take."""
    exclude: str | None = None
    """Nodes not to be used, e.g. `n[3-5]`."""
    mem: str | None = None
    """Memory of a job, e.g. `16G`. Default: what the trials on it reserve, else the cluster's."""
    time: str = "01:00:00"
    """Time limit of a job, as sbatch takes it: minutes, H:MM:SS or D-HH:MM:SS. Work that needs
    longer goes on in the next job."""
    signal_s: Annotated[int, Field(ge=5)] = 90
    """How long before its time limit a job is told to save and leave."""
    requeue: bool = True
    """Whether a preempted job goes back into the queue."""
    setup: list[str] = []
    """Shell lines that a job runs first, e.g. `module load cuda`."""
    extra: dict[str, str | int | bool] = {}
    """Further options of sbatch, e.g. `{reservation: friday, exclusive: true}`."""

    pilots: Annotated[int, Field(ge=1)] | None = None
    """`--on slurm`: at most so many pilot jobs at once. Default: as many as the trials fill, at
    most 16."""
    trials_per_pilot: Annotated[int, Field(ge=1)] = 1
    """`--on slurm`: how many trials a pilot has room for at once. Its job asks for the CPUs, GPUs
    and memory of that many, with all their ranks, or of as many as a node can hold."""
    ranks_per_pilot: Annotated[int, Field(ge=1)] | None = None
    """`--on slurm`: how many ranks of one trial a pilot has room for. Default: all of them, or as
    many as a node can hold. With fewer than all, the ranks of a trial lie on several pilots, and it
    starts once there are enough of these."""
    head_address: str | None = None
    """Address of this host that nodes reach. Default: found by asking the way to the controller."""
    slow_network: Annotated[float, Field(ge=1)] = 1.0
    """Multiplies every limit after which a silent node counts as lost."""

    trials_per_task: Annotated[int, Field(ge=1)] = 1
    """`--on slurm-array`: how many trials an array task runs, one after the other."""
    nodes_per_task: Annotated[int, Field(ge=1)] = 1
    """`--on slurm-array`: on how many nodes the ranks of a task lie, as many on each."""
    at_once: Annotated[int, Field(ge=1)] | None = None
    """`--on slurm-array`: at most so many tasks run at once (the `%` of sbatch)."""
    max_submit: Annotated[int, Field(ge=1)] | None = None
    """At most so many jobs and array tasks in the queue. Default: what the cluster says."""

    @field_validator("time", mode="before")
    @classmethod
    def _is_no_number(cls, given: object) -> object:
        if isinstance(given, int | float):  # minutes, or hours and minutes that YAML has added up
            raise ValueError(
                f"{given} is a number, and YAML makes one of 1:00:00 too: put the time in quotes, "
                'as in "10:00:00" (in a shell: -s \'slurm.time="10:00:00"\')'
            )
        return given

    @field_validator("time")
    @classmethod
    def _is_a_time(cls, text: str) -> str:
        seconds(text)
        return text

    @field_validator("mem")
    @classmethod
    def _is_memory(cls, text: str | None) -> str | None:
        if text is not None and not _MEMORY.match(text):
            raise ValueError(f"'{text}' is no amount of memory: give e.g. 16G or 4000M")
        return text


def seconds(time: str) -> int:
    """The seconds of a time as sbatch takes it: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S.

    Raises `ValueError`.
    """
    found = _TIME.match(time)
    if found is None:
        raise ValueError(f"'{time}' is no time limit: give minutes, H:MM:SS or D-HH:MM:SS")
    days, a, b, c = (None if part is None else int(part) for part in found.groups())
    if days is not None:
        return ((days * 24 + (a or 0)) * 60 + (b or 0)) * 60 + (c or 0)
    if c is not None:
        return ((a or 0) * 60 + (b or 0)) * 60 + c
    return (a or 0) * 60 + (b or 0)
