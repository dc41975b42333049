"""Removal costs from what was measured on finished models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.effects.removal import Scale, Subject, arm_effects, subject_effects
from orchestrator.evaluation.tables import PointTable
from orchestrator.study_file import Removal
from telemetry.counterfactual import full

from .conftest import FACTORS, name_of

Floats = NDArray[np.float64]
MakeSubject = Callable[..., Subject]
UNITS = 300


@pytest.fixture
def make_subject(game: Floats) -> MakeSubject:
    """A model whose answers follow the known table; the points come in another order."""

    def make(seed: int = 0, **changes: Any) -> Subject:
        rng = np.random.default_rng(seed)
        order = rng.permutation(8)
        coalitions = [full(3)[i] for i in order]
        scores = (rng.random((8, UNITS)) * 100 < game[order][:, None]) * 100.0
        on = tuple(frozenset(name_of(c).split("+")) - {"none"} for c in coalitions)
        usual: dict[str, Any] = {
            "trial": f"trial-{seed}",
            "subject": f"subject-{seed}",
            "factors": FACTORS,
            "points": tuple({"on": sorted(names)} for names in on),
            "on": on,
            "values": {"accuracy": scores.mean(axis=1)},
            "scores": scores.astype(np.float32),
            "units": tuple(f"image{i}" for i in range(UNITS)),
            "clusters": tuple(f"image{i}" for i in range(UNITS)),
            "score_metric": "accuracy",
            "errors": {},
            "missing": (),
        }
        return Subject(f"trial-{seed}", "whole", seed, PointTable(**(usual | changes)))

    return make


def row_of(subject: Subject, name: str) -> int:
    assert subject.table is not None
    return subject.table.on.index(frozenset(name.split("+")))


def test_the_order_of_the_points_does_not_matter(make_subject: MakeSubject) -> None:
    subject = make_subject()
    assert subject.table is not None
    value = {on: float(subject.table.scores[i].mean()) for i, on in enumerate(subject.table.on)}  # type: ignore[index]

    table = subject_effects(Removal(), subject, FACTORS, Scale(unit="%"))

    found = table.find("removal_cost", "late")
    assert found is not None
    everything, without = frozenset(FACTORS), frozenset(FACTORS[:2])
    assert found.value == pytest.approx(value[everything] - value[without])
    assert found.low is not None
    assert (table.question, table.metric, table.unit) == ("removal cost", "accuracy", "%")
    assert table.examples == UNITS


def test_the_pairs_of_answers_make_the_interval(make_subject: MakeSubject) -> None:
    """All coalitions see the same examples: what is common to them cancels."""
    subject = make_subject()
    assert subject.table is not None
    assert subject.table.scores is not None
    difficulty = np.random.default_rng(1).random(UNITS) * 100
    game = subject.table.scores.mean(axis=1)
    paired = (difficulty[None] < game[:, None]) * np.float32(100)
    alike = replace(subject, table=replace(subject.table, scores=paired.astype(np.float32)))

    apart = subject_effects(Removal(), subject, FACTORS, Scale()).find("shapley", "late")
    together = subject_effects(Removal(), alike, FACTORS, Scale()).find("shapley", "late")

    assert apart is not None
    assert together is not None
    assert apart.low is not None
    assert apart.high is not None
    assert together.low is not None
    assert together.high is not None
    assert together.high - together.low < 0.7 * (apart.high - apart.low)


def test_over_models_the_seed_is_the_outer_unit(make_subject: MakeSubject) -> None:
    five = arm_effects(Removal(), [make_subject(s) for s in range(5)], FACTORS, Scale())
    three = arm_effects(Removal(), [make_subject(s) for s in range(3)], FACTORS, Scale())

    assert five.effects[0].replicates == 5
    assert five.about == "5 models of whole"
    assert all(one.label != "helps" for one in three.effects)
    assert five.seeds == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("missing", "coalition early+mid is missing"),
        ("failed", "coalition early+mid failed: RuntimeError: out of luck"),
        ("nan", "coalition early+mid has no finite accuracy"),
    ],
)
def test_one_coalition_that_is_not_there_takes_every_figure_with_it(
    make_subject: MakeSubject, change: str, said: str
) -> None:
    subject = make_subject()
    assert subject.table is not None
    assert subject.table.scores is not None
    whole = subject_effects(Removal(), subject, FACTORS, Scale()).mean_of("early", "late")
    assert whole is not None
    row = row_of(subject, "early+mid")
    scores = subject.table.scores.copy()
    scores[row] = np.nan
    table = replace(
        subject.table,
        scores=scores,
        missing=(row,) if change == "missing" else (),
        errors={row: "RuntimeError: out of luck"} if change == "failed" else {},
    )

    found = subject_effects(Removal(), replace(subject, table=table), FACTORS, Scale())

    assert found.problems == (said,)
    assert all(one.value is None and one.why == said for one in found.effects)
    known = found.mean_of("early", "late")
    assert known is not None
    assert known.by_replicate[0] is not None
    assert known.value == known.by_replicate[0]
    assert (known.low, known.high) == (whole.low, whole.high)
    assert known.low is not None
    lost = found.mean_of("early", "mid")
    assert lost is not None
    assert (lost.value, lost.low, lost.by_replicate) == (None, None, (None,))


def test_a_model_that_is_not_there_yet_is_named_by_its_seed(make_subject: MakeSubject) -> None:
    waiting = Subject("trial-1", "whole", 1, None, "its trial is running: there is no model yet")

    found = arm_effects(Removal(), [make_subject(0), waiting], FACTORS, Scale())

    assert found.problems == ("seed 1: its trial is running: there is no model yet",)
    assert {one.label for one in found.effects} == {"not estimated"}


def test_without_scores_by_example_one_model_has_values_but_no_interval(
    make_subject: MakeSubject,
) -> None:
    subject = make_subject(scores=None, units=(), clusters=())

    found = subject_effects(Removal(), subject, FACTORS, Scale()).find("shapley", "late")

    assert found is not None
    assert found.value is not None
    assert (found.low, found.label) == (None, "not estimated")


def test_where_less_is_better_a_fall_when_on_helps(make_subject: MakeSubject) -> None:
    subject = make_subject()
    assert subject.table is not None
    loss = np.linspace(3.0, 2.0, 8)[:, None] + np.random.default_rng(0).normal(0, 0.01, (8, UNITS))
    on = tuple(frozenset(name_of(c).split("+")) - {"none"} for c in full(3))
    table = replace(
        subject.table, on=on, scores=loss.astype(np.float32), score_metric="loss", values={}
    )

    scale = Scale(unit="nats", direction="lower")
    found = subject_effects(Removal(), replace(subject, table=table), FACTORS, scale)

    assert [found.find("shapley", name).label for name in FACTORS] == ["helps"] * 3  # type: ignore[union-attr]
