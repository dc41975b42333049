"""`python -m orchestrator.minding COMMAND…`: a server that lives no longer than who asked for it.

It is told to end, with everything it has started, when standard input closes: by whoever holds the
other end, or because that process is gone, however it ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

PATIENCE_S = 5.0
"""How long the server may take to end."""
LOOK_EVERY_S = 0.5


def mind(command: Sequence[str]) -> int:
    """Runs a command in this process's group; its exit code, if it ends by itself."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # the group's, below, is not for this process
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    alone = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(alone,), daemon=True).start()
    while process.poll() is None:
        if alone.wait(LOOK_EVERY_S):
            os.killpg(0, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S)
            os.killpg(0, signal.SIGKILL)  # this process too
    return process.returncode


def _wait_for_the_end(alone: threading.Event) -> None:
    while os.read(0, 1):
        pass
    alone.set()


if __name__ == "__main__":
    sys.exit(mind(sys.argv[1:]))
