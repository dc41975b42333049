"""Templates, and how what is made of them is written: nothing is overwritten unasked."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from string import Template

from orchestrator.errors import UsageError
from orchestrator.home import write_whole

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""No wrong use: the command line says what to do about these."""


def filled(template: str, values: Mapping[str, str]) -> str:
    """The text of a template with its `$names` replaced; one that is not given is a `KeyError`."""
    place = resources.files(__package__).joinpath("templates", *template.split("/"))
    return Template(place.read_text("utf-8")).substitute(values)


def write_new(texts: Mapping[Path, str], force: bool) -> None:
    """Writes all files, or none: where one is there and `force` is not given (`UsageError`), where
    one cannot be written (`UsageError`, or `OSError` of a full disk), or when interrupted."""
    there = [str(path) for path in texts if path.exists()]
    if there and not force:
        listed = ", ".join(there[:3]) + (f" and {len(there) - 3} more" if len(there) > 3 else "")
        verb = "exists" if len(there) == 1 else "exist"
        raise UsageError(
            f"{listed} {verb} already, and nothing was written. Give another name or --out, or "
            "--force to overwrite."
        )
    made: list[Path] = []
    try:
        for path, text in texts.items():
            made += _folders(path.parent)
            if not path.exists():
                made.append(path)
            write_whole(path, text.encode())
    except BaseException as error:
        _remove(made)
        if isinstance(error, OSError) and error.errno not in _OF_THE_DISK:
            place = error.filename or path
            raise UsageError(
                f"Cannot write '{place}': {error.strerror}. Give another --out."
            ) from error
        raise


def _folders(folder: Path) -> list[Path]:
    """Makes a folder and what it lies in; gives those that were not there."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _remove(made: Sequence[Path]) -> None:
    """What was written in vain; what somebody else has put into it meanwhile stays."""
    for path in reversed(made):
        with suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()
