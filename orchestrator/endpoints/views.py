"""Endpoints as a workload's summary sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.views import EndpointView, Estimate

if TYPE_CHECKING:
    from orchestrator.endpoints.result import StudyEndpoints


def endpoint_views(endpoints: StudyEndpoints | None) -> tuple[EndpointView, ...]:
    """Every comparison, in the order of the study; none of a study without endpoints."""
    return tuple(
        EndpointView(
            endpoint=one.endpoint,
            arm=one.arm,
            against=one.against,
            column=one.column,
            split=one.split,
            unit=one.unit,
            margin=one.margin,
            primary=one.primary,
            label=one.label,
            why=one.why,
            difference=Estimate(one.value, one.low, one.high),
            mean=one.mean,
            against_mean=one.against_mean,
            by_seed={seed.seed: seed.value for seed in one.differences},
        )
        for one in (endpoints.comparisons if endpoints is not None else ())
    )
