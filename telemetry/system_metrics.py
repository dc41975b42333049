"""What a trial takes of its machine: CPU, memory, disk and GPU of its own processes alone.

One thread of the process samples for all trials in it, so that a short trial starts none. A
measurement that the machine does not give has no row.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from telemetry.emitter import Emitter
from telemetry.events import Reducer
from telemetry.nvidia import gpu_use
from telemetry.reduction import SECONDS_PREFIX

if TYPE_CHECKING:
    import psutil

logger = logging.getLogger(__name__)

CPU_PERCENT = SECONDS_PREFIX + "cpu_percent"
MEMORY_MIB = SECONDS_PREFIX + "memory_rss_mib"
READ_MIB = SECONDS_PREFIX + "io_read_mib"
WRITE_MIB = SECONDS_PREFIX + "io_write_mib"
GPU_MEMORY_MIB = SECONDS_PREFIX + "gpu_memory_mib"
GPU_PERCENT = SECONDS_PREFIX + "gpu_percent"

SYSTEM_REDUCERS: Mapping[str, Reducer] = dict.fromkeys(
    (CPU_PERCENT, MEMORY_MIB, READ_MIB, WRITE_MIB, GPU_MEMORY_MIB, GPU_PERCENT), "sum"
)
"""How each is reduced over the ranks of a trial: what they take together."""

INTERVAL_S = 10.0
LEAST_S = 1.0
"""A trial (or a rest of one) that is shorter is not sampled at its end."""
_WAKE_S = 1.0
_TICK_S = 0.02


class SystemMetrics:
    """Samples this process and its descendants while the block runs; rows go to `emitter`.

    `started_at_s` is when the trial's first attempt was claimed (seconds since 1970). A row's step
    is the end of its interval, in seconds since then and a multiple of `interval_s`: so steps go
    on over attempts, and those of ranks meet. The interval in which an attempt ended is its own:
    the next one has rows from the interval after it. Nothing here raises into training.

    - ``sys/cpu_percent``: CPU time over the interval, 100 is one core;
    - ``sys/memory_rss_mib``: resident memory now, pages that processes share counted in each;
    - ``sys/io_read_mib``, ``sys/io_write_mib``: from and to disks since the block began;
    - ``sys/gpu_memory_mib``, ``sys/gpu_percent``: of these processes, where a driver tells.
    """

    def __init__(
        self,
        emitter: Emitter,
        started_at_s: float,
        interval_s: float = INTERVAL_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._emitter, self._clock = emitter, clock
        self._started_at_s, self._interval_s = started_at_s, interval_s
        self._tree: _Tree | None = None
        self._sampled_s = 0.0
        self._step = 0
        self._broken = False

    def __enter__(self) -> SystemMetrics:
        try:
            now_s = self._sampled_s = self._clock()
            self._tree = _Tree.begin()
            self._step = self._grid(now_s, math.ceil if self._emitter.attempt else math.floor)
            _sampler.add(self)
        except Exception as error:
            self._fail(error)
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            _sampler.remove(self)
            now_s = self._clock()
            if now_s - self._sampled_s >= LEAST_S:
                self._sample(now_s, self._grid(now_s, math.ceil))
        except Exception as error:
            self._fail(error)

    @property
    def due_s(self) -> float:
        """When the next row is due, in seconds since 1970."""
        return math.inf if self._broken else self._started_at_s + self._step + self._interval_s

    def sample(self) -> None:
        """Emits one row; called by the sampler's thread when it is due."""
        try:
            now_s = self._clock()
            self._sample(now_s, self._grid(now_s, math.floor))
        except Exception as error:
            self._fail(error)

    def _grid(self, now_s: float, whole: Callable[[float], int]) -> int:
        return round(whole((now_s - self._started_at_s) / self._interval_s) * self._interval_s)

    def _sample(self, now_s: float, step: int) -> None:
        if self._tree is None or self._broken or step <= self._step:
            return
        values = self._tree.read(now_s - self._sampled_s, round(self._sampled_s * 1e6))
        self._step, self._sampled_s = step, now_s
        self._emitter.metrics(values, step=step)

    def _fail(self, error: Exception) -> None:
        if not self._broken:
            logger.warning("system metrics end here: %s: %s", type(error).__name__, error)
        self._broken = True


@dataclass(frozen=True)
class _Spent:
    """What a process has spent since it started, with the children it has waited for."""

    cpu_s: float
    read: int | None
    written: int | None


@dataclass
class _Tree:
    """This process and its descendants, since a trial began.

    What a descendant spent before that is taken off; for one that was there before and was not
    looked at then (a look at all processes takes longer than a short trial), up to its first
    sample.
    """

    me: psutil.Process
    began_s: float
    before: dict[tuple[int, float], _Spent] = field(default_factory=dict)
    cpu_s: float = 0.0

    @classmethod
    def begin(cls) -> _Tree:
        import psutil

        me = psutil.Process()
        return cls(me, _clock_s(), {(me.pid, _born_s(me)): _spent(me)})

    def read(self, interval_s: float, since_us: int) -> dict[str, float]:
        """The values by key; what cannot be had is left out."""
        import psutil

        memory, pids = 0, set()
        spent: list[_Spent] = []
        for process in [self.me, *self.me.children(recursive=True)]:
            try:
                now, born_s = _spent(process), _born_s(process)
                memory += process.memory_info().rss
            except (psutil.Error, ProcessLookupError, FileNotFoundError):
                continue  # it has ended meanwhile
            pids.add(process.pid)
            spent.append(now)
            if born_s < self.began_s - _TICK_S:
                self.before.setdefault((process.pid, born_s), now)
        cpu_s = sum(s.cpu_s for s in spent) - sum(s.cpu_s for s in self.before.values())
        # where the time of an ended child is lost, the sum may shrink
        values = {
            CPU_PERCENT: 100.0 * max(0.0, cpu_s - self.cpu_s) / interval_s,
            MEMORY_MIB: memory / 2**20,
        }
        self.cpu_s = cpu_s
        before = list(self.before.values())
        for key, now_bytes, before_bytes in (
            (READ_MIB, [s.read for s in spent], [s.read for s in before]),
            (WRITE_MIB, [s.written for s in spent], [s.written for s in before]),
        ):
            total = _difference(now_bytes, before_bytes)
            if total is not None:
                values[key] = total / 2**20
        gpu = gpu_use(pids, since_us)
        if gpu is not None and gpu.memory_mib is not None:
            values[GPU_MEMORY_MIB] = gpu.memory_mib
        if gpu is not None and gpu.percent is not None:
            values[GPU_PERCENT] = gpu.percent
        return values


def _clock_s() -> float:
    """Now, by the clock that tells when processes started: on Linux since the machine's start, as
    the time of day of that start is only known to a second."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.time()


def _born_s(process: psutil.Process) -> float:
    if sys.platform != "linux":
        return process.create_time()
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of the whole line: starttime


def _spent(process: psutil.Process) -> _Spent:
    import psutil

    times = process.cpu_times()
    cpu_s = times.user + times.system + times.children_user + times.children_system
    try:
        io = process.io_counters()
    except (AttributeError, psutil.AccessDenied):  # a system that does not tell, or not to us
        return _Spent(cpu_s, None, None)
    return _Spent(cpu_s, io.read_bytes, io.write_bytes)


def _difference(now: list[int | None], before: list[int | None]) -> int | None:
    """Sum less sum; None unless all are known."""
    if None in now or None in before:
        return None
    return max(0, sum(n for n in now if n) - sum(b for b in before if b))


class _Sampler:
    """The thread that samples for every trial of this process. It starts with the first trial."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[SystemMetrics] = []
        self._thread: threading.Thread | None = None

    def add(self, metrics: SystemMetrics) -> None:
        with self._lock:
            self._open.append(metrics)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="system-metrics", daemon=True
                )
                self._thread.start()

    def remove(self, metrics: SystemMetrics) -> None:
        """Lets go of a trial; a sample that is being taken is waited for."""
        with self._lock:
            if metrics in self._open:
                self._open.remove(metrics)

    def _run(self) -> None:
        while True:
            time.sleep(_WAKE_S)  # not woken by a trial that begins: that would cost it
            now_s = time.time()
            with self._lock:
                for metrics in self._open:
                    if metrics.due_s <= now_s:
                        metrics.sample()


_sampler = _Sampler()
