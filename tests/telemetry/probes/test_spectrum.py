from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.probes import (
    effective_rank,
    implied_cosine,
    normalised_ratio,
    numerical_rank,
    ratio_of_cosine,
    sv_ratio,
)

FIGURES = (sv_ratio, numerical_rank, effective_rank)
SPECTRA = st.lists(st.floats(1e-2, 1e3), min_size=2, max_size=20)


@pytest.mark.parametrize(
    "nothing", [[], [0.0], [0.0, 0.0], [1.0, math.nan], [math.inf, 1.0]], ids=str
)
def test_what_cannot_be_told_is_none(nothing: list[float]) -> None:
    assert [figure(nothing) for figure in FIGURES] == [None, None, None]


@pytest.mark.parametrize("figure", FIGURES)
def test_negative_values_are_refused(figure: object) -> None:
    assert callable(figure)
    with pytest.raises(ValueError, match="0 or above; one is -2"):
        figure([1.0, -2.0])


def test_one_direction_and_all_directions_are_the_ends() -> None:
    assert [figure([7.0, 0, 0, 0]) for figure in FIGURES] == [1.0, 1, 1.0]
    assert [figure([7.0] * 4) for figure in FIGURES] == [0.25, 4, pytest.approx(4.0)]


@given(values=SPECTRA, scale=st.floats(-300, 150))
def test_figures_lie_in_their_range_and_do_not_depend_on_scale(
    values: list[float], scale: float
) -> None:
    window = len(values)
    ratio, rank, effective = (figure(values) for figure in FIGURES)
    assert ratio is not None
    assert rank is not None
    assert effective is not None
    assert 1 / window <= ratio * (1 + 1e-12)
    assert ratio <= 1
    assert 1 <= rank <= window
    assert 1 - 1e-12 <= effective <= window * (1 + 1e-12)
    scaled = [value * 10**scale for value in values]
    assert sv_ratio(scaled) == pytest.approx(ratio, rel=1e-9)
    assert effective_rank(scaled) == pytest.approx(effective, rel=1e-9)
    assert numerical_rank(scaled) == numerical_rank(values[::-1])


def test_rank_counts_what_is_above_a_share_of_the_largest() -> None:
    assert numerical_rank([1e5, 0.2, 0.05]) == 2
    assert numerical_rank([1e-9, 1e-10, 1e-16]) == 2
    assert numerical_rank([1.0, 0.5, 0.01], rtol=0.1) == 2


def test_effective_rank_is_the_exponential_of_the_entropy() -> None:
    shares = [0.5, 0.25, 0.25]
    entropy = -sum(share * math.log(share) for share in shares)
    assert effective_rank([2.0, 1.0, 1.0]) == pytest.approx(math.exp(entropy))


@pytest.mark.parametrize(
    ("cosine", "window", "ratio"),
    [
        (0, 10, 0.1),
        (1, 10, 1.0),
        (0.75, 5, 0.5),
        (0.945, 5, 0.7),
        (0.981, 5, 0.8),
        (0.9923, 10, 0.8),
    ],
)
def test_the_closed_form_at_points_that_are_known(cosine: float, window: int, ratio: float) -> None:
    assert ratio_of_cosine(cosine, window) == pytest.approx(ratio, abs=2e-3)
    assert implied_cosine(ratio, window) == pytest.approx(cosine, abs=2e-3)


@given(cosine=st.floats(0, 1), window=st.integers(2, 64))
def test_the_implied_cosine_is_the_inverse(cosine: float, window: int) -> None:
    ratio = ratio_of_cosine(cosine, window)
    assert implied_cosine(ratio, window) == pytest.approx(cosine, abs=1e-6)


@given(window=st.integers(2, 64), ratios=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_all_forms_of_the_ratio_keep_its_order(window: int, ratios: tuple[float, float]) -> None:
    low, high = sorted(1 / window + share * (1 - 1 / window) for share in ratios)
    for form in (implied_cosine, normalised_ratio):
        assert 0 <= form(low, window) <= form(high, window) <= 1


def test_vectors_that_point_apart_have_a_negative_cosine() -> None:
    assert ratio_of_cosine(-0.5, 3) == pytest.approx(0.5)
    assert ratio_of_cosine(-1, 2) == 1


@pytest.mark.parametrize("cosine", [1.1, -0.6, math.nan])
def test_a_cosine_that_no_such_vectors_have_is_refused(cosine: float) -> None:
    with pytest.raises(ValueError, match=r"lies from -0\.5 to 1"):
        ratio_of_cosine(cosine, 3)


@pytest.mark.parametrize("form", [implied_cosine, normalised_ratio])
@pytest.mark.parametrize("ratio", [0.05, 1.1, math.nan])
def test_a_ratio_that_no_window_has_is_refused(form: object, ratio: float) -> None:
    assert callable(form)
    with pytest.raises(ValueError, match=r"that of 10 vectors lies from 0\.1 to 1"):
        form(ratio, 10)


@pytest.mark.parametrize("form", [implied_cosine, normalised_ratio, ratio_of_cosine])
def test_a_window_of_one_is_refused(form: object) -> None:
    assert callable(form)
    with pytest.raises(ValueError, match="2 vectors or more"):
        form(1.0, 1)


def test_a_ratio_off_its_end_by_rounding_is_the_end() -> None:
    assert implied_cosine(0.1 - 1e-9, 10) == 0
    assert implied_cosine(1 + 1e-9, 10) == 1
