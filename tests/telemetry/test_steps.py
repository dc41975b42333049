from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from telemetry.steps import PublishedSteps


@given(st.lists(st.integers(-5, 40), max_size=60))
def test_steps_in_any_order_are_a_set(steps: list[int]) -> None:
    published, known = PublishedSteps(), set[int]()
    for step in steps:
        assert published.add("a", step) == (step not in known)
        known.add(step)
        assert len(published) == len(known)
    assert [step for step in range(-6, 42) if ("a", step) in published] == sorted(known)


def test_keys_do_not_share_steps() -> None:
    published = PublishedSteps()
    assert published.add("a", 1)
    assert published.add("b", 1)
    assert ("a", 1) in published
    assert ("c", 1) not in published
    assert len(published) == 2


def test_a_long_trial_takes_no_more_memory_than_a_short_one() -> None:
    tracemalloc.start()
    try:
        published = PublishedSteps()
        for step in range(0, 1_000_000, 10):
            published.add("train/loss", step)
        assert len(published) == 100_000
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()
