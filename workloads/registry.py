"""Which workloads there are: entry points of `orrery.workloads`, found without importing."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError, nearest

if TYPE_CHECKING:
    from workloads.contract import Workload

GROUP = "orrery.workloads"


@lru_cache(maxsize=1)
def registered() -> dict[str, EntryPoint]:
    """Entry points by workload name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def load_workload(name: str) -> Workload[Any]:
    """The workload registered as `name`, or the one at `package.module:Class`.

    Raises `InputError` for a name that is not known or a class that is no workload.
    """
    from workloads.contract import Workload

    if ":" in name:
        found = _import(name)
    elif name in registered():
        found = registered()[name].load()
    else:
        valid = sorted(registered())
        near = nearest(name, valid)
        guess = f" Did you mean '{near}'?" if near else ""
        raise InputError(
            f"Unknown workload '{name}'.{guess} Registered: {', '.join(valid) or 'none'}. "
            f"A workload is an entry point in the group '{GROUP}', or 'package.module:Class'."
        )
    if not (isinstance(found, type) and issubclass(found, Workload)):
        raise InputError(f"'{name}' is {found!r}, not a subclass of workloads.contract.Workload.")
    return found()


def study_folders() -> list[Path]:
    """The `studies` folders beside the registered workloads' modules, each once: workloads of one
    package share theirs."""
    folders: dict[Path, None] = {}
    for point in registered().values():
        module = point.value.partition(":")[0]
        package = module.rpartition(".")[0] or module
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        for place in (spec.submodule_search_locations or []) if spec else []:
            folder = Path(place) / "studies"
            if folder.is_dir():
                folders[folder] = None
    return list(folders)


def _import(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # as `python -m` finds a module beside the user
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"Cannot load workload '{reference}': {error}. Expected 'package.module:Class'."
        ) from error
