"""`orrery new workload`: a folder with a workload that trains, a study of it, and its test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.scaffolding.names import check_workload_name
from orchestrator.scaffolding.writing import filled, write_new

FILES = {
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    "init.py": "{name}/__init__.py",
    "workload.py": "{name}/workload.py",
    "study.yaml": "{name}/studies/{study}.yaml",
    "test_workload.py": "tests/test_{name}.py",
}
"""Templates, and what they become in the new folder."""


@dataclass(frozen=True)
class NewWorkload:
    """The folder that was written, and its study as a path within it."""

    folder: Path
    study: Path


def new_workload(name: str, out: Path | None = None, force: bool = False) -> NewWorkload:
    """Writes `out` (a folder of that name). Raises `UsageError`, and writes nothing then."""
    folder = out or Path(name)
    check_workload_name(name, folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"'{folder}' is a file: give another --out.")
    study = name.replace("_", "-").strip("-")
    values = {"name": name, "study": study, "Class": name.title().replace("_", "")}
    write_new(
        {
            folder / place.format(**values): filled(f"workload/{template}.template", values)
            for template, place in FILES.items()
        },
        force,
    )
    return NewWorkload(folder, Path(name, "studies", f"{study}.yaml"))
