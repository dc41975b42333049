"""What passes, what is added up, and which cells are the worst."""

from __future__ import annotations

import pytest

from orchestrator.calibration.cell import Counts, Part
from orchestrator.calibration.result import (
    RATES,
    WORST,
    Calibration,
    CellResult,
    PartResult,
    Rate,
    added,
    exact,
    may_be,
    to_draw_again,
    worst_of,
)


def cell(
    name: str, part: Part = "verdict", effect: float | None = None, **counts: int
) -> CellResult:
    return CellResult(part, name, {}, effect, Counts(**{"studies": 2000, **counts}))


def calibration(*parts: PartResult) -> Calibration:
    return Calibration("s", "s-1", "rule", "layout", 2000, 0, (), parts)


def part(name: Part, wrong: int, answers: bool = True, covered: int = 1900) -> PartResult:
    one = cell("c", name, wrong=wrong, intervals=2000, covered=covered)
    return PartResult(name, answers, 1, one, one, None)


@pytest.mark.parametrize(("wrong", "passes"), [(0, True), (100, True), (108, True), (112, False)])
def test_a_rate_passes_as_far_as_so_many_studies_can_tell(wrong: int, passes: bool) -> None:
    assert may_be(exact(wrong, 2000)) is passes


def test_a_rate_that_is_known_too_badly_does_not_pass() -> None:
    assert not may_be(exact(5, 100))


def test_errors_of_the_parts_that_answer_are_added() -> None:
    whole = calibration(part("verdict", 60), part("claims", 60))

    assert whole.wrong is not None
    assert whole.wrong.rate == pytest.approx(0.06)
    assert all(one.passes for one in whole.parts)
    assert not whole.passes
    assert calibration(part("verdict", 60), part("effects", 60, answers=False)).passes
    assert not calibration(part("verdict", 60), part("effects", 160, answers=False)).passes


def test_bounds_of_a_sum_are_wider_than_of_one_and_narrower_than_added() -> None:
    one = Rate(0.02, 0.015, 0.026)

    both = added([one, one])

    assert both is not None
    assert both.rate == pytest.approx(0.04)
    assert 0.046 < both.high < 0.052
    assert added([]) is None


def test_too_little_coverage_fails_and_too_much_does_not() -> None:
    assert calibration(part("verdict", 0, covered=2000)).passes
    assert calibration(part("verdict", 0, covered=1860)).passes
    assert not calibration(part("verdict", 0, covered=1850)).passes


def test_the_worst_cells_are_found_among_those_without_effect() -> None:
    cells = [
        cell("a", wrong=5, intervals=10, covered=9, families=10, families_covered=10),
        cell("b", wrong=9, intervals=10, covered=10, families=10, families_covered=10),
        cell("c", wrong=1, families=10, families_covered=2),
        cell("power", effect=1.0, wrong=2000, effects=10, found=4),
        cell("other", "claims", wrong=2000),
    ]

    none = dict.fromkeys(RATES, frozenset[str]())
    wrong, covered, families = worst_of("verdict", cells, (), none)

    assert [one.name for one in (wrong, covered, families) if one] == ["b", "a", "c"]
    assert worst_of("alarms", cells, (), none) == (None, None, None)
    assert cells[3].wrong is None
    assert cells[3].power is not None
    assert cells[3].power.rate == 0.4
    assert cells[0].power is None


def test_more_than_the_worst_cell_is_drawn_again_since_it_may_not_be_the_worst() -> None:
    cells = [
        cell(str(i), wrong=90 + i, intervals=2000, covered=1990 if i else 1860)
        for i in range(WORST + 8)
    ]

    chosen = to_draw_again("verdict", cells)

    assert chosen["wrong"] == {str(i) for i in range(8, WORST + 8)}
    assert "0" in chosen["covered"]
    assert len(chosen["covered"]) == WORST
    assert not chosen["families_covered"]  # none gives sets of intervals


def test_a_rate_whose_worst_cell_is_within_the_limit_is_not_drawn_again() -> None:
    cells = [cell("a", wrong=60), cell("b", wrong=5)]

    assert not to_draw_again("verdict", cells)["wrong"]  # 3.0 %, bound 3.8
    assert to_draw_again("verdict", cells, answering=2)["wrong"] == {"a", "b"}  # its share is 2.5


def test_where_a_rate_was_in_doubt_its_fresh_figures_decide_and_elsewhere_the_first() -> None:
    first = [cell("a", wrong=100, intervals=2000, covered=1950), cell("b", wrong=1)]
    again = [cell("a", wrong=80, intervals=2000, covered=1999)]
    drawn_again = {**dict.fromkeys(RATES, frozenset[str]()), "wrong": frozenset({"a"})}

    wrong, covered, _ = worst_of("verdict", first, again, drawn_again)

    assert wrong is again[0]
    assert covered is first[0]


def test_bounds_of_coverage_count_studies_not_intervals() -> None:
    many = cell("a", intervals=20000, covered=19000).covered

    assert many is not None
    assert many.low == pytest.approx(exact(1900, 2000).low)
