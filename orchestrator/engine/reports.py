"""What a trial reports while it runs: passed on, and remembered for its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from orchestrator.home import write_whole
from orchestrator.records import storable
from workloads.contract import Metric, Reporter

NAME = "reported.json"

BEST = "best/"


class Reports:
    """A reporter that passes on what it is told and keeps the last and the best values.

    Which value is the best is known for metrics that declare `higher_is_better`. Both are kept in
    the folder `attempt`; an attempt that goes on from the one in `resumed` starts with its values.
    """

    def __init__(
        self,
        report: Reporter,
        metrics: Mapping[str, Metric],
        attempt: Path,
        resumed: Path | None = None,
    ) -> None:
        self._report, self._metrics = report, metrics
        self._path = attempt / NAME
        kept = _Kept({}, {}) if resumed is None else _kept_in(resumed)
        self.last = kept.last
        self._best = {name: float(best) for name, best in kept.best.items() if best is not None}

    def __call__(self, step: int, metrics: Mapping[str, float | None]) -> None:
        self.last = {name: storable(value) for name, value in metrics.items()}
        for name, value in metrics.items():
            self._compare(name, value)
        kept = msgspec.json.encode(_Kept(self.last, self._storable_best()))
        write_whole(self._path, kept, durable=False)
        self._report(step, metrics)

    def best(self) -> dict[str, float | str | None]:
        """`best/f1` for the best `eval/f1` reported."""
        best = self._storable_best()
        return {f"{BEST}{name.removeprefix('eval/')}": value for name, value in best.items()}

    def _storable_best(self) -> dict[str, float | str | None]:
        return {name: storable(value) for name, value in self._best.items()}

    def _compare(self, name: str, value: float | None) -> None:
        declared = self._metrics.get(name)
        if declared is None or declared.higher_is_better is None or value is None:
            return
        if value != value:
            return
        before = self._best.get(name, value)
        self._best[name] = max(before, value) if declared.higher_is_better else min(before, value)


class _Kept(msgspec.Struct):
    last: dict[str, float | str | None]
    best: dict[str, float | str | None]


def _kept_in(attempt: Path) -> _Kept:
    try:
        return msgspec.json.decode((attempt / NAME).read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        return _Kept({}, {})
