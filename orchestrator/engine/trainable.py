"""The Ray Tune trainable: one `train()` result per report of the workload, then its end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from typing import Any

import msgspec
from ray import tune

from orchestrator.engine.failures import one_line
from orchestrator.engine.job import RankLost
from orchestrator.engine.output import run_captured
from orchestrator.engine.ranks import Ranks
from orchestrator.engine.ticket import Ticket
from orchestrator.engine.worker import AttemptFailed, Pruned, run_attempt
from orchestrator.errors import BusyError
from telemetry.emitter import Push

TICKET = "ticket"
STOP_PATIENCE_S = 60.0


class _Told:
    """A message from the thread that runs the trial to the thread that speaks with Tune."""

    def __init__(
        self, result: dict[str, Any] | None = None, error: Exception | None = None
    ) -> None:
        self.result, self.error = result, error


class AttemptTrainable(tune.Trainable):  # type: ignore[misc]
    """Runs an attempt in a thread that waits at each report until Tune says go on or stop.

    One rank runs in that thread; several run in actors of their own, which the thread watches.
    """

    _thread: threading.Thread | None

    def setup(self, config: dict[str, Any], push: Push | None = None) -> None:
        self._push, self._ranks = push, Ranks()
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        if not self._stop_thread():
            return False
        self._take(new_config)
        return True

    def step(self) -> dict[str, Any]:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="orrery-trial", daemon=True)
            self._thread.start()
        else:
            self._go_on.put(True)
        told = self._told.get()
        if told.error is not None:
            raise told.error
        assert told.result is not None
        return told.result

    def cleanup(self) -> None:
        self._stop_thread()
        self._ranks.stop()

    def _take(self, config: dict[str, Any]) -> None:
        self._ticket = msgspec.json.decode(config[TICKET], type=Ticket)
        self._thread = None
        self._last: dict[str, Any] = {}
        self._told: queue.SimpleQueue[_Told] = queue.SimpleQueue()
        self._go_on: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def _run(self) -> None:
        try:
            launch = self._ranks if self._ticket.ranks > 1 else run_captured
            state = run_attempt(self._ticket, self._report, self._push, launch)
            self._told.put(_Told({**self._last, "done": True, "state": state}))
        except BusyError as error:
            self._told.put(_Told({"done": True, "state": "busy", "cause": str(error)}))
        except OSError as error:  # before it was claimed: the disk refuses
            self._told.put(_Told({"done": True, "state": "refused", "cause": one_line(error)}))
        except (AttemptFailed, RankLost) as error:
            self._told.put(_Told(error=error))
        except BaseException as error:
            self._told.put(_Told(error=RuntimeError(f"{type(error).__name__}: {error}")))

    def _report(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Called by the workload, in its own thread."""
        values = {name: value for name, value in metrics.items() if value is not None}
        self._last = {"step": step, "metrics": dict(metrics), **values}
        self._told.put(_Told({**self._last, "state": "running"}))
        if not self._go_on.get():
            raise Pruned

    def _stop_thread(self) -> bool:
        """Ends the trial at the report it waits at. False if it does not end."""
        if self._thread is None or not self._thread.is_alive():
            return True
        self._go_on.put(False)
        self._thread.join(timeout=STOP_PATIENCE_S)
        return not self._thread.is_alive()
