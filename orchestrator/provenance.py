"""Where numbers come from: the code's commit, the environment. Facts, never part of an identity."""

from __future__ import annotations

import hashlib
import subprocess
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path

from orchestrator.records import Provenance


def provenance(code_digest: str) -> Provenance:
    """What is the same for every trial of a run."""
    commit, dirty = _git()
    return Provenance(
        code_digest=code_digest, git_commit=commit, git_dirty=dirty, environment=environment_lock()
    )


@lru_cache(maxsize=1)
def environment_lock() -> str:
    """Hash of every installed distribution and its version."""
    pins = sorted(f"{d.metadata['Name']}=={d.version}" for d in distributions())
    return hashlib.sha256("\n".join(pins).encode()).hexdigest()[:16]


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
