"""What Ray prints by itself, kept off the standard output of those who use it."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)


def silence_notices() -> None:
    """Keeps Ray from printing a page about each worker that dies and each node that leaves, in the
    midst of a table or of JSON: what that means for the study is told in its own words. Ray has no
    setting for it."""
    from ray._private import worker

    worker.print_to_stdstream = lambda data, ignore_prefix=False: logger.debug("%s", data["lines"])
