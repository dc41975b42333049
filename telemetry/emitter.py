"""The emitter: how one rank of a trial records what happens, without ever disturbing training.

A call returns once its event is in the rank's spool (one ``write``, no ``fsync``: it outlives the
process). Waking the collector is left to a background thread. While the disk refuses, events of
tiers 1 and 2 are held in memory and written when there is space again; dense traces beyond a bound
are left out and counted. Nothing here raises into training.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from telemetry import nonfinite
from telemetry.contracts import Contract, DenseTrace, Snapshot
from telemetry.events import (
    VERSION,
    EpisodeContext,
    Event,
    Mark,
    MarkName,
    Metrics,
    Payload,
    Reducer,
    Trace,
    checked,
    encode,
    plain,
)
from telemetry.line import encode_lines, line_of
from telemetry.measured import numbers
from telemetry.spool import SpoolWriter
from telemetry.wake import Push, Wake, usual_interval_s

__all__ = ["Emitter", "EmitterCounters", "Push", "Wake"]

logger = logging.getLogger(__name__)

_time_ns = time.time_ns


@dataclass
class EmitterCounters:
    """What went wrong with the events of one emitter. `Emitter.emitted` counts those it made."""

    thinned: int = 0
    """Dense traces that were left out because too much was held."""
    write_errors: int = 0
    """Refused writes; the events were held, not lost."""
    push_errors: int = 0
    errors: int = 0
    """Events that could not be made at all (a value that is no number, a contract whose field holds
    another type, a snapshot without a step, a broken object)."""


class Emitter:
    """Records the events of one rank of one attempt in its spool; see the module's docstring.

    `push` is called from a background thread with a `Wake`, at most every `interval_s` (by default
    a second, and longer the more `ranks`), or sooner after `wake_events` events. `ranks` and
    `reducers` (metric -> reducer; mean if not named) are written into the spool, so that it can be
    folded with nothing else at hand. At most `held_limit_bytes` are held before dense traces are
    left out.
    """

    def __init__(
        self,
        spool_path: Path | str,
        *,
        trial: str,
        attempt: int,
        rank: int = 0,
        ranks: int = 1,
        reducers: Mapping[str, Reducer] | None = None,
        push: Push | None = None,
        interval_s: float | None = None,
        wake_events: int = 1000,
        held_limit_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self.trial, self.attempt, self.rank = trial, attempt, rank
        self.counters = EmitterCounters()
        usual_s = usual_interval_s(ranks)
        self._push, self._wake_events = push, int(wake_events * usual_s)
        self._interval_s = usual_s if interval_s is None else interval_s
        self._first_s = self._interval_s * (rank + 1) / max(ranks, rank + 1)  # not all at once
        self._held_limit_bytes = held_limit_bytes
        # Reentrant: what logs our warnings, or a signal handler, may itself record an event.
        self._lock = threading.RLock()
        self._acquire, self._release = self._lock.acquire, self._lock.release  # quicker than `with`
        self._writer = SpoolWriter(Path(spool_path))
        self._seq = 0
        self._line = line_of(trial, attempt, rank)
        self._values = self._line.payload
        self._lines = [self._line]
        self._closed = False
        self._warned: set[str] = set()
        self._retry_at = 0.0
        self._thinned_noted = 0
        self._pushed_seq = -1
        self._due = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            self._writer.open()
        except OSError as error:
            self._refused(error)
        self._seq = self._writer.next_seq
        facts = {"ranks": ranks, "reducers": dict(reducers or {}), "pid": os.getpid()}
        self.mark("resumed" if attempt or self._writer.resumed else "started", facts)
        atexit.register(self.flush)

    @property
    def emitted(self) -> int:
        """How many events this spool has been given, thinned ones among them."""
        return self._seq

    def metrics(
        self, values: Mapping[str, float | None], *, step: int, epoch: float | None = None
    ) -> None:
        """Tier 2: values at a training step; None is "not measured" and is kept apart from 0.

        A value that is no number is left out and counted.
        """
        plain_epoch = epoch is None or epoch.__class__ is float
        if not plain_epoch or step.__class__ is not int or values.__class__ is not dict:
            self._emit_values(values, step, epoch)
            return
        # The quick way for values that are all finite numbers: no object is made but the line,
        # which is byte for byte what `encode` makes of the event.
        self._acquire()
        try:
            for value in values.values():
                if value.__class__ is not float or value - value != 0.0:  # NaN or infinite
                    self._emit_values(values, step, epoch)
                    return
            if self._closed:
                return
            now_ms = _time_ns() // 1_000_000
            # No call from here to `encode_lines`: a signal handler that records comes in only
            # after calls and loops, and it would fill this same line.
            seq = self._seq
            self._seq = seq + 1
            line = self._line
            line.time_ms = now_ms
            line.seq = seq
            line.step = step
            line.epoch = epoch
            self._values.values = values
            try:
                data = encode_lines(self._lines)
            except BaseException:
                self._give_back(seq)
                raise
            if self._retry_at:
                self._append(data)
            else:
                self._writer.append(data)
        except OSError as error:
            self._refused(error)
        except Exception as error:  # such as a key that is no text
            self._broken(error)
            return
        finally:
            self._release()
        if self._thread is None or seq - self._pushed_seq == self._wake_events:
            self._after(seq)

    def trace(
        self, name: str, data: Mapping[str, Any], *, step: int | None = None, reason: str = ""
    ) -> None:
        """Tier 3: a dense record of anything JSON-like, arrays and tensors included."""
        if self._thin():
            return
        try:
            content = plain(data)
            self._emit(Trace, (name, reason, content, nonfinite.find(content)), step, None)
        except Exception as error:
            self._broken(error)

    def snapshot(
        self, contract: Contract, *, step: int | None = None, epoch: float | None = None
    ) -> None:
        """A typed contract of any tier; the `values()` of one of tier 2 become rows at `step`.

        One of tier 2 without a step, and one whose fields hold other types than they declare, is
        left out and counted.
        """
        if isinstance(contract, DenseTrace) and self._thin():
            return
        if step is None and isinstance(contract, Snapshot):
            self._broken(TypeError(f"{type(contract).__name__} needs a step: its values are rows"))
            return
        self._emit(checked, (contract,), step, epoch)

    def context(self, facts: Mapping[str, Any]) -> None:
        """Tier 1: facts about the trial; those named as in `EpisodeContext` fill its fields."""
        try:
            self._emit(EpisodeContext.of, (plain(facts),), None, None)
        except Exception as error:
            self._broken(error)

    def mark(self, name: MarkName, facts: Mapping[str, Any] | None = None) -> None:
        """Tier 1: a point in the life of this attempt."""
        try:
            content = plain(facts or {})
            self._emit(Mark, (name, content, nonfinite.find(content)), None, None)
        except Exception as error:
            self._broken(error)

    def flush(self) -> None:
        """Tries to write what is held and wakes the collector now. Never raises."""
        self._retry(force=True)
        self._notify()

    def close(self) -> None:
        """Writes the closing mark, flushes and lets go of the file; later calls are dropped.

        What the disk still refuses is written by the background thread once there is space.
        """
        with self._lock:
            if self._closed:
                return
            self.mark("closed", asdict(self.counters))
            self._closed = True
        self.flush()
        if self._writer.held_bytes:
            self._warn("held", f"{self._writer.held_bytes} bytes of events wait for space")
            self._after(self._seq)  # its thread goes on until they are written
            return
        self._stop.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        self._let_go()

    def __enter__(self) -> Emitter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- the training thread -------------------------------------------------------------------

    def _thin(self) -> bool:
        """Whether a dense trace is to be left out, since too much waits for the disk; counts it."""
        if self._writer.held_bytes <= self._held_limit_bytes:
            return False
        with self._lock:
            self.counters.thinned += 1
            self._seq += 1
        return True

    def _emit(
        self,
        make: Callable[..., Payload],
        arguments: tuple[Any, ...],
        step: int | None,
        epoch: float | None,
    ) -> None:
        try:
            payload = make(*arguments)
            step = step if step is None else int(step)
            epoch = epoch if epoch is None else float(epoch)
            place = (self.trial, self.attempt, self.rank)
            with self._lock:
                if self._closed:
                    return
                now_ms = _time_ns() // 1_000_000
                seq = self._seq
                self._seq = seq + 1  # at once: a signal handler that records takes the next
                try:
                    event = Event(VERSION, *place, seq, now_ms, payload, step, epoch)
                    line = encode(event) + b"\n"
                except BaseException:
                    self._give_back(seq)
                    raise
                self._append(line)
        except Exception as error:
            self._broken(error)
            return
        self._after(seq)

    def _give_back(self, seq: int) -> None:
        """The number of an event that was not made, unless later ones were taken meanwhile."""
        if self._seq == seq + 1:
            self._seq = seq

    def _emit_values(
        self, values: Mapping[str, float | None], step: int, epoch: float | None
    ) -> None:
        """Metrics of any kind: not measured, not finite, of other number types, or no numbers."""
        try:
            measured = numbers(values, self._broken)
        except Exception as error:
            self._broken(error)
            return
        self._emit(Metrics, (measured,), step, epoch)

    def _after(self, seq: int) -> None:
        if self._thread is None:
            if self._push is not None or self._writer.held_bytes:
                self._start()
        elif seq - self._pushed_seq == self._wake_events:
            self._due.set()

    def _append(self, line: bytes) -> None:
        if self._retry_at and time.monotonic() < self._retry_at:
            self._writer.hold(line)
            return
        try:
            self._writer.append(line)
        except OSError as error:
            self._refused(error)
            return
        self._retry_at = 0.0

    # -- the background thread ------------------------------------------------------------------

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(
                target=self._run, name=f"emitter-{self.rank}", daemon=True
            )
        self._thread.start()

    def _run(self) -> None:
        wait_s = self._first_s
        while not self._stop.is_set():
            self._due.wait(wait_s)
            wait_s = self._interval_s
            self._due.clear()
            if self._stop.is_set():
                return
            self._retry()
            self._notify()
            if self._closed and not self._writer.held_bytes:
                self._let_go()
                return

    def _retry(self, *, force: bool = False) -> None:
        if not self._writer.held_bytes or (not force and time.monotonic() < self._retry_at):
            return
        with self._lock:
            try:
                self._writer.retry()
                self._retry_at = 0.0
            except OSError as error:
                self._refused(error)
                return
        thinned = self.counters.thinned - self._thinned_noted
        if thinned and not self._closed:
            self._thinned_noted += thinned
            self.mark("thinned", {"events": thinned})

    def _notify(self) -> None:
        last = self._seq - 1
        if self._push is None or last == self._pushed_seq:
            return
        try:
            self._writer.sync()
            held = self._writer.held_bytes
            if self._push(Wake(self.trial, self.attempt, self.rank, last, held)) is not False:
                self._pushed_seq = last
        except Exception as error:
            self.counters.push_errors += 1
            self._warn("push", f"the collector can't be reached, events stay in the spool: {error}")

    def _let_go(self) -> None:
        atexit.unregister(self.flush)
        with self._lock:
            self._writer.close()

    # -- trouble --------------------------------------------------------------------------------

    def _refused(self, error: OSError) -> None:
        self.counters.write_errors += 1
        self._retry_at = time.monotonic() + 0.2
        self._warn(
            "write", f"{self._writer.path} can't be written, events are held in memory: {error}"
        )

    def _broken(self, error: Exception) -> None:
        self.counters.errors += 1
        self._warn("error", f"an event could not be recorded: {type(error).__name__}: {error}")

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            logger.warning("telemetry of %s, rank %d: %s", self.trial, self.rank, text)
