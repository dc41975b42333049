"""Figures of complete tables: printed values, the axioms that define them, and shapiq's."""

from __future__ import annotations

import numpy as np
import pytest

from telemetry.counterfactual import CoalitionError, Figure, Matrix, exact_figures, full
from tests.telemetry.counterfactual.games import TABLE, coalition, names, random, states

SLOTS = ("early", "mid", "late")
EXPECTED = {
    "shapley/early": 1.2667,
    "shapley/mid": 1.1167,
    "shapley/late": 1.7167,
    "banzhaf/early": 1.30,
    "banzhaf/mid": 1.15,
    "banzhaf/late": 1.75,
    "removal_cost/early": 1.2,
    "removal_cost/mid": 0.6,
    "removal_cost/late": 1.5,
    "interaction/early+mid": -0.1,
    "interaction/early+late": 0.5,
    "interaction/mid+late": -0.4,
    "interaction/early+mid+late": -0.4,
    "sii/early+mid": -0.3,
    "sii/early+late": 0.3,
    "sii/mid+late": -0.6,
    "stii/early+mid": -0.2333,
    "stii/early+late": 0.3667,
    "stii/mid+late": -0.5333,
    "total": 4.1,
}


@pytest.mark.parametrize(("figure", "value"), EXPECTED.items())
def test_the_printed_table_of_three_slots_has_its_known_figures(figure: str, value: float) -> None:
    table = Matrix.of(SLOTS, {coalition(bits): value for bits, value in TABLE.items()})
    assert table.figures()[figure] == pytest.approx(value, abs=5e-5)


@pytest.mark.parametrize("n", range(1, 8))
def test_shapley_values_add_up_to_the_total(n: int) -> None:
    values = random(n, np.random.default_rng(n))
    figures = exact_figures(names(n), 1)
    total = figures.only("total").of(values)[0]
    assert figures.only("shapley").of(values).sum() == pytest.approx(total)
    assert total == pytest.approx(values[-1] - values[0])


def test_factors_that_do_the_same_get_the_same() -> None:
    by_size = np.array([0.0, 1.0, 5.0, 5.5, 9.0])
    values = by_size[states(4).sum(axis=1).astype(int)]
    for kind in ("shapley", "banzhaf", "removal_cost", "interaction", "sii", "stii"):
        same = exact_figures(names(4), 2).only(kind).of(values)
        assert same == pytest.approx(np.full(len(same), same[0]))


def test_a_factor_that_changes_nothing_gets_nothing() -> None:
    others = random(3, np.random.default_rng(0))
    values = np.concatenate([others, others])  # the first factor is the highest bit
    figures = exact_figures(names(4))
    for figure, value in zip(figures.figures, figures.of(values), strict=True):
        if "x0" in figure.of:
            assert value == pytest.approx(0.0, abs=1e-12), figure


def test_figures_of_a_sum_of_games_are_sums_of_figures() -> None:
    one, other = (random(4, np.random.default_rng(seed)) for seed in (1, 2))
    figures = exact_figures(names(4))
    assert figures.of(one + 3 * other) == pytest.approx(figures.of(one) + 3 * figures.of(other))


def test_a_constant_has_no_figures() -> None:
    assert exact_figures(names(5)).of(np.full(32, 62.0)) == pytest.approx(0.0, abs=1e-10)


def test_scores_by_example_give_figures_by_example_whose_mean_is_the_figure() -> None:
    scores = np.random.default_rng(0).random((8, 50))
    figures = exact_figures(SLOTS)
    assert figures.of(scores).shape == (len(figures.figures), 50)
    assert figures.of(scores).mean(axis=1) == pytest.approx(figures.of(scores.mean(axis=1)))


@pytest.mark.parametrize(
    ("index", "order", "kind"),
    [
        ("SV", 1, "shapley"),
        ("BV", 1, "banzhaf"),
        ("SII", 2, "sii"),
        ("SII", 3, "sii"),
        ("STII", 2, "stii"),
        ("STII", 3, "stii"),
    ],
)
def test_shapiq_computes_the_same(index: str, order: int, kind: str) -> None:
    from shapiq.game_theory.exact import ExactComputer

    n = 5
    values = random(n, np.random.default_rng(7))
    places = 2 ** np.arange(n)[::-1]
    theirs = ExactComputer(lambda rows: values[np.asarray(rows, dtype=int) @ places], n_players=n)(
        index, order=order
    )
    ours = exact_figures(names(n)).only(kind)  # type: ignore[arg-type]
    for figure, value in zip(ours.figures, ours.of(values), strict=True):
        if len(figure.of) == order:
            members = tuple(int(name[1:]) for name in figure.of)
            assert value == pytest.approx(float(theirs[members]), abs=1e-9), figure


def test_a_figure_is_nan_only_where_a_value_it_needs_is() -> None:
    values = np.zeros(8)
    values[1] = np.nan
    named = exact_figures(SLOTS).named(values)
    assert np.isnan(named["shapley/early"])
    assert named["removal_cost/early"] == 0.0


def test_values_that_are_not_one_per_coalition_are_refused() -> None:
    with pytest.raises(ValueError, match="for 8 coalitions"):
        exact_figures(SLOTS).of(np.zeros(7))


def test_a_figure_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(KeyError, match="shapley/late"):
        exact_figures(SLOTS).row(Figure("shapley", ("fourth",)))


def test_names_that_overlap_and_orders_beyond_three_are_refused() -> None:
    with pytest.raises(CoalitionError, match="overlap: mid"):
        exact_figures(("mid", "late", "mid"))
    with pytest.raises(CoalitionError, match="order 4"):
        exact_figures(SLOTS, 4)


@pytest.mark.parametrize("n", [0, 1])
def test_few_factors_have_the_figures_that_exist(n: int) -> None:
    figures = exact_figures(names(n))
    assert figures.coalitions == full(n)
    assert {f.kind for f in figures.figures} == (
        {"total", "shapley", "banzhaf", "removal_cost"} if n else set()
    )


@pytest.mark.parametrize("n", [3, 6, 10])
def test_a_factor_that_changes_nothing_is_worth_exactly_0(n: int) -> None:
    """Not 3e-15: its cells are equal, so only the sum's rounding differs from 0."""
    from telemetry.counterfactual import exact_figures, full

    values = {on: 60 + 0.1 * i / 7 for i, on in enumerate(full(n - 1))}
    table = [values[on[:-1]] for on in full(n)]
    figures = exact_figures(tuple(f"x{i}" for i in range(n)), 2)
    found = figures.named(table)
    null = {name: value for name, value in found.items() if f"x{n - 1}" in name}
    assert len(null) >= 3
    assert set(null.values()) == {0.0}
    assert found["shapley/x0"] != 0.0
