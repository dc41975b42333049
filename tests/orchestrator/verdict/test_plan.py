"""What `plan` says a study can resolve."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.statistics import Noise
from orchestrator.verdict import Rule, smallest_resolvable

Make = Callable[..., Rule]


def test_a_study_that_cannot_resolve_half_the_first_band_says_what_would(make_rule: Make) -> None:
    noise = Noise(seed_sd=0.3, persistent_sd=8.0, residual_sd=12.0)
    told = smallest_resolvable(make_rule(), 3, 500, noise, comparisons=10)

    assert not told.enough
    assert told.target == 1.0
    assert told.needed
    seeds, questions = told.needed[-1]
    again = smallest_resolvable(make_rule(), seeds, questions, noise, comparisons=10)
    assert again.enough
    assert again.half_width == pytest.approx(1.0, abs=1e-3)
    assert "takes" in told.text


def test_a_study_that_can_resolve_it_says_how_much(make_rule: Make) -> None:
    told = smallest_resolvable(make_rule(), 5, 5000, Noise(0.1, 8.0, 12.0), comparisons=10)

    assert told.enough
    assert told.text.startswith("5 seeds x 5000 questions resolve a difference of ")
    assert "takes" not in told.text


def test_more_questions_do_not_help_against_noisy_seeds(make_rule: Make) -> None:
    told = smallest_resolvable(make_rule(), 5, 500, Noise(9.0, 8.0, 12.0), comparisons=10)

    assert told.needed == ()
    assert "out of reach" in told.text


def test_one_seed_resolves_nothing(make_rule: Make) -> None:
    told = smallest_resolvable(make_rule(), 1, 500, Noise(1.0, 8.0, 12.0))

    assert told.smallest_difference is None
    assert "no interval" in told.text
