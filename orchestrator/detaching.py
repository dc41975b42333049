"""A driver that goes on when the shell that started it has closed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from orchestrator.driving import driver_of, has_begun, seat_text
from orchestrator.log_files import driver_log
from orchestrator.run_words import RunOptions, orrery_words, run_words

if TYPE_CHECKING:
    from cluster import Place
    from orchestrator.attempts import Attempt
    from orchestrator.study import Study

LOOK_EVERY_S = 0.1
LEAVE_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Detached:
    """A driver that was started, or found."""

    study: str
    started: bool
    """False: another process drives the study already, and nothing was started."""
    driver: str
    """Who drives it, in words."""
    pid: int | None
    host: str | None
    log: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class EndedAtOnce:
    """The driver has ended before it drove anything: with an error, or with nothing to run."""

    exit_code: int
    said: str


def detach(study: Study, place: Place, options: RunOptions) -> Detached | EndedAtOnce:
    """Starts the driver of a study as the leader of a session of its own, which no closing shell
    ends, and waits until it has begun (it drives the study, and has its Ray) or has ended.

    What it says is appended to the study's `driver.log`. An interrupt while it waits ends it.
    """
    log = driver_log(study.folder)
    seat = driver_of(study)
    if seat is not None:
        return _held(study, seat, log, started=False)
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [*orrery_words(), *run_words(study, place, options)]
    with log.open("ab", buffering=0) as file:
        begins = _headed(file, words)
        driver = _started(words, file)
    try:
        while driver.poll() is None:
            seat = driver_of(study)
            if seat is not None and seat.claim() is not None:
                if not _sits(driver.pid, seat):  # started elsewhere at the same moment
                    _ended(driver)
                    return _held(study, seat, log, started=False)
                if has_begun(seat):
                    return _held(study, seat, log, started=True)
            time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        _ended(driver)
        raise
    with log.open("rb") as said:
        said.seek(begins)
        return EndedAtOnce(driver.returncode, said.read().decode(errors="replace"))


def _headed(file: IO[bytes], words: Sequence[str]) -> int:
    """Writes which command begins; gives where its own words begin."""
    shown = " ".join(["orrery", *words[len(orrery_words()) :]])
    file.write(f"== {time.strftime('%Y-%m-%d %H:%M:%S')} {shown}\n".encode())
    return os.fstat(file.fileno()).st_size


def _started(words: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )


def _sits(pid: int, seat: Attempt) -> bool:
    """Whether it is our process that drives, not one that was started elsewhere meanwhile."""
    claim = seat.claim()
    return claim is not None and (claim.process.pid, claim.process.host) == (
        pid,
        socket.gethostname(),
    )


def _held(study: Study, seat: Attempt, log: Path, *, started: bool) -> Detached:
    claim = seat.claim()
    process = claim.process if claim else None
    return Detached(
        study=study.instance,
        started=started,
        driver=seat_text(seat),
        pid=process.pid if process else None,
        host=process.host if process else None,
        log=str(log),
    )


def _ended(driver: subprocess.Popen[bytes]) -> None:
    """Ends a driver that was not waited for: it lets go of all it has."""
    driver.terminate()
    with suppress(subprocess.TimeoutExpired):
        driver.wait(LEAVE_PATIENCE_S)
        return
    print(f"orrery: process {driver.pid} has not ended yet", file=sys.stderr)
