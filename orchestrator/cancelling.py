"""The files by which a study, or one of its trials, is cancelled.

``studies/<instance>/cancel/study`` cancels the whole study, ``cancel/<identity>`` one trial for
that study. Drivers and workers look for them, so that they are obeyed on any host, also after the
driver has died. The next run of the study removes the first, `orrery retry` the second.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from orchestrator.home import write_whole

FOLDER = "cancel"
WHOLE_STUDY = "study"
GRACE_S = 20.0
"""How long an attempt that is cancelled has to save a checkpoint and end by itself."""


class Request(msgspec.Struct, frozen=True):
    """Who asked for it, and when."""

    asked_at_s: float
    host: str
    pid: int


def ask(study_folder: Path, identity: str | None = None) -> Request:
    """Asks for the study's end, or for that of one trial. An earlier request stays as it is."""
    there = request(study_folder, identity)
    if there is not None:
        return there
    made = Request(time.time(), socket.gethostname(), os.getpid())
    write_whole(_path(study_folder, identity), msgspec.json.encode(made))
    return made


def request(study_folder: Path, identity: str | None = None) -> Request | None:
    """The request for the study's end, or for that one trial's; None if nobody asked."""
    try:
        return msgspec.json.decode(_path(study_folder, identity).read_bytes(), type=Request)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError:  # written by hand, or emptied by a power cut: it is meant
        return Request(0.0, "", 0)


def asked(study_folder: Path, identity: str | None = None) -> bool:
    """Whether the whole study is to end, or with `identity`, that trial: for itself or with it."""
    folder = study_folder / FOLDER
    try:
        names = os.listdir(folder)  # asks a file server anew, which a look for one file may not
    except OSError:
        return False
    return WHOLE_STUDY in names or (identity is not None and identity in names)


def cancelled_trials(study_folder: Path) -> frozenset[str]:
    """Identities of the trials that were cancelled one by one."""
    try:
        names = os.listdir(study_folder / FOLDER)
    except OSError:
        return frozenset()
    return frozenset(n for n in names if n != WHOLE_STUDY and not n.startswith("."))


def clear(study_folder: Path, *identities: str) -> None:
    """Takes back the request for the study's end; with `identities`, those for these trials."""
    for identity in identities or (None,):
        _path(study_folder, identity).unlink(missing_ok=True)
    with suppress(OSError):  # others are there
        (study_folder / FOLDER).rmdir()


def _path(study_folder: Path, identity: str | None) -> Path:
    return study_folder / FOLDER / (identity or WHOLE_STUDY)
