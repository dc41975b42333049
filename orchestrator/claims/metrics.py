"""Claims as metrics of the study's own run."""

from __future__ import annotations

from orchestrator.claims.result import StudyClaims

CLAIMS = "claims/"


def claim_metrics(claims: StudyClaims | None) -> dict[str, float | None]:
    """`claims/NAME` with `/low` and `/high`, with ":" for "+" in a name; None is "not told"."""
    named: dict[str, float | None] = {}
    for one in claims.claims if claims is not None else ():
        name = CLAIMS + one.name.replace("+", ":")
        named |= {name: one.value, f"{name}/low": one.low, f"{name}/high": one.high}
    return named
