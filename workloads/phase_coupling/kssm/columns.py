"""The columns of every trial's scores. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

TEXTS: Final = "texts"
STEPS: Final = "steps"
STEP_COLUMNS: Final = ("loss", "ce", "r", "u")
TEXT_COLUMNS: Final = ("ce", "entropy", "r_mean", "u_mean")
SCORE_COLUMNS: Mapping[str, Sequence[str]] = {TEXTS: TEXT_COLUMNS, STEPS: STEP_COLUMNS}
SCORE_LIMITS: Mapping[str, tuple[float | None, float | None]] = {
    **dict.fromkeys(("r", "r_mean", "entropy"), (0.0, 1.0)),
    "ce": (0.0, None),
}
"""What columns cannot be below and above, whatever their split; the control is a free number."""

PHASES: Final = "oscillators.json"
"""The artifact with the learned angles and the histogram of R."""
