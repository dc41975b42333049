"""The lab of a test session: built for the first test that asks for it, mended after each."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab.fixtures import cases, local, shared_home
from tests.lab.lab import Lab, sweep
from tests.lab.requirements import why_not

__all__ = ["lab", "login", "cases", "local", "shared_home"]
SESSION_NODES = 3


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of three nodes, which see pytest's temporary folders too."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    sweep()
    made = Lab(f"test-{os.getpid()}", SESSION_NODES, share=[tmp_path_factory.getbasetemp()])
    try:
        yield made.up(owned=True)
    finally:
        made.down()


@pytest.fixture(autouse=True)
def mended_lab(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test that uses the lab leaves it to the next as it was."""
    if "lab" not in request.fixturenames:
        yield
        return
    used: Lab = request.getfixturevalue("lab")
    yield
    used.restore()


@pytest.fixture
def login(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The lab, with this process as a shell on its login node."""
    for name, value in lab.env.items():
        monkeypatch.setenv(name, value)
    return lab
