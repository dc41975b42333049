"""What `--on` takes, read into what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

PlaceKind = Literal["local", "ray", "slurm", "slurm-array"]

FORMS: Final = (
    "local",
    "ray:ADDRESS (http://HOST:8265, or HOST:6379 on a node of the cluster)",
    "slurm[:PROFILE]",
    "slurm-array[:PROFILE]",
)
"""How a place is written."""


@dataclass(frozen=True)
class Place:
    """Where a study is to run. `detail` is Ray's address, or the name of a SLURM profile."""

    kind: PlaceKind
    detail: str | None = None

    @property
    def runs_elsewhere(self) -> bool:
        """Whether the driver itself runs in the cluster, sent there through Ray's Job API."""
        return self.kind == "ray" and (self.detail or "").startswith(("http://", "https://"))

    def __str__(self) -> str:
        return self.kind if self.detail is None else f"{self.kind}:{self.detail}"


def place_named(on: str) -> Place:
    """Reads `--on`. Raises `ValueError` naming the forms there are."""
    kind, colon, detail = on.partition(":")
    if kind == "ray" and detail:
        return Place("ray", detail)
    if kind in ("slurm", "slurm-array") and (detail or not colon):
        return Place(kind, detail or None)  # type: ignore[arg-type]
    if on == "local":
        return Place("local")
    raise ValueError(f"--on {on}: no such place; there are {', '.join(FORMS)}")
