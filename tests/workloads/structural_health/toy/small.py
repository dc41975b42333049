"""A toy model so small that a step takes a millisecond."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, Any] = {
    "vocabulary": 32,
    "width": 16,
    "heads": 2,
    "layers": 2,
    "feedforward": 16,
    "sequences": 24,
    "length": 6,
    "batch_size": 4,
    "learning_rate": 0.003,
}
