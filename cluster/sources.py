"""A copy of the sources that jobs run from, so that an edit after submitting changes nothing."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.contract import ClusterError

OURS = ("orchestrator", "workloads", "telemetry", "cluster")
FOLDER = "sources"
_LEFT_OUT = frozenset({"__pycache__", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Sources:
    """Sources as they were: `<home>/sources/<digest>/`, one folder per top-level package."""

    digest: str
    path: Path

    @classmethod
    def snapshot(cls, home: Path) -> Sources:
        """Copies our packages, and those of loaded workloads that are not installed, into the home
        unless it has them. Take it after the study has been loaded. Raises `ClusterError`.

        A package is copied with its data files, but for links and caches.
        """
        try:
            files = _read(dict(_packages()))
            digest = _digest(files)
            path = home / FOLDER / digest
            if not path.is_dir():
                _write(files, path)
        except OSError as error:
            raise ClusterError(
                f"The sources cannot be copied into the home '{home}': {error}."
            ) from error
        return cls(digest, path)

    def environment(self) -> dict[str, str]:
        """What a job's process needs set to import from here first.

        What is on the path wins over an editable installation, whose folders come after it; and
        `PYTHONSAFEPATH` keeps Python from putting a script's folder, or the current one, before it.
        """
        before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        path = str(self.path)
        after = [folder for folder in before if folder and folder != path]
        return {"PYTHONPATH": os.pathsep.join([path, *after]), "PYTHONSAFEPATH": "1"}


def job_from_snapshot() -> Any:
    """A Ray job config under which workers are not told to import from the driver's folders.

    Ray puts the driver's script folder and current folder before everything else on each worker's
    path; where those are a checkout, they would hide the copy. It leaves them out of a job whose
    files it has packed itself, so this one says that it is such a job.
    """
    from ray.job_config import JobConfig

    class SnapshotJob(JobConfig):  # type: ignore[misc]
        def _runtime_env_has_working_dir(self) -> bool:
            return True

    return SnapshotJob()


def _packages() -> Iterator[tuple[str, Path]]:
    """Top-level packages (folder) and modules (file) to copy."""
    for name in OURS:
        place = _place(name)
        if place is None:
            raise ClusterError(
                f"The sources of '{name}' are not in a folder: they cannot be copied."
            )
        yield name, place
    for name in _of_loaded_workloads() - set(OURS):
        place = _place(name)
        if place is not None and not _is_installed(place):
            yield name, place


def _of_loaded_workloads() -> set[str]:
    """Top-level names of modules that define a loaded workload."""
    contract = sys.modules.get("workloads.contract")
    if contract is None:
        return set()
    waiting, found = [contract.Workload], set()
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            found.add(kind.__module__.partition(".")[0])
    return found - {"__main__", "builtins"}


def _place(name: str) -> Path | None:
    module = sys.modules.get(name)
    spec = module.__spec__ if module is not None else importlib.util.find_spec(name)
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or [])
    if folders:
        return Path(folders[0]).resolve()
    return Path(spec.origin).resolve() if spec.has_location and spec.origin else None


def _is_installed(place: Path) -> bool:
    """Whether an installer put it there: then every node has it, and it changes under no edit."""
    roots = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib", "stdlib")}
    return any(root in place.parents for root in roots) or "site-packages" in place.parts


def _files(place: Path) -> Iterator[tuple[str, Path]]:
    """Each file of a package below its top-level name, sorted."""
    if place.is_file():
        yield place.name, place
        return
    for folder, below, names in os.walk(place):
        below[:] = sorted(set(below) - _LEFT_OUT)
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix != ".pyc" and path.is_file() and not path.is_symlink():
                yield str(Path(place.name, path.relative_to(place))), path


def _read(packages: dict[str, Path]) -> dict[str, bytes]:
    """Every file's content, read once: an edit meanwhile is in the copy and its digest, or in
    neither."""
    files: dict[str, bytes] = {}
    for name, place in sorted(packages.items()):
        size = 0
        for relative, path in _files(place):
            files[relative] = path.read_bytes()
            size += len(files[relative])
            if size > _MOST_BYTES:
                raise ClusterError(
                    f"The sources of '{name}' in '{place}' hold more than {_MOST_BYTES >> 20} MiB "
                    "with data files, too much to copy for jobs. Keep data outside of the package, "
                    "or install it."
                )
    return files


def _digest(files: dict[str, bytes]) -> str:
    total = hashlib.sha256()
    for relative, content in sorted(files.items()):
        total.update(f"{relative}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()[:16]


def _write(files: dict[str, bytes], path: Path) -> None:
    """Whole or not at all; if somebody was first, theirs stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        for relative, content in files.items():
            target = temporary / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        temporary.chmod(0o755)
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
