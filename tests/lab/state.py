"""What is known of a lab between commands: one file in its folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.lab.errors import LabError
from tests.lab.processes import Started

ROOT = Path("/tmp")
_PREFIX = "orrery-lab-"
_FILE = "lab.json"


class State(msgspec.Struct):
    """A lab that is up, or was."""

    name: str
    network: int
    count: int
    host: str
    share: list[str] = []
    """Folders below /tmp that every node sees, beside the lab's own."""
    owner: Started | None = None
    """Whose lab it is: once that process has gone, the lab may be taken down."""
    processes: dict[str, Started] = {}
    """munged, slurmctld, and the first process of each node that has power."""
    cut: list[str] = []
    """Nodes whose cable is cut."""
    hidden: dict[str, list[str]] = {}
    """By node, the folders that are kept from its sight."""


def folder_of(name: str) -> Path:
    return ROOT / f"{_PREFIX}{name}"


def names() -> list[str]:
    """All labs of this machine that are up or left something."""
    return sorted(
        path.name.removeprefix(_PREFIX) for path in ROOT.glob(f"{_PREFIX}*") if path.is_dir()
    )


def load(name: str) -> State | None:
    """What is known of that lab, or None where there is none."""
    try:
        return msgspec.json.decode((folder_of(name) / _FILE).read_bytes(), type=State)
    except FileNotFoundError:
        return None


@contextmanager
def changed(name: str) -> Iterator[State]:
    """The state to be changed, by one process or thread at a time; saved on a regular exit.

    Raises `LabError` where there is no such lab.
    """
    there_is(name)
    with (folder_of(name) / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = there_is(name)
        yield state
        save(state)


def there_is(name: str) -> State:
    """What is known of that lab. Raises `LabError` where there is none."""
    state = load(name)
    if state is None:
        raise LabError(
            f"no lab '{name}' is up (there are: {', '.join(names()) or 'none'}); "
            f"build it by: python -m tests.lab up --name {name}"
        )
    return state


def save(state: State) -> None:
    file = folder_of(state.name) / _FILE
    unfinished = file.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
    unfinished.replace(file)
