"""What is drawn has the true means and the noise that a cell says."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.calibration.layout import ArmLayout, Measured, RealScores
from orchestrator.calibration.trial_draws import BinaryDraw, Draw, NormalDraw, real_draw
from orchestrator.statistics import difference, moments

ARMS = (
    ArmLayout("base", "comparator", (0, 1, 2)),
    ArmLayout("a", "arm", (0, 1, 2)),
    ArmLayout("fixed", "arm", (0,), deterministic=True),
)
TRUTH = {"base": 0.0, "a": 3.0, "fixed": -2.0}


def real() -> Measured:
    rng = np.random.default_rng(0)
    units, clusters = 60, np.repeat(np.arange(20), 3)
    scores = {
        arm.name: RealScores(arm.seeds, 40 + rng.normal(0, 2.0, (len(arm.seeds), units)))
        for arm in ARMS
    }
    names = tuple(map(str, range(units)))
    return Measured("test", "x", names, clusters, "runs", "", scores)


def draws() -> list[Draw]:
    found = real_draw(real(), ARMS)
    assert found is not None
    return [
        NormalDraw(seed_sd=1.0, clusters=200, error=0.3),
        NormalDraw(seed_sd=1.0, clusters=12, error=0.3),
        BinaryDraw(seed_sd=1.0, clusters=np.arange(60), rate=0.3, span=2.0),
        found,
    ]


@pytest.mark.parametrize("draw", draws(), ids=lambda draw: type(draw).__name__)
def test_drawn_studies_have_the_true_means_and_say_how_far_they_scatter(draw: Draw) -> None:
    found = draw.moments(ARMS, TRUTH, 400, np.random.default_rng(1))

    for name, true in TRUTH.items():
        one = found[name]
        assert one.mean.shape == (400,)
        assert one.mean.mean() == pytest.approx(true, abs=5 * one.mean.std() / 20)
    estimate = difference(found["a"], found["base"])
    assert np.nanmean(estimate.variance) >= 0.75 * estimate.value.var()
    assert np.nanmean(estimate.variance) <= 1.6 * estimate.value.var()
    assert (found["fixed"].seed_variance == 0).all()


def test_moments_drawn_at_once_are_those_of_normal_scores() -> None:
    """The exact laws against scores that are drawn one by one."""
    rng, studies, units, error = np.random.default_rng(2), 1500, 80, 0.5
    scale = error * units**0.5
    arms = ARMS[:2]
    fast = NormalDraw(seed_sd=2.0, clusters=units, error=error).moments(
        arms, dict.fromkeys(("base", "a"), 0.0), studies, rng
    )
    slow = {}
    for arm in arms:
        lasting = rng.normal(0, scale * 0.5**0.5, (studies, 1, units))
        residual = rng.normal(0, scale * 0.5**0.5, (studies, 3, units))
        seeds = rng.normal(0, 2.0 * error, (studies, 3, 1))
        slow[arm.name] = moments(lasting + residual + seeds)

    for quick, plain in ((fast, slow), (slow, fast)):
        one = difference(quick["a"], quick["base"])
        other = difference(plain["a"], plain["base"])
        for name in ("value", "welch", "paired", "excess"):
            mine, theirs = getattr(one, name), getattr(other, name)
            assert mine.mean() == pytest.approx(
                theirs.mean(), abs=5 * (mine.std() + theirs.std()) / studies**0.5
            )
            assert mine.std() == pytest.approx(theirs.std(), rel=0.2)


def test_the_noisy_arm_scatters_four_times_as_far() -> None:
    draw = NormalDraw(seed_sd=1.0, clusters=100, noisy="a")
    found = draw.moments(ARMS, dict.fromkeys(TRUTH, 0.0), 2000, np.random.default_rng(3))

    assert found["a"].mean.std() / found["base"].mean.std() == pytest.approx(4.0, rel=0.15)


def test_without_replicates_nothing_real_can_be_drawn() -> None:
    known = real()
    once = {name: RealScores((0,), one.values[:1]) for name, one in known.scores.items()}
    alone = Measured("test", "x", known.units, known.clusters, "runs", "", once)

    assert real_draw(alone, ARMS) is None
