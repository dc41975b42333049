"""The digest of a workload's own sources: provenance that says whether two results share code."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads.contract import Workload

DIGITS = 16


def workload_digest(workload: type[Workload[Any]]) -> str:
    """The digest of a workload's declared sources; of its own module if it declares none."""
    return source_digest(workload.sources or (workload.__module__,))


def source_digest(names: Iterable[str]) -> str:
    """16 hexadecimal digits over the `.py` files of the named packages and modules.

    Raises ModuleNotFoundError for a name that cannot be found.
    """
    digest = hashlib.sha256()
    for name in sorted(set(names)):
        for label, path in _files(name):
            digest.update(f"{label}\0".encode())
            digest.update(path.read_bytes())
            digest.update(b"\0")
    return digest.hexdigest()[:DIGITS]


def _files(name: str) -> Iterator[tuple[str, Path]]:
    spec = importlib.util.find_spec(name)
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        raise ModuleNotFoundError(f"no module named {name!r}")
    if spec.submodule_search_locations:
        for place in spec.submodule_search_locations:
            root = Path(place)
            for path in sorted(root.rglob("*.py")):
                yield f"{name}/{path.relative_to(root).as_posix()}", path
    elif spec.origin is not None:
        yield name, Path(spec.origin)
