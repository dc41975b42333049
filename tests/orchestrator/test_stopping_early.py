"""Which trials of a search are stopped early."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from orchestrator.engine.scheduling import StopEarly


@pytest.mark.parametrize(("step", "action"), [(4, "STOP"), (8, "CONTINUE")])
def test_a_trial_that_falls_behind_is_stopped_but_not_at_its_end(step: int, action: str) -> None:
    scheduler = StopEarly(
        time_attr="step", metric="x", mode="max", max_t=8, reduction_factor=2,
        stop_last_trials=False,
    )  # fmt: skip
    good, bad = (SimpleNamespace(trial_id=name) for name in ("good", "bad"))
    for trial, value in ((good, 1.0), (bad, 0.0)):
        scheduler.on_trial_add(None, trial)
        told = scheduler.on_trial_result(None, trial, {"step": step, "x": value})
    assert told == action
