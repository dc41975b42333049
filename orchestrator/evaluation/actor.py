"""What runs in a warm worker: a subject is opened once, and points are measured on it in chunks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.evaluation.rows import Examples

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from workloads.evaluation import Measured, Packed, Point, Subject


@dataclass(frozen=True)
class SubjectSpec:
    """Which model: of which outcome of a trial, with its resolved configuration and its last
    checkpoint if it made any."""

    subject: str
    trial: str
    outcome: int
    workload: str
    config: Mapping[str, Any]
    checkpoint: Path | None
    digest: str | None = None
    """Of the checkpoint, as the outcome tells it; None if it does not."""
    again: str = "run the trial again"
    """What to do about a checkpoint that is another now."""


@dataclass(frozen=True)
class Opened:
    """A subject that is open: the examples its scores are of; or why it is not."""

    examples: Examples | None = None
    why: str = ""


@dataclass(frozen=True)
class Result:
    """What one point came to, in plain data. As `workloads.evaluation.Measured`."""

    values: Mapping[str, float | None]
    scores: NDArray[np.float32] | None
    error: str | None
    note: str | None = None


@dataclass(frozen=True)
class Chunk:
    """What the beginning of a chunk came to, as far as it was measured.

    `raised`: what ended it before its last point, in one line; None if it was measured whole.
    Not `begun`: the worker measures no more, or has no subject.
    """

    results: tuple[Result, ...]
    seconds: float
    raised: str | None = None
    begun: bool = True


class PointWorker:
    """The content of a Ray actor. Opens one subject at a time."""

    def __init__(self) -> None:
        self._subject: Subject | None = None
        self._units = 0
        self._broken = False

    def here(self) -> None:
        """Answers once the worker's process is there."""

    def pack(self, spec: SubjectSpec) -> tuple[str, Packed]:
        """What the subject is opened from, for the object store; first why it can't be, if so."""
        from workloads.evaluation import one_line
        from workloads.registry import load_workload

        try:
            _refuse_another(spec)
            workload = load_workload(spec.workload)
            config = workload.Config.model_validate(spec.config)
            return "", workload.pack_subject(config, spec.checkpoint)
        except Exception as error:  # whatever it is, the study goes on with its other subjects
            return one_line(error), {}

    def open(self, spec: SubjectSpec, why: str, packed: Packed) -> Opened:
        """Opens a subject in place of the one before. `why` is what `pack` said."""
        from workloads.evaluation import one_line
        from workloads.registry import load_workload

        self._subject, self._units = None, 0
        if why:
            return Opened(why=why)
        try:
            workload = load_workload(spec.workload)
            config = workload.Config.model_validate(spec.config)
            subject = workload.open_subject(config, packed)
            examples = _examples(subject)
        except Exception as error:
            return Opened(why=one_line(error))
        self._subject, self._units = subject, len(examples.units)
        return Opened(examples)

    def measure(self, points: Sequence[Point]) -> Chunk:
        """Measures points on the open subject. After something was raised it measures no more:
        what state that left the process in, nobody knows."""
        from workloads.evaluation import one_line

        if self._broken or self._subject is None:
            return Chunk((), 0.0, begun=False)
        results: list[Result] = []
        raised = None
        began = time.perf_counter()
        try:
            for measured in self._subject.measure(points):
                if len(results) == len(points):
                    raise ValueError(f"measure() gave more than the {len(points)} results asked")
                results.append(_checked(measured, self._units, self._subject.score_metric))
            if len(results) < len(points):
                raise ValueError(f"measure() gave {len(results)} of {len(points)} results")
        except Exception as error:
            raised, self._broken = one_line(error), True
        return Chunk(tuple(results), time.perf_counter() - began, raised)


def _refuse_another(spec: SubjectSpec) -> None:
    """Raises `InputError` for a checkpoint that is not the one the outcome's numbers are of: it is
    looked at once for all workers, when it is packed."""
    from orchestrator.checkpoint_digest import checkpoint_digest
    from workloads.errors import InputError

    if spec.checkpoint is None or spec.digest is None:
        return
    if checkpoint_digest(spec.checkpoint) != spec.digest:
        raise InputError(
            f"the checkpoint '{spec.checkpoint}' has changed since its trial finished (damaged, or "
            f"put in its place): this is not the model that was trained. {spec.again}"
        )


def _examples(subject: Subject) -> Examples:
    """Raises ValueError for ids that do not name each example once."""
    units, clusters = tuple(map(str, subject.units)), tuple(map(str, subject.clusters))
    if len(units) != len(clusters):
        raise ValueError(f"the subject has {len(units)} units but {len(clusters)} clusters")
    if len(set(units)) != len(units):
        raise ValueError("the subject names two of its units the same")
    return Examples(str(subject.score_metric), units, clusters)


def _checked(measured: Measured, units: int, metric: str) -> Result:
    """A result as it may be kept: what a subject gets wrong becomes the point's error, as does what
    no figure can be made of."""
    if measured.error is not None:
        return Result({}, None, " ".join(measured.error.split()) or "no cause was given")
    try:
        values, scores = _values(measured.values), _scores(measured.scores, units)
        _refuse_what_is_no_number(values, scores, metric)
        return Result(values, scores, None, _note(measured.note))
    except (TypeError, ValueError) as error:
        return Result({}, None, " ".join(str(error).split()))


def _refuse_what_is_no_number(
    values: Mapping[str, float | None], scores: NDArray[np.float32] | None, metric: str
) -> None:
    """Raises ValueError for NaN in any metric, and for infinity in the one that is scored."""
    import numpy as np

    for name, value in values.items():
        if value is not None and (value != value or (name == metric and not np.isfinite(value))):
            raise ValueError(f"'{name}' is {value}")
    if scores is not None and (strange := int((~np.isfinite(scores)).sum())):
        raise ValueError(f"'{metric}' of {strange} of {len(scores)} examples is not finite")


def _values(values: Mapping[str, float | None]) -> dict[str, float | None]:
    plain: dict[str, float | None] = {}
    for name, value in values.items():
        try:
            plain[str(name)] = None if value is None else float(value)
        except (TypeError, ValueError):
            raise ValueError(f"'{name}' is {value!r}, not a number") from None
    return plain


def _note(note: Any) -> str | None:
    """As text that a file can hold."""
    if note is None:
        return None
    if not isinstance(note, str):
        raise ValueError(f"its note is {type(note).__name__}, not text")
    return note.encode("utf-8", "backslashreplace").decode()


def _scores(scores: Any, units: int) -> NDArray[np.float32] | None:
    import numpy as np

    if scores is None:
        return None
    array = np.asarray(scores, dtype=np.float32)
    if array.shape != (units,):
        shape = "×".join(map(str, array.shape)) or "one number"
        raise ValueError(f"scores of length {shape} for {units} examples")
    return array
