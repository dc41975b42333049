"""Curves of finished models: thresholds, widths and stated questions, with intervals.

Importing this loads no numpy; estimating does.
"""

from orchestrator.curves.curve import (
    Crossing,
    Curve,
    CurveAnswer,
    CurvePoint,
    StudyCurves,
    ValueAnswer,
    Width,
)
from orchestrator.curves.metrics import curve_metrics
from orchestrator.curves.study_curves import curves_of

__all__ = [
    "Crossing",
    "Curve",
    "CurveAnswer",
    "CurvePoint",
    "StudyCurves",
    "ValueAnswer",
    "Width",
    "curve_metrics",
    "curves_of",
]
