"""Studies of `Dial`: a design `fractions` that costs nothing to measure."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from orchestrator.home import Home
from orchestrator.study import Study

DIAL = "tests.orchestrator.evaluation.dial_workload:Dial"
VALUES = [0.2, 0.4, 0.6, 0.8, 1.0]


def dial_mapping(**design: Any) -> dict[str, Any]:
    """Two arms, zero and random fill with two draws, and three questions; `design` changes it."""
    curves: dict[str, Mapping[str, Any]] = {
        name: {"arm": arm, "path": "zeros"} for name, arm in (("one", "steep"), ("other", "flat"))
    }
    return {
        "name": "dial",
        "question": "Is the steep one sharper?",
        "workload": DIAL,
        "design": {
            "kind": "fractions",
            "metric": "overlap",
            "values": list(VALUES),
            "arms": [
                {"name": "steep", "overrides": {"width": 0.05}},
                {"name": "flat", "overrides": {"width": 0.2}, "role": "control"},
            ],
            "paths": {
                "zeros": {"point": {"fill": "zero"}},
                "noise": {"point": {"fill": "random"}, "draws": [0, 1], "of": ["steep"]},
            },
            "questions": {
                "sharper": {
                    "kind": "sharper",
                    "curve": dict(curves["one"]),
                    "than": dict(curves["other"]),
                    "margin": 0.05,
                },
                "higher": {
                    "kind": "higher",
                    "curve": dict(curves["one"]),
                    "than": {"arm": "steep", "path": "noise"},
                    "margin": 0.02,
                },
                "matched": {
                    "kind": "matched",
                    "curve": dict(curves["one"]),
                    "than": dict(curves["other"]),
                    "by": "error_l2",
                    "margin": 0.02,
                },
            },
            **deepcopy(design),
        },
    }


def dial_study(home: Home, parts: Mapping[str, Any] | None = None, **design: Any) -> Study:
    return Study.load({**dial_mapping(**design), **(parts or {})}, home=home.root)
