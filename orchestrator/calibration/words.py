"""Figures of a calibration in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.calibration.result import Rate


def percent(share: float) -> str:
    """`2.1 %`."""
    return f"{share * 100:.1f} %"


def rate_words(rate: Rate | None) -> str:
    """`2.1 % [1.5, 2.8]`, with the exact bounds; `n/a` of nothing."""
    if rate is None:
        return "n/a"
    return f"{percent(rate.rate)} [{rate.low * 100:.1f}, {rate.high * 100:.1f}]"


def condition_words(conditions: Mapping[str, str | float]) -> str:
    """`scores normal, seed SD 1`."""
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, int | float) else f"{key} {value}"
        for key, value in conditions.items()
    )
