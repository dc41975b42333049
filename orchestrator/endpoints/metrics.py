"""Endpoints as metrics of the study's own run."""

from __future__ import annotations

from orchestrator.endpoints.result import StudyEndpoints

ENDPOINTS = "endpoints/"


def endpoint_metrics(endpoints: StudyEndpoints | None) -> dict[str, float | None]:
    """`endpoints/NAME/ARM` with `/low` and `/high`, with ":" for "+" in a name; None is "not
    told"."""
    named: dict[str, float | None] = {}
    for one in endpoints.comparisons if endpoints is not None else ():
        name = ENDPOINTS + one.name.replace("+", ":")
        named |= {name: one.value, f"{name}/low": one.low, f"{name}/high": one.high}
    return named
