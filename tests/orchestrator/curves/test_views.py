"""What a workload's summary sees of curves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import t

from orchestrator.curve_design import Fractions
from orchestrator.curves.curve import Curve, CurvePoint, StudyCurves
from orchestrator.curves.views import curve_views
from workloads.views import Estimate

DESIGN = Fractions.model_validate(
    {
        "kind": "fractions",
        "metric": "overlap",
        "values": [0.5, 1.0],
        "arms": [{"name": "plain", "role": "control"}],
        "paths": {"zero": {"point": {"fill": "zero"}}},
    }
)


def curves(clusters: int | None, *points: CurvePoint) -> StudyCurves:
    curve = Curve(
        arm="plain",
        role="control",
        path="zero",
        along="fraction",
        metric="overlap",
        unit="",
        rising=True,
        points=points,
        clusters=clusters,
    )
    return StudyCurves("overlap", 0.9, 0.5, 0.1, 0.9, (curve,), (), "", "no question")


def point(value: float, **parts: Any) -> CurvePoint:
    return CurvePoint(value, 0.25, 0.125, 0.5, metrics={"overlap": 0.25, "kl": 2.0}, **parts)


def test_a_curve_keeps_its_interval_and_other_metrics_get_theirs_from_their_error() -> None:
    told = curves(9, point(0.5, spreads={"kl": 0.5}, notes=("a", "b")), point(1.0))
    (view,) = curve_views(DESIGN, told)
    assert (view.role, view.values, view.point) == ("control", (0.5, 1.0), {"fill": "zero"})
    assert view.notes == (("a", "b"), ())
    assert view.metrics["overlap"][0] == Estimate(0.25, 0.125, 0.5)
    half = 0.5 * t.ppf(0.95, 8)
    first, last = view.metrics["kl"]
    assert first.low == pytest.approx(2 - half)
    assert first.high == pytest.approx(2 + half)
    assert last == Estimate(2.0)


def test_ends_that_no_value_can_have_are_not_shown() -> None:
    told = curves(9, point(0.5, spreads={"kl": 5.0}))
    (view,) = curve_views(DESIGN, replace(told, limits={"kl": (0.0, None)}))
    (kl,) = view.metrics["kl"]
    assert (kl.value, kl.low) == (2.0, 0.0)
    assert kl.high is not None
    assert kl.high > 10  # the other end stays where it was


def test_what_was_not_measured_has_no_estimate_and_one_text_no_interval() -> None:
    missing = CurvePoint(0.5, None, metrics={}, problem="it failed")
    (view,) = curve_views(DESIGN, curves(1, missing, point(1.0, spreads={"kl": 0.5})))
    assert view.metrics["overlap"][0] == Estimate(None)
    assert view.metrics["kl"] == (Estimate(None), Estimate(2.0))
