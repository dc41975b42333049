"""`--on slurm`: a Ray head beside the driver, and pilot jobs that join as the queue lets them."""

from __future__ import annotations

import _thread
import logging
import signal
import threading
import time
from types import TracebackType

from cluster.contract import ClusterError, ClusterRequest, Resources
from cluster.head import Head
from cluster.ray_notices import silence_notices
from cluster.shared_home import refuse_unless_shared
from cluster.slurm.check import refuse_wrong
from cluster.slurm.commands import Slurm, SlurmError
from cluster.slurm.pilot_size import full_fleet, largest_node, pilot_size
from cluster.slurm.recorded import cancel_ours
from cluster.slurm.records import JobRecords
from cluster.slurm.submission import adopt_or_cancel_strays
from cluster.slurm.tending import Tending
from cluster.sources import Sources

LOOK_EVERY_S = 3.0
FIRST_LOOKS_S = 1.0
"""While nothing else happens than waiting for the first pilot."""
LEAVE_PATIENCE_S = 20.0

logger = logging.getLogger(__name__)


class SlurmCluster:
    """Pilots of one study. They come and go while it runs; none is left when it is left."""

    name = "slurm"

    def __init__(self, request: ClusterRequest) -> None:
        self._request = request
        self._head: Head | None = None
        self._tending: Tending | None = None
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._woken = threading.Event()
        self._failure: ClusterError | None = None

    def __enter__(self) -> Resources:
        """Returns once the first pilot has joined, with what the whole fleet will offer."""
        try:
            return self._enter()
        except BaseException:
            self._leave()
            raise

    def need(self, trials: int) -> None:
        """As in the protocol."""
        if self._tending is not None:
            self._tending.needed = trials
            self._woken.set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _enter(self) -> Resources:
        request = self._request
        slurm = Slurm.find()
        refuse_wrong(request.slurm)
        size = pilot_size(request.trial, request.slurm, largest_node(slurm, request.slurm))
        offered = full_fleet(size, request)
        self._end_earlier(slurm)
        sources = Sources.snapshot(request.home)
        self._head = Head(request, sources)
        head = self._head.start()
        silence_notices()
        self._tending = Tending(slurm, request, size, sources, head.address, head.token_path)
        while not self._tending.joined():
            self._tending.step()
            time.sleep(FIRST_LOOKS_S)
        refuse_unless_shared(request.home)
        self._thread = threading.Thread(target=self._tend, name="orrery-pilots", daemon=True)
        self._thread.start()
        return offered

    def _end_earlier(self, slurm: Slurm) -> None:
        """Cancels pilots of drivers of this study that have died: this one is the study's only."""
        records = JobRecords(self._request.folder)
        cancel_ours(slurm, records, [r for r in records.open() if r.kind == "pilot"])
        adopt_or_cancel_strays(slurm, self._request.study, records)

    def _tend(self) -> None:
        assert self._tending is not None
        while not self._over.is_set():
            self._woken.wait(LOOK_EVERY_S)
            self._woken.clear()
            # at most so often, however fast trials end
            if self._over.wait(FIRST_LOOKS_S):
                return
            try:
                self._tending.step()
            except ClusterError as error:
                self._stop_study(error)
                return
            except Exception:  # Ray is just going away, say: the next look tells
                logger.exception("A look at the pilots failed")

    def _stop_study(self, error: ClusterError) -> None:
        """No pilot can be had any more: interrupts the driver, which then leaves and is told why.

        A process that was started in the background ignores Ctrl-C; so SIGTERM, which drivers take
        the same way.
        """
        self._failure = error
        heard = callable(signal.getsignal(signal.SIGINT))
        _thread.interrupt_main(signal.SIGINT if heard else signal.SIGTERM)

    def _leave(self) -> None:
        """Lets go of everything. May be called twice, and at any point of entering."""
        self._over.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join()
        tending, self._tending, self._thread = self._tending, None, None
        try:
            if tending is not None:
                tending.let_all_go(LEAVE_PATIENCE_S)
        except (SlurmError, OSError) as error:
            # pilots leave by themselves when their head has gone
            logger.warning("Pilots could not be cancelled: %s", error)
        finally:
            if self._head is not None:
                self._head.stop()
