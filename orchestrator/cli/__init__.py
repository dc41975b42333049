"""The command `orrery`."""

from __future__ import annotations

import errno
import io
import sys

_REFUSALS = {
    errno.ENOSPC: "Free some space (orrery gc)",
    errno.EDQUOT: "Free some of your quota (orrery gc)",
    errno.EROFS: "Make it writable",
}
_FORBIDDEN = (errno.EACCES, errno.EPERM)


def main() -> None:
    """Runs the command line. Exit codes: 0 done, 1 trials failed, 2 wrong use, 130 interrupted,
    or the study was cancelled."""
    _write_what_can_be_written()
    from orchestrator.cli.app import app
    from orchestrator.errors import OrreryError

    try:
        app()
    except OrreryError as error:
        print(f"orrery: {error}", file=sys.stderr)
        sys.exit(2)
    except RuntimeError as error:
        from cluster import ClusterError

        if not isinstance(error, ClusterError):
            raise
        print(f"orrery: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("orrery: interrupted", file=sys.stderr)
        sys.exit(130)
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # as below: typer makes a 1 of it
            sys.exit(0)
        raise
    except BrokenPipeError:  # the reader of our output (head, less) has left
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        where = f" '{error.filename}'" if error.filename else ""
        if error.errno in _FORBIDDEN and where:
            print(
                f"orrery:{where} is not yours to use: {error.strerror}. Give another place, or get "
                "the right to this one.",
                file=sys.stderr,
            )
            sys.exit(2)
        if error.errno not in _REFUSALS:
            raise
        print(
            f"orrery: the disk refuses to write{where}: {error.strerror}. {_REFUSALS[error.errno]} "
            "and give the same command again: what was finished is kept.",
            file=sys.stderr,
        )
        sys.exit(1)


def _write_what_can_be_written() -> None:
    """An output that cannot show a character (LC_ALL=C, an old terminal) gets '?' for it, in place
    of a traceback; rich draws its tables with '+' and '-' there by itself."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
