"""An extension of mkdocstrings: doctests at the end of a docstring are shown as examples.

Ours stand without a heading, which the docstrings' reader would take for a quotation.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

_DOCTESTS = re.compile(r"(?m)^>>> .*\Z", re.DOTALL)


class Doctests(griffe.Extension):
    """Puts `Examples:` above them."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _DOCTESTS.sub(_as_examples, obj.docstring.value)


def _as_examples(found: re.Match[str]) -> str:
    return "Examples:\n" + textwrap.indent(found[0], "    ")
