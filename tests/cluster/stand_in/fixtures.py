"""Fixtures of the stand-in, imported by `tests/conftest.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.stand_in.controller import SlurmStandIn


@pytest.fixture
def slurm_stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmStandIn]:
    """A SLURM without SLURM, first on PATH; what runs in it is killed at the end of the test."""
    stand_in = SlurmStandIn()
    stand_in.start()
    monkeypatch.setenv("PATH", stand_in.environment["PATH"])
    for name in ("SLURM_CONF", "ORRERY_CLUSTERS"):
        monkeypatch.delenv(name, raising=False)
    try:
        yield stand_in
    finally:
        stand_in.stop()
