"""When runs alarm: the first step whose deviation lies strictly above the threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]


def alarm_steps(deviations: Floats, steps: NDArray[np.int64], threshold: float) -> Floats:
    """[runs] the first alarm of deviations [runs, steps]; infinite for a run that never alarms."""
    import numpy as np

    if not len(steps):
        return np.full(len(deviations), np.inf)
    above = deviations > threshold
    found = steps[np.argmax(above, axis=1)].astype(np.float64)
    return np.where(above.any(axis=1), found, np.inf)


def from_onset(deviations: Floats, steps: NDArray[np.int64], onsets: Floats) -> Floats:
    """The deviations at or after each run's onset [runs]; those before it cannot alarm."""
    import numpy as np

    return np.where(steps >= onsets[:, None], deviations, -np.inf)


def before_onset(deviations: Floats, steps: NDArray[np.int64], onsets: Floats) -> Floats:
    """The deviations before each run's onset [runs]."""
    import numpy as np

    return np.where(steps < onsets[:, None], deviations, -np.inf)
