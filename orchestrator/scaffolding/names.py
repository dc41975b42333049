"""What a new study and a new workload may be called."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
import unicodedata
from pathlib import Path

from orchestrator.errors import UsageError

MOST_CHARACTERS = 60
"""As in `StudyFile.name`."""


def check_study_name(name: str) -> None:
    """Raises `UsageError`, with a name that would do, for one that a study file refuses."""
    if re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) and len(name) <= MOST_CHARACTERS:
        return
    near = re.sub(r"[^a-z0-9]+", "-", _plain(name)).strip("-")[:MOST_CHARACTERS].strip("-")
    raise UsageError(
        f"A study cannot be called '{name}'.{_guess(near, name)} Its name has small letters, "
        "digits and '-', begins with a letter or a digit, and has at most "
        f"{MOST_CHARACTERS} characters."
    )


def check_workload_name(name: str, folder: Path) -> None:
    """Raises `UsageError` for what Python could not import as a package, or would mistake for one
    that there is elsewhere than in `folder`."""
    if keyword.iskeyword(name):
        raise UsageError(
            f"A workload cannot be called '{name}': that is a keyword of Python. Call it "
            f"otherwise, for instance my_{name.lower()}."
        )
    fits = re.fullmatch(r"[a-z][a-z0-9_]*", name)
    if not fits or len(name) > MOST_CHARACTERS:
        near = re.sub(r"[^a-z0-9]+", "_", _plain(name)).strip("_0123456789")[:MOST_CHARACTERS]
        raise UsageError(
            f"A workload cannot be called '{name}'.{_guess(near, name)} Its name is that of a "
            "Python package: small letters, digits and '_', beginning with a letter."
        )
    found = sys.modules.get(name) or importlib.util.find_spec(name)
    origin = getattr(found, "origin", None) or getattr(found, "__file__", None)
    ours = origin is not None and Path(origin).is_relative_to(folder.resolve())
    if (found is not None and not ours) or name in sys.stdlib_module_names:
        raise UsageError(
            f"There is a Python package '{name}' already, and one would hide the other: call the "
            f"workload otherwise, for instance my_{name}."
        )


def _plain(name: str) -> str:
    """In small letters without accents: `Größe` is `grosse`."""
    apart = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def _guess(near: str, name: str) -> str:
    """Nothing where little of the name is left: in a terminal that cannot show it, say."""
    like = 2 * len(near) > min(len(name), MOST_CHARACTERS) and not keyword.iskeyword(near)
    return f" Did you mean '{near}'?" if like else ""
