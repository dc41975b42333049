"""Who drives a study: one live process. Others follow it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestrator.attempts import HEARTBEAT_PERIOD_S, Attempt, attempts, claim_attempt

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.study import Study

FOLLOW_EVERY_S = 1.0


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
    holder = _holder(study)
    claim = holder.claim() if holder else None
    who = f"process {claim.process.pid} on {claim.process.host}" if claim else "another process"
    console.print(f"{who} runs this study already: following it (Ctrl-C leaves it alone)")
    try:
        last = None
        while holder is not None and holder.life() != "dead":
            counts = study.plan().counts
            if counts != last:
                text = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
                console.print(text, highlight=False)
                last = counts
            time.sleep(FOLLOW_EVERY_S)
    except KeyboardInterrupt:
        return True
    return False


def _holder(study: Study) -> Attempt | None:
    seats = attempts(study.folder / "driver")
    return seats[-1] if seats and seats[-1].life() != "dead" else None
