"""What this machine has of the things studies need."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.home import Home

if TYPE_CHECKING:
    from cluster import Place

LEAST_FREE_GIB = 1.0
_PROBED = 8
"""Tokens that are read once for each site of each block."""
_LIBRARIES = ("ray", "torch", "transformers", "peft", "accelerate", "mlflow", "submitit")


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `ok` None: not there, and not needed to run on this machine."""

    what: str
    ok: bool | None
    found: str


def examine(home: str | Path | None = None) -> Iterator[Finding]:
    """Looks at one thing after the other; starts and stops a Ray."""
    looks: list[Callable[[], Finding]] = [
        lambda: Finding("python", sys.version_info >= (3, 11), platform.python_version()),
        lambda: _libraries(),
        lambda: _processors(),
        lambda: _memory(),
        lambda: _shared_memory(),
        lambda: _home(home),
        lambda: _accelerators(),
        lambda: _ray(),
        lambda: _slurm(),
    ]
    return (look() for look in looks)


def examine_model(model: str) -> Iterator[Finding]:
    """Loads a model and looks at one thing after the other, last at oscillators' sites, and at
    which blocks they reach the logits."""
    from workloads.errors import InputError
    from workloads.models.checking import Loaded, Looked, check_model

    def sites(loaded: Loaded) -> Looked:
        from workloads.phase_coupling.coupling.sites import sites_of

        try:
            return Looked("sites", True, ", ".join(sites_of(loaded.model).names))
        except InputError as error:
            return Looked("sites", None, f"none for oscillators: {error}")

    def reach(loaded: Loaded) -> Looked:
        import torch

        from workloads.phase_coupling.coupling.reach import dead_blocks, told

        drawn = torch.Generator().manual_seed(0)
        ids = torch.randint(loaded.description.vocab_size, (1, _PROBED), generator=drawn)
        try:
            dead = dead_blocks(loaded.model, ids)
        except ValueError as error:  # InputError is one: a kind of model without known sites
            return Looked("reach", None, f"not measured: {error}")
        blocks = loaded.description.layers
        return Looked("reach", None if any(dead.values()) else True, told(dead, blocks))

    return (Finding(look.what, look.ok, look.found) for look in check_model(model, sites, reach))


def examine_place(on: str, home: str | Path | None = None) -> Iterator[Finding]:
    """Looks at a place that `--on` names: what runs would find there. Raises `UsageError`."""
    from orchestrator.running import place_of_run

    place = place_of_run(on)
    if place.kind == "local":
        return examine(home)
    if place.kind == "ray":
        return iter([_ray_at(place)])
    return _slurm_at(place, home)


def _ray_at(place: Place) -> Finding:
    from cluster import ClusterError

    assert place.detail is not None
    try:
        if place.runs_elsewhere:
            from cluster.ray_jobs import RayJobs

            RayJobs(place.detail).refuse_other_ray()
            return Finding("ray", True, f"{place.detail} answers, and has this Ray's version")
        from cluster.ray_address import RayCluster

        with RayCluster(place.detail) as offered:
            nodes = f"{len(offered.nodes)} nodes"
            return Finding("ray", True, f"{nodes}; {offered.cpus:g} CPUs, {offered.gpus:g} GPUs")
    except ClusterError as error:
        return Finding("ray", False, str(error))


def _slurm_at(place: Place, home: str | Path | None) -> Iterator[Finding]:
    from cluster import ClusterError
    from cluster.slurm.check import check
    from cluster.slurm.profiles import profiles_file, settings_for
    from cluster.slurm.settings import SlurmSettings

    file = profiles_file()
    try:
        settings = settings_for(place.detail, SlurmSettings())
    except ClusterError as error:
        yield Finding("profile", False, str(error))
        return
    said = ", ".join(f"{key}={getattr(settings, key)}" for key in sorted(settings.model_fields_set))
    there = str(file) if file.exists() else f"no file {file}"
    yield Finding(
        "profile", True, f"{place.detail or 'default'}: {said or 'nothing said'} ({there})"
    )
    for what, ok, found in check(settings, Home.find(home).root):
        yield Finding(what, ok, found)


def _libraries() -> Finding:
    versions, missing = [], []
    for name in _LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("libraries", False, f"missing: {', '.join(missing)}; run: make setup")
    return Finding("libraries", True, ", ".join(versions))


def _processors() -> Finding:
    from cluster.local import usable_cpus

    return Finding("processors", True, f"{usable_cpus()} usable of {os.cpu_count()}")


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    text = f"{memory.available / 2**30:.1f} GiB free of {memory.total / 2**30:.1f}"
    return Finding("memory", memory.available > LEAST_FREE_GIB * 2**30, text)


def _shared_memory() -> Finding:
    try:
        free = shutil.disk_usage("/dev/shm").free / 2**30
    except OSError:
        return Finding("/dev/shm", None, "not there: Ray keeps objects on disk, slower")
    return Finding("/dev/shm", free > 0.3, f"{free:.1f} GiB free (Ray's object store)")


def _home(home: str | Path | None) -> Finding:
    place = Home.find(home)
    try:
        place.writable()
    except UsageError as error:
        return Finding("home", False, str(error))
    free = shutil.disk_usage(place.root).free / 2**30
    return Finding("home", free > LEAST_FREE_GIB, f"{place.root}, {free:.1f} GiB free")


def _accelerators() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("accelerators", None, "none: trials run on the CPU")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding("accelerators", True, ", ".join(names))


def _ray() -> Finding:
    from cluster import ClusterError, LocalCluster

    try:
        with LocalCluster() as offered:
            return Finding("ray", True, f"starts; {offered.cpus:g} CPUs, {offered.gpus:g} GPUs")
    except ClusterError as error:
        return Finding("ray", False, str(error))


def _slurm() -> Finding:
    if shutil.which("sbatch") is None:
        return Finding("slurm", None, "no sbatch on PATH")
    return Finding("slurm", None, f"sbatch at {shutil.which('sbatch')}")
