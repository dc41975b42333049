"""Tables of measured coalitions: complete or refused, null players, regimes, files."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from telemetry.counterfactual import (
    Cell,
    CoalitionError,
    IncompleteMatrixError,
    Matrix,
    full,
    plan_coalitions,
    regime,
    slope_of,
)
from tests.telemetry.counterfactual.games import TABLE, coalition

SLOTS = ("early", "mid", "late")
PRINTED = {coalition(bits): value for bits, value in TABLE.items()}


def printed(**changed: Cell | None) -> Matrix:
    """The printed table with some cells another one, or missing. Keys: "b101"."""
    cells = {on: Cell(value) for on, value in PRINTED.items()}
    for bits, cell in changed.items():
        if cell is None:
            del cells[coalition(bits[1:])]
        else:
            cells[coalition(bits[1:])] = cell
    return Matrix(SLOTS, cells)


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (None, "missing"),
        (Cell(None), "not measured"),
        (Cell(math.nan), "nan"),
        (Cell(math.inf), "inf"),
        (Cell(None, error="RuntimeError: out of memory"), "failed: RuntimeError: out of memory"),
    ],
)
def test_no_figure_is_derived_from_a_table_with_a_hole(cell: Cell | None, why: str) -> None:
    table = printed(b101=cell)
    assert table.problems() == {"early+late": why}
    with pytest.raises(IncompleteMatrixError) as caught:
        table.figures()
    assert "1 of 8" in str(caught.value)
    assert f"early+late ({why})" in str(caught.value)
    with pytest.raises(IncompleteMatrixError):
        table.null_players()


def test_a_snapshot_of_a_table_with_a_hole_has_its_cells_and_every_figure_none() -> None:
    snapshot = printed(b101=None).to_contract(4)
    assert len(snapshot.configs) == 7
    assert set(snapshot.values().values()) == {None}
    assert snapshot.shapley_values == dict.fromkeys(SLOTS)


def test_a_snapshot_has_figures_cells_and_alphas() -> None:
    alphas = {"early": 0.6, "mid": 0.0, "late": 0.0}
    cell = Cell(63.5, 1.2, alphas, {"0": 50.0})
    snapshot = printed(b100=cell).to_contract(4)
    assert (snapshot.epoch, snapshot.slots) == (4, list(SLOTS))
    assert snapshot.values()["shapley/late"] == pytest.approx(1.7167, abs=5e-5)
    assert snapshot.values()["marginal/mid"] == pytest.approx(1.15)
    assert snapshot.values()["interaction/early+mid"] == pytest.approx(-0.1)
    found = next(each for each in snapshot.configs if each.config == [True, False, False])
    assert (found.val_loss, found.alpha_settings) == (1.2, alphas)
    assert found.per_class_accuracy == {"0": 50.0}


def test_a_factor_that_changes_nothing_is_said() -> None:
    same = {on: PRINTED[(False, *on[1:])] for on in PRINTED}
    assert Matrix.of(SLOTS, same).null_players() == ("early",)
    nearly = {**same, (True, True, True): same[(True, True, True)] + 1e-9}
    assert Matrix.of(SLOTS, nearly).null_players() == ()


def test_in_a_sample_only_a_factor_measured_on_and_off_can_be_null() -> None:
    plan = plan_coalitions(8, budget=40)
    names = tuple("abcdefgh")
    cells = {on: Cell(float(sum(on[1:]))) for on in plan.coalitions}
    assert Matrix(names, cells, plan).null_players() == ("a",)


def test_a_table_without_factors_is_one_cell() -> None:
    table = Matrix((), {(): Cell(60.0)})
    assert table.complete
    assert table.figures() == {}
    assert table.null_players() == ()


@pytest.mark.parametrize(
    ("interaction", "slope", "label"),
    [
        (0.5, None, "independent"),
        (0.500001, None, "synergy"),
        (-0.5, None, "independent"),
        (-0.6, None, "interference"),
        (-0.6, 0.001, "interference"),
        (-0.6, 0.0011, "recovering"),
        (0.6, 0.5, "synergy"),
    ],
)
def test_regimes_begin_strictly_beyond_their_limits(
    interaction: float, slope: float | None, label: str
) -> None:
    assert regime(interaction, slope) == label


def test_a_table_labels_its_pairs() -> None:
    table = Matrix.of(
        ("a", "b"), {(False, False): 60, (False, True): 62, (True, False): 62, (True, True): 63}
    )
    assert table.regimes() == {"a+b": "interference"}
    assert table.regimes({"a+b": 0.2}) == {"a+b": "recovering"}


def test_a_slope_is_points_an_epoch() -> None:
    assert slope_of([1, 2, 4], [-2.0, -1.5, -0.5]) == pytest.approx(0.5)
    assert slope_of([3], [1.0]) is None


def test_a_coalition_of_another_length_and_slots_that_overlap_are_refused() -> None:
    with pytest.raises(CoalitionError, match="2 bits"):
        Matrix(SLOTS, {(True, False): Cell(1.0)})
    with pytest.raises(CoalitionError, match="overlap: mid"):
        Matrix(("mid", "mid"), {})
    with pytest.raises(CoalitionError, match="plan of 2 factors for 3"):
        Matrix(SLOTS, {}, plan_coalitions(2))


def test_files_tell_what_was_not_measured_from_zero(tmp_path: Path) -> None:
    table = printed(b000=Cell(0.0, None, per_class={"cat": 0.0}), b111=None)
    table.write_csv(tmp_path / "matrix.csv")
    rows = list(csv.DictReader((tmp_path / "matrix.csv").open()))
    assert [row["config"] for row in rows] == sorted(TABLE)
    assert (rows[0]["on"], rows[0]["accuracy"], rows[0]["loss"]) == ("none", "0.0", "")
    assert (rows[7]["accuracy"], rows[7]["error"]) == ("", "missing")
    assert (rows[0]["class/cat"], rows[1]["class/cat"]) == ("0.0", "")

    noted = Matrix(SLOTS, table.cells, note="512 of 1,797 examples")
    noted.write_parquet(tmp_path / "matrix.parquet")
    stored = pq.read_table(tmp_path / "matrix.parquet")
    assert stored.schema.metadata[b"note"] == b"512 of 1,797 examples"
    assert stored.column("accuracy").to_pylist() == [0.0, *list(TABLE.values())[1:7], None]
    assert stored.column("late").to_pylist() == [False, True] * 4


def test_a_factor_named_like_a_column_keeps_its_own(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    factors = ("error", "accuracy", "factor error")
    table = Matrix.of(factors, dict.fromkeys(full(3), 60.0))
    table.write_parquet(tmp_path / "table.parquet")
    last = pq.read_table(tmp_path / "table.parquet").to_pylist()[4]
    assert last["on"] == "error"
    assert last["factor factor error"] is True
    assert (last["factor accuracy"], last["factor error"]) == (False, False)
    assert (last["accuracy"], last["error"]) == (60.0, None)


def test_the_largest_full_table_is_written_in_one_pass() -> None:
    table = Matrix.of(tuple(f"x{i}" for i in range(14)), dict.fromkeys(full(14), 60.0))
    assert len(table.rows()) == 2**14  # quadratic, this would take minutes
