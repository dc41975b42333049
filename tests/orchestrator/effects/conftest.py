"""Games with known figures, and scores by example drawn around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from orchestrator.effects.tabling import Asked
from telemetry.counterfactual import Coalition, exact_figures, full

FACTORS = ("early", "mid", "late")
TABLE = {
    "none": 62.3,
    "early": 63.5,
    "mid": 63.8,
    "late": 64.1,
    "early+mid": 64.9,
    "early+late": 65.8,
    "mid+late": 65.2,
    "early+mid+late": 66.4,
}
"""The three-slot table whose figures are known: Shapley values 1.2667, 1.1167 and 1.7167."""

Game = Mapping[str, float]


def name_of(on: Coalition, factors: tuple[str, ...] = FACTORS) -> str:
    return "+".join(f for f, flag in zip(factors, on, strict=True) if flag) or "none"


@pytest.fixture
def make_asked() -> Callable[..., Asked]:
    """What is asked of a whole table of three factors."""

    def make(**changes: Any) -> Asked:
        figures = exact_figures(FACTORS, 3)
        usual: dict[str, Any] = {
            "question": "causal effect",
            "about": "8 arms",
            "seeds": (0, 1, 2, 3, 4),
            "metric": "accuracy",
            "factors": FACTORS,
            "coalitions": figures.coalitions,
            "figures": figures.figures,
            "weights": figures.weights,
        }
        return Asked(**(usual | changes))

    return make


@pytest.fixture
def game() -> np.ndarray[Any, np.dtype[np.float64]]:
    """[8] the values of the known table, in binary order."""
    return np.array([TABLE[name_of(on)] for on in full(3)])
