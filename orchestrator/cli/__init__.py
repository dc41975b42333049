"""The command `orrery`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line. Exit codes: 0 done, 1 trials failed, 2 wrong use, 130 interrupted."""
    from orchestrator.cli.app import app
    from orchestrator.errors import OrreryError

    try:
        app()
    except OrreryError as error:
        print(f"orrery: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("orrery: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output (head, less) has left
        sys.stderr.close()
        sys.exit(0)
