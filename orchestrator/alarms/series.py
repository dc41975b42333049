"""Series of signals by run, on one axis of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Series:
    """One signal of one run.

    Attributes:
        steps: [n] ascending.
        values: [n]; NaN or infinite: measured, and not finite.
        measured: [n] False: not measured (its value means nothing).
    """

    steps: NDArray[np.int64]
    values: Floats
    measured: Flags

    @classmethod
    def of(cls, values: Sequence[float | None], steps: Sequence[int] | None = None) -> Series:
        """From numbers and None; steps from 0 on if none are given.

        Raises `ValueError` for steps of another length, or a step twice.
        """
        import numpy as np

        at = np.arange(len(values)) if steps is None else np.asarray(steps, dtype=np.int64)
        if len(at) != len(values):
            raise ValueError(f"{len(at)} steps for {len(values)} values")
        order = np.argsort(at, kind="stable")
        if (np.diff(at[order]) == 0).any():
            raise ValueError("a step stands there twice")
        numbers = np.array([0.0 if one is None else one for one in values], dtype=np.float64)
        known = np.array([one is not None for one in values], dtype=bool)
        return cls(at[order].astype(np.int64), numbers[order], known[order])


@dataclass(frozen=True, eq=False)
class Run:
    """One trial that ended: its signals by name, a name missing where it has no such column.

    `onset`: the step at which its fault sets in; None: at its first step.
    """

    seed: int
    trial: str = ""
    signals: Mapping[str, Series] = field(default_factory=dict)
    onset: int | None = None


@dataclass(frozen=True, eq=False)
class ArmRuns:
    """The runs of an arm that ended with a result; `planned` and `failed` count its trials.

    `waiting`: trials that have not ended. `problems`: what of its runs cannot be used, and why.
    """

    arm: str
    runs: tuple[Run, ...]
    role: str = "arm"
    planned: int = 0
    failed: int = 0
    waiting: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Stack:
    """One signal of many runs on one axis: `values` [runs, steps], NaN where not finite or not
    measured; `measured` [runs, steps]."""

    steps: NDArray[np.int64]
    values: Floats
    measured: Flags

    @cached_property
    def broken(self) -> Flags:
        """[runs, steps] measured, and not finite."""
        import numpy as np

        return np.asarray(self.measured & ~np.isfinite(self.values))


def stack(series: Sequence[Series], steps: NDArray[np.int64]) -> Stack:
    """Series on `steps`, which hold all of theirs; a step that a run does not have (it ended
    earlier, say) was not measured in it."""
    import numpy as np

    values = np.full((len(series), len(steps)), np.nan)
    measured = np.zeros(values.shape, dtype=bool)
    for row, one in enumerate(series):
        at = np.searchsorted(steps, one.steps)
        values[row, at] = np.where(np.isfinite(one.values), one.values, np.nan)
        measured[row, at] = one.measured
    return Stack(steps, np.where(measured, values, np.nan), measured)


def all_steps(arms: Sequence[ArmRuns]) -> NDArray[np.int64]:
    """Every step that any signal of any run has, ascending."""
    import numpy as np

    found = [one.steps for arm in arms for run in arm.runs for one in run.signals.values()]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)


def onsets_of(runs: Sequence[Run], steps: NDArray[np.int64]) -> Floats:
    """[runs] the step at which the fault of each sets in; the first of all steps where that is not
    said."""
    import numpy as np

    begin = float(steps[0]) if len(steps) else 0.0
    return np.array([begin if one.onset is None else float(one.onset) for one in runs])
