"""Where numbers come from: the code's commit, the environment. Facts, never part of an identity."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from orchestrator.records import Provenance

_INSTALLED = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(-py[\d.]+)?\.(dist|egg)-info\Z")


def provenance(code_digest: str) -> Provenance:
    """What is the same for every trial of a run."""
    commit, dirty = _git()
    return Provenance(
        code_digest=code_digest, git_commit=commit, git_dirty=dirty, environment=environment_lock()
    )


@lru_cache(maxsize=1)
def environment_lock() -> str:
    """Hash of every installed distribution and its version."""
    pins = [f"{name}=={version}" for name, version in environment_pins().items()]
    return hashlib.sha256("\n".join(pins).encode()).hexdigest()[:16]


@lru_cache(maxsize=1)
def environment_pins() -> Mapping[str, str]:
    """Every installed distribution and its version, by name (lower case, with dashes).

    Read from the names of the folders that installers leave: reading each one's metadata takes a
    fifth of a second, in every worker. What a package brings along within itself is left out.
    """
    found: dict[str, str] = {}
    for entry in _search_path():
        try:
            names = os.listdir(entry)
        except OSError:
            continue
        for name in names:
            if match := _INSTALLED.match(name):
                found.setdefault(re.sub(r"[-_.]+", "-", match["name"]).lower(), match["version"])
    return dict(sorted(found.items()))


def _search_path() -> list[str]:
    entries = [str(Path(entry).absolute()) for entry in sys.path]
    sites = [e for e in entries if e.endswith(("site-packages", "dist-packages"))]
    return [e for e in entries if not any(e.startswith(f"{site}{os.sep}") for site in sites)]


@lru_cache(maxsize=1)
def _git() -> tuple[str | None, bool | None]:
    """Commit of the checkout that this package is in, and whether it has changes."""
    folder = Path(__file__).parent
    try:
        commit = _ask_git(folder, "rev-parse", "HEAD")
        return commit, bool(_ask_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _ask_git(folder: Path, *words: str) -> str:
    answer = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True
    )
    return answer.stdout.strip()
