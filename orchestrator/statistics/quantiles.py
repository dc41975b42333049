"""Student's t quantiles from scipy.special, which loads five times faster than scipy.stats."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from orchestrator.statistics.moments import Floats


def t_upper(tail: float, df: Any) -> Floats:
    """The value that Student's t at ``df`` degrees of freedom exceeds with probability ``tail``."""
    return np.asarray(-special.stdtrit(df, tail), dtype=np.float64)
