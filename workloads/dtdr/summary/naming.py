"""How files and axes of curves are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from workloads.views import CurveView

LABELS = {
    "fraction": "fraction that is kept",
    "noise": "noise on the coefficients, in units of their RMS",
    "rate": "share of damaged bytes or bits",
    "scale": "scale of the guide",
}
METRICS = {
    "top10_overlap": "top-10 overlap with the full decode",
    "cosine": "cosine of logits",
    "centred_cosine": "centred cosine of logits",
    "top1_agreement": "same likeliest token",
    "kl": "KL from the full decode, nats",
    "perplexity_ratio": "perplexity over that of the full decode",
    "relative_l2": "relative L2 error of the weights",
}
"""Metrics that plots offer, the studies' own first."""
FIRST = ("cosine", "top10_overlap")
"""Columns that stand first in each table of curves."""


def stem(along: str) -> str:
    """The name of files about curves along a key; those along the fraction keep the origin's."""
    return "emergence_curve" if along == "fraction" else f"{along}_curve"


def by_along(curves: Iterable[CurveView]) -> dict[str, list[CurveView]]:
    """Curves by the key that they go along, in the order of the study."""
    groups: dict[str, list[CurveView]] = {}
    for curve in curves:
        groups.setdefault(curve.along, []).append(curve)
    return groups


def arms_of(curves: Iterable[CurveView]) -> list[str]:
    """Names of arms in the order of the study."""
    return list(dict.fromkeys(curve.arm for curve in curves))


def paths_of(curves: Iterable[CurveView]) -> list[str]:
    """Names of paths in the order of the study."""
    return list(dict.fromkeys(curve.path for curve in curves))


def label_of(curve: CurveView) -> str:
    """The arm's name, and whether it is a control."""
    return f"{curve.arm} (control)" if curve.role == "control" else curve.arm


def wide(values: Sequence[float]) -> bool:
    """Whether values span so much that an axis is better logarithmic."""
    return min(values) > 0 and max(values) / min(values) > 250


def number(value: float | None, places: int = 3) -> str:
    """A value as text; "n/a" for what was not measured."""
    return "n/a" if value is None else f"{value:.{places}g}"
