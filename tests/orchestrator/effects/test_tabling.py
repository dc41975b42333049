"""Effects of a table with known figures: values, labels, what is missing, what changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.effects.effect import EffectTable, StudyEffects
from orchestrator.effects.tabling import Asked, effect_table, incomplete_table
from orchestrator.statistics import moments
from orchestrator.verdict.measure import own_interval

Make = Callable[..., Asked]
Floats = NDArray[np.float64]
EXAMPLES = 400


def noisy(game: Floats, seeds: int = 5, sd: float = 2.0) -> list[Floats]:
    """By seed [coalitions, examples], with means that are exactly the game's over the seeds."""
    rng = np.random.default_rng(0)
    scores = rng.normal(0, sd, (seeds, len(game), EXAMPLES))
    scores -= scores.mean(axis=(0, 2), keepdims=True)
    return list(scores + game[None, :, None])


def made(asked: Asked, scores: list[Floats]) -> EffectTable:
    return effect_table(asked, scores, np.arange(scores[0].shape[1]))


def test_figures_of_the_known_table_are_its_known_values(make_asked: Make, game: Floats) -> None:
    table = made(make_asked(), noisy(game))
    known = {
        ("shapley", "early"): 1.2666667,
        ("shapley", "mid"): 1.1166667,
        ("shapley", "late"): 1.7166667,
        ("banzhaf", "early"): 1.3,
        ("left_out", "mid"): 0.6,
        ("interaction", "early", "mid"): -0.1,
        ("interaction", "early", "late"): 0.5,
        ("interaction", "mid", "late"): -0.4,
        ("interaction", "early", "mid", "late"): -0.4,
        ("sii", "mid", "late"): -0.6,
        ("total",): 4.1,
    }
    for (kind, *of), value in known.items():
        effect = table.find(kind, *of)
        assert effect is not None
        assert effect.value == pytest.approx(value, abs=1e-4)
        assert effect.low is not None
        assert effect.high is not None
        assert effect.value is not None
        assert effect.low < effect.value < effect.high


def test_the_two_questions_never_share_a_word(make_asked: Make, game: Floats) -> None:
    causal = made(make_asked(), noisy(game))
    removal = made(make_asked(question="removal cost"), noisy(game))

    assert causal.find("removal_cost", "early") is None
    assert removal.find("left_out", "early") is None
    assert {one.question for one in causal.effects} == {"causal effect"}
    assert {one.question for one in removal.effects} == {"removal cost"}


def test_ends_are_simultaneous_over_the_figures_of_a_kind_and_order(
    make_asked: Make, game: Floats
) -> None:
    table = made(make_asked(), noisy(game))
    families = {(one.kind, len(one.of)): one.family for one in table.effects}

    assert families["shapley", 1] == 3
    assert families["sii", 2] == 3
    assert families["sii", 3] == 1
    assert families["total", 0] == 1


def test_labels_follow_the_interval_and_the_good_direction(make_asked: Make, game: Floats) -> None:
    higher = made(make_asked(), noisy(game, sd=0.5))
    lower = made(make_asked(direction="lower"), noisy(game, sd=0.5))
    blurred = made(make_asked(), noisy(game, sd=60.0))

    assert _label(higher, "shapley", "late") == "helps"
    assert _label(lower, "shapley", "late") == "harms"
    assert _label(blurred, "shapley", "mid") == "inconclusive"
    assert _label(higher, "sii", "mid", "late") == "interference"
    assert _label(lower, "sii", "mid", "late") == "synergy"


def test_three_seeds_make_candidates_and_two_nothing(make_asked: Make, game: Floats) -> None:
    screen = made(make_asked(), noisy(game, seeds=3, sd=0.1))
    two = made(make_asked(), noisy(game, seeds=2, sd=0.01))
    one = made(make_asked(), noisy(game, seeds=1))

    assert _label(screen, "shapley", "late") == "candidate"
    assert _label(two, "shapley", "late") == "inconclusive"
    assert _label(one, "shapley", "late") == "not estimated"
    shapley = one.find("shapley", "late")
    assert shapley is not None
    assert (shapley.low, shapley.why) == (None, "one seed has no interval")


def test_one_model_has_intervals_over_its_examples(make_asked: Make, game: Floats) -> None:
    asked = make_asked(question="removal cost", one_model=True, seeds=(0,))
    table = made(asked, noisy(game, seeds=1, sd=1.0))
    shapley = table.find("shapley", "late")

    assert shapley is not None
    assert shapley.label == "helps"
    assert shapley.low is not None
    # 8 cells of noise 1 on 400 examples: Shapley's weights have length sqrt(7)/6 in three factors
    assert shapley.value is not None
    half = shapley.value - shapley.low
    weight = float(np.sqrt((asked.weights[asked.figures.index(_figure(asked))] ** 2).sum()))
    assert half == pytest.approx(2.4 * weight / np.sqrt(EXAMPLES), rel=0.1)


def test_a_factor_that_changes_nothing_is_a_null_player(make_asked: Make) -> None:
    rng = np.random.default_rng(1)
    half = rng.normal(60, 3, (5, 4, EXAMPLES))  # of early and late; mid changes nothing
    scores = half[:, [0, 1, 0, 1, 2, 3, 2, 3]]

    table = made(make_asked(), list(scores))

    assert table.null_players == ("mid",)
    shapley = table.find("shapley", "mid")
    assert shapley is not None
    assert (shapley.value, shapley.label) == (pytest.approx(0.0, abs=1e-12), "null player")
    assert "mid changes no score" in shapley.why
    assert _label(table, "sii", "mid", "late") == "null player"
    assert _label(table, "shapley", "early") != "null player"


def test_a_factor_of_mean_0_that_changes_answers_is_no_null_player(make_asked: Make) -> None:
    base = np.random.default_rng(2).normal(60, 3, (5, 1, EXAMPLES)).repeat(8, axis=1)
    mid = np.array([0, 0, 1, 1, 0, 0, 1, 1])[None, :, None]
    swing = np.where(np.arange(EXAMPLES) % 2, 1.0, -1.0)

    table = made(make_asked(), list(base + mid * swing))

    assert "mid" not in table.null_players
    assert _label(table, "shapley", "mid") == "inconclusive"


def test_an_incomplete_table_gives_no_figure_and_says_what_is_missing(make_asked: Make) -> None:
    missing = ["coalition early+mid, seed 3: failed (diverged)", "coalition late, seed 0: planned"]
    means = [[60.0] * 8, [None] * 8]

    table = incomplete_table(make_asked(), missing, means)

    assert table.effects
    assert all(one.value is None and one.low is None for one in table.effects)
    assert {one.label for one in table.effects} == {"not estimated"}
    assert "early+mid, seed 3: failed (diverged); 1 more" in table.effects[0].why
    assert table.problems == tuple(missing)
    assert table.coalitions[0].by_replicate == (60.0, None)


def test_nan_scores_are_refused(make_asked: Make, game: Floats) -> None:
    scores = noisy(game)
    scores[2][3, 5] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        made(make_asked(), scores)


def test_coalitions_keep_their_means_by_seed(make_asked: Make, game: Floats) -> None:
    scores = noisy(game)
    table = made(make_asked(), scores)

    cell = table.mean_of("early", "late")
    assert cell is not None
    assert cell.value == pytest.approx(65.8)
    assert cell.by_replicate == tuple(pytest.approx(float(one[5].mean())) for one in scores)
    assert cell.low is not None
    assert table.mean_of() is not None


def test_the_mean_of_a_coalition_has_the_interval_of_an_arm(make_asked: Make) -> None:
    """Right and wrong answers, few of them wrong: figures are widened for that, an arm is not."""
    rng = np.random.default_rng(3)
    scores = 100.0 * (rng.random((5, 8, EXAMPLES)) > 0.02)
    cell = made(make_asked(), list(scores)).mean_of("early", "late")
    assert cell is not None
    arm = own_interval(moments(scores[:, 5], np.arange(EXAMPLES)), 0.95)
    assert (cell.low, cell.high) == pytest.approx(arm)


def test_effects_are_plain_json(make_asked: Make, game: Floats) -> None:
    table = made(make_asked(), noisy(game))
    data = StudyEffects(causal=table).to_json()
    again = json.loads(json.dumps(data, allow_nan=False))

    assert again["causal_effect"]["effects"][0]["name"] == table.effects[0].name
    assert again["causal_effect"]["coalitions"][0]["name"] == "none"
    assert again["removal_cost"] == []


def _label(table: EffectTable, kind: str, *of: str) -> str:
    found = table.find(kind, *of)
    assert found is not None
    return found.label


def _figure(asked: Asked) -> Any:
    return next(f for f in asked.figures if (f.kind, f.of) == ("shapley", ("late",)))
