"""How the ranks of a step listen to each other."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest

from orchestrator.array import srun_ranks


def test_ranks_that_train_for_long_ask_the_file_server_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 0.0
    monkeypatch.setattr(srun_ranks, "time", SimpleNamespace(monotonic=lambda: now_s))
    looks = srun_ranks._Looks()
    asked = []
    for tick in range(6000):
        now_s = tick / 10
        if looks.due():
            asked.append(now_s)
    assert len(asked) < 6000 / 15
    gaps = [b - a for a, b in pairwise(asked)]
    assert gaps[0] <= 0.2
    assert max(gaps) <= srun_ranks.LONGEST_LOOK_S + 0.1
