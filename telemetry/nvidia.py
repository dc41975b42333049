"""NVIDIA's management library, where there is a driver: devices, and what processes do on them.

Without a driver everything here is empty. Nothing raises.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


@dataclass(frozen=True)
class GpuUse:
    """What some processes use, summed over devices. None: the driver does not tell."""

    memory_mib: float | None = None
    percent: float | None = None
    """Time in which their kernels ran; 100 is one whole device."""


@lru_cache(maxsize=1)
def gpus() -> list[dict[str, str]]:
    """Name and driver of each device of this machine, in the driver's order."""
    found: list[dict[str, str]] = []
    for nvml, device in _devices():
        with _refusals(nvml):
            driver = _text(nvml.nvmlSystemGetDriverVersion())
            found.append({"name": _text(nvml.nvmlDeviceGetName(device)), "driver": driver})
    return found


def gpu_use(pids: Collection[int], since_us: int) -> GpuUse | None:
    """What the processes `pids` use now, and did since `since_us` (µs since 1970).

    None if none of them is on a device. A driver may name processes by the host's numbers even
    inside a container; then nothing is found.
    """
    memory: list[float] = []
    percents: list[float] = []
    for nvml, device in _devices():
        with _refusals(nvml):
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(device):
                if process.pid in pids and process.usedGpuMemory is not None:
                    memory.append(process.usedGpuMemory / 2**20)
        with _refusals(nvml):  # refused where there is nothing to tell
            samples: dict[int, list[int]] = {}
            for sample in nvml.nvmlDeviceGetProcessUtilization(device, since_us):
                if sample.pid in pids:
                    samples.setdefault(sample.pid, []).append(sample.smUtil)
            percents += [sum(values) / len(values) for values in samples.values()]
    if not memory and not percents:
        return None
    return GpuUse(sum(memory) if memory else None, sum(percents) if percents else None)


def _devices() -> Iterator[tuple[Any, Any]]:
    nvml = _library()
    if nvml is None:
        return
    count = 0
    with _refusals(nvml):
        count = nvml.nvmlDeviceGetCount()
    for index in range(count):
        with _refusals(nvml):
            yield nvml, nvml.nvmlDeviceGetHandleByIndex(index)


@lru_cache(maxsize=1)
def _library() -> Any:
    """pynvml, ready to be asked; None without it or without a driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


@contextmanager
def _refusals(nvml: Any) -> Iterator[None]:
    """A device that refuses an answer gives none; the others are asked."""
    try:
        yield
    except nvml.NVMLError:
        return


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
