"""The inputs of a workload that reads a language model and a data set: fingerprints and pins."""

from __future__ import annotations

from pathlib import Path

from workloads.datasets.sources import fingerprint, resolve_data
from workloads.models.reference import EMBEDDED_PREFIX, resolve_model


def input_fingerprint(kind: str, value: str, cache: Path | None = None) -> str:
    """Content hash or pinned revision of a model (`kind` is "model") or a data set."""
    if kind == "model":
        return resolve_model(value, cache=cache).fingerprint
    return fingerprint(value, cache=cache)


def pinned_input(kind: str, value: str) -> str:
    """A hub id with the commit that it stands for now; anything else as it is."""
    if value.startswith(EMBEDDED_PREFIX):
        return value
    if kind == "model":
        ref = resolve_model(value)
        return f"{ref.hub_id}@{ref.revision}" if ref.hub_id else value
    source = resolve_data(value)
    return f"{source.name}@{source.revision}" if source.kind == "hub" else value
