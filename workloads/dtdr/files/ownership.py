"""Which files of a folder an encoding or a decoding wrote: no others are ever replaced."""

from __future__ import annotations

import json
from pathlib import Path

from workloads.dtdr.files.index import INDEX, is_encoded
from workloads.dtdr.files.source import DECODING


def written_files(folder: Path) -> frozenset[str] | None:
    """Names of the files that were written into the folder; None where it is no such folder.

    The index is believed here however damaged it is.
    """
    if is_encoded(folder):
        said = json.loads((folder / INDEX).read_bytes())
        return frozenset({INDEX, *_names(said.get("weights")), *_names(said.get("files"))})
    try:
        said = json.loads((folder / DECODING).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or "files" not in said:
        return None
    return frozenset({DECODING, *_names(said["files"])})


def _names(said: object) -> list[str]:
    found = said if isinstance(said, dict | list) else []
    return [name for name in found if isinstance(name, str)]
