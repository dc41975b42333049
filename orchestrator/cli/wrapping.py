"""Lines of a list that stay within a terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap

DEEP = 6
"""How far a text is set in that has a word without room beside the label."""


def labelled(label: str, width: int, text: str) -> str:
    """A label, and beside it a text that goes on below itself. A pipe gets one line of any length,
    which is easier to search."""
    line = f"{label:<{width}} {text}"
    if not sys.stdout.isatty():
        return line
    columns = shutil.get_terminal_size().columns
    longest = max(map(len, text.split()), default=0)
    indent = " " * (width + 1 if width + 1 + longest <= columns else DEEP)
    return textwrap.fill(
        line,
        columns,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
