"""Who drives a study: one live process. Others follow it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.attempts import HEARTBEAT_PERIOD_S, Attempt, attempts, claim_attempt

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.study import Study

FOLLOW_EVERY_S = 1.0
_BEGUN = "begun"


@contextmanager
def driver_seat(study: Study) -> Iterator[None]:
    """The one live driver of a study. Raises `BusyError` if another process is it."""
    held = claim_attempt(study.folder / "driver", outcome_number=0, study=study.instance)
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_PERIOD_S):
            held.beat()

    threading.Thread(target=beat, name="orrery-driver", daemon=True).start()
    try:
        yield
    finally:
        done.set()
        held.finish("done")


def follow(study: Study, console: Console) -> bool:
    """Another driver runs this study: shows how it goes until it ends. True if interrupted."""
    from orchestrator.watching import ChangeLines, Watcher

    holder = driver_of(study)
    who = seat_text(holder) if holder else "another process"
    console.print(f"{who} runs this study already: following it (Ctrl-C leaves it alone)")
    lines = ChangeLines()
    try:
        watcher = Watcher(study)
        while holder is not None and holder.life() != "dead":
            for line in lines.of(watcher.look()):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            time.sleep(FOLLOW_EVERY_S)
    except KeyboardInterrupt:
        return True
    return False


def driver_of(study: Study) -> Attempt | None:
    """The seat of the live process that drives a study; None if nobody does."""
    return driver_at(study.folder)


def driver_at(study_folder: Path) -> Attempt | None:
    """As `driver_of`, for the folder of a study instance."""
    seats = attempts(study_folder / "driver")
    return seats[-1] if seats and seats[-1].life() != "dead" else None


def note_begun(study: Study) -> None:
    """Says that this process, which holds the seat, has what it needs to run trials."""
    seat = driver_of(study)
    if seat is not None:
        (seat.folder / _BEGUN).touch()


def has_begun(seat: Attempt) -> bool:
    """Whether the driver that holds the seat has said so."""
    return (seat.folder / _BEGUN).exists()


def seat_text(seat: Attempt) -> str:
    """Who sits there, in words."""
    claim = seat.claim()
    if claim is None:
        return "another process"
    return f"process {claim.process.pid} on {claim.process.host}"
