"""Effects as metrics of the study's own run, in names that MLflow takes as they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from orchestrator.effects import StudyEffects, study_metrics
from orchestrator.effects.tabling import Asked, effect_table, incomplete_table
from telemetry.sinks.mlflow_names import key

Make = Callable[..., Asked]


def effects_of(make_asked: Make, game: NDArray[np.float64]) -> StudyEffects:
    rng = np.random.default_rng(0)
    scores = [game[:, None] + rng.normal(0, 1, (8, 40)) for _ in range(5)]
    causal = effect_table(make_asked(), scores, np.arange(40))
    removal = make_asked(question="removal cost", arm="early+mid+late")
    return StudyEffects(causal, (effect_table(removal, scores[:3], np.arange(40)),))


def test_both_questions_have_metrics_with_ends_under_names_of_their_own(
    make_asked: Make, game: NDArray[np.float64]
) -> None:
    effects = effects_of(make_asked, game)
    named = study_metrics(effects)

    assert effects.causal is not None
    shapley = effects.causal.find("shapley", "mid")
    assert shapley is not None
    told = [named[f"causal/shapley/mid{end}"] for end in ("", "/low", "/high")]
    assert told == [shapley.value, shapley.low, shapley.high]
    assert named["removal/early:mid:late/removal_cost/late/low"] is not None
    assert "causal/removal_cost/late" not in named
    assert [name for name in named if key(name) != name] == []


def test_what_is_not_estimated_is_none(make_asked: Make) -> None:
    table = incomplete_table(make_asked(), ["coalition mid is missing"])
    assert set(study_metrics(StudyEffects(table)).values()) == {None}
    assert study_metrics(None) == {}
