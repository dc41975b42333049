"""How arms are laid out over their factors."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.report.factors import cell_value, factor_grid
from orchestrator.verdict import ArmVerdict

MakeArm = Callable[..., ArmVerdict]


def test_the_factor_with_fewest_levels_makes_the_panels(make_arm: MakeArm) -> None:
    levels = [(4, 8, 0.25), (8, 16, 0.25), (16, 16, 0.5), (32, 32, 0.5)]
    arms = [
        make_arm(f"{r}-{a}-{d}", factors={"rank": r, "alpha": a, "layers": d}) for r, a, d in levels
    ]
    grid = factor_grid(arms)

    assert grid is not None
    assert (grid.across, grid.down, grid.panel) == ("rank", "alpha", "layers")
    assert grid.columns == (4, 8, 16, 32)
    assert [arm.arm for arm in grid.panels[0.5][(32, 32)]] == ["32-32-0.5"]
    assert (8, 4) not in grid.panels[0.5]


def test_a_factor_that_never_varies_is_left_out(make_arm: MakeArm) -> None:
    grid = factor_grid([make_arm(f"r{r}", factors={"rank": r, "alpha": 8}) for r in (8, 4)])

    assert grid is not None
    assert (grid.across, grid.down, grid.columns) == ("rank", "", (4, 8))


def test_arms_without_factors_make_no_grid(make_arm: MakeArm) -> None:
    assert factor_grid([make_arm("a"), make_arm("b")]) is None


def test_four_factors_make_no_grid(make_arm: MakeArm) -> None:
    arms = [make_arm(str(i), factors=dict.fromkeys("pqrs", i)) for i in range(2)]

    assert factor_grid(arms) is None


def test_levels_that_are_words_keep_their_order(make_arm: MakeArm) -> None:
    arms = [make_arm(name, factors={"depth": name}) for name in ("first", "all", "last")]
    grid = factor_grid(arms)

    assert grid is not None
    assert grid.columns == ("first", "all", "last")


def test_a_cell_without_a_measurement_has_no_value(make_arm: MakeArm) -> None:
    assert cell_value([make_arm("a", mean=None)]) is None
    assert cell_value([make_arm("a", mean=None), make_arm("b", mean=4.0)]) == 4.0


def test_the_comparator_stands_in_its_own_cell_and_adds_none(make_arm: MakeArm) -> None:
    arms = [
        make_arm("+".join(on), factors={"a": on[0], "b": on[1]})
        for on in (("on", "off"), ("off", "on"), ("on", "on"))
    ]
    alone = make_arm("none", factors={"a": "off", "b": "off"})
    grid = factor_grid(arms, alone)
    assert grid is not None
    assert grid.panels[""][("off", "off")] == (alone,)
    assert grid.full
    stranger = make_arm("none", factors={"a": "other", "b": "off"})
    bare = factor_grid(arms)
    assert bare is not None
    assert not bare.full
    assert factor_grid(arms, stranger) == bare
    second = make_arm("none", factors={"a": "on", "b": "on"})
    assert factor_grid(arms, second) == factor_grid(arms)
