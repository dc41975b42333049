"""Files of points: whole or not there, read past damage, put together without loss."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from orchestrator.attempts import HeldAttempt, Superseded
from orchestrator.errors import BusyError
from orchestrator.evaluation.rows import Batch, Examples, PointRow
from orchestrator.evaluation.store import PointStore, verify_points
from orchestrator.home import Home

EXAMPLES = Examples("accuracy", ("u0", "u1", "u2"), ("a", "a", "b"))
AT_S = 1000.0


def row(
    point: str, value: float | None = 1.0, error: str | None = None, at_s: float = AT_S
) -> PointRow:
    scores = None if error else np.array([1, np.nan, 3], dtype=np.float32)
    return PointRow(point, {} if error else {"accuracy": value}, scores, error, at_s, "code")


def batch(*rows: PointRow, examples: Examples = EXAMPLES) -> Batch:
    return Batch(examples, [{"on": [r.point]} for r in rows], rows)


@pytest.fixture
def store(home: Home) -> PointStore:
    return PointStore.of(home, "subject", 1)


@pytest.fixture
def held(store: PointStore) -> HeldAttempt:
    return store.claim("study-1", "code")


def test_rows_come_back_as_they_were(store: PointStore, held: HeldAttempt) -> None:
    store.append(
        held, batch(row("a", 2.5), row("b", None), row("c", math.nan), row("d", error="x"))
    )
    found = store.measured(["a", "b", "c", "d", "e"])
    assert set(found.rows) == {"a", "b", "c", "d"}
    assert found.rows["a"].values == {"accuracy": 2.5}
    assert found.rows["b"].values == {"accuracy": None}  # not measured is not NaN
    assert math.isnan(found.rows["c"].values["accuracy"] or 0)
    assert (found.rows["d"].error, found.rows["d"].scores) == ("x", None)
    np.testing.assert_array_equal(found.rows["a"].scores, np.float32([1, np.nan, 3]))
    assert (found.units, found.clusters) == (EXAMPLES.units, EXAMPLES.clusters)


def test_a_subject_without_scores_has_rows_too(store: PointStore, held: HeldAttempt) -> None:
    plain = PointRow("a", {"loss": 0.5}, None, None, AT_S, "code")
    store.append(held, batch(plain, examples=Examples("", (), ())))
    assert store.measured(["a"]).rows["a"].values == {"loss": 0.5}


def test_a_point_that_failed_is_measured_once_it_succeeds(
    store: PointStore, held: HeldAttempt
) -> None:
    store.append(held, batch(row("a", error="x")))
    assert store.known(["a"]).failed == {"a"}
    store.append(held, batch(row("a", 2.0, at_s=AT_S + 1)))
    store.append(held, batch(row("a", error="again", at_s=AT_S + 2)))
    assert store.known(["a"]).measured == {"a"}
    assert store.measured(["a"]).rows["a"].values == {"accuracy": 2.0}


def test_what_other_code_measured_can_be_left_out(store: PointStore, held: HeldAttempt) -> None:
    store.append(held, batch(row("a")))
    assert store.known(["a"], "code").measured == {"a"}
    assert store.known(["a"], "other").measured == frozenset()


def test_scores_of_other_examples_do_not_stand_beside(store: PointStore, held: HeldAttempt) -> None:
    store.append(held, batch(row("a")))
    other = Examples("accuracy", ("v0", "v1", "v2"), ("a", "a", "b"))
    store.append(held, batch(row("b", at_s=AT_S + 1), examples=other))
    assert store.known(["a", "b"]).measured == {"b"}
    assert store.measured(["a", "b"]).units == other.units
    assert store.known(["a"]).measured == {"a"}


def test_many_files_become_one_and_nothing_is_lost(store: PointStore, held: HeldAttempt) -> None:
    names = [f"p{index}" for index in range(20)]
    for index, name in enumerate(names):
        store.append(held, batch(row(name, float(index))))
    store.tidy(held)
    assert len(store.parts()) == 1
    found = store.measured(names).rows
    assert [found[name].values["accuracy"] for name in names] == list(map(float, range(20)))
    np.testing.assert_array_equal(found["p7"].scores, np.float32([1, np.nan, 3]))


def test_the_stamp_is_of_what_the_files_hold(store: PointStore, held: HeldAttempt) -> None:
    store.append(held, batch(row("a", 1.0)))
    before = store.stamp()
    assert store.stamp() == before
    for part in store.parts():
        part.path.unlink()
    store.append(held, batch(row("a", 2.0)))
    assert [part.path.name for part in store.parts()] == ["part-000000.parquet"]
    assert store.stamp() != before


def test_putting_together_that_died_half_way_leaves_each_row_once(
    store: PointStore, held: HeldAttempt
) -> None:
    for index in range(10):
        store.append(held, batch(row(f"p{index}")))
    before = {part.path: part.path.read_bytes() for part in store.parts()}
    store.tidy(held)
    for path, content in list(before.items())[5:]:  # not yet removed when it died
        path.write_bytes(content)
    assert len(store.measured(f"p{index}" for index in range(10)).rows) == 10


def test_a_damaged_file_is_told_and_its_points_are_missing(
    home: Home, store: PointStore, held: HeldAttempt
) -> None:
    bad = store.append(held, batch(row("a")))
    store.append(held, batch(row("b")))
    bad.write_bytes(bad.read_bytes()[:-20])
    known = store.known(["a", "b"])
    assert known.measured == {"b"}
    assert "part-000000.parquet" in known.damaged[0]
    assert set(store.measured(["a", "b"]).rows) == {"b"}
    assert ["subject" in line and "cannot be read" in line for line in verify_points(home)] == [
        True
    ]
    store.tidy(held, most=0)
    assert bad.exists()  # left for a person to look at


def test_a_foreign_parquet_file_is_damage(
    store: PointStore, held: HeldAttempt, tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [1]}), store.folder / "part-000000.parquet")
    assert store.known(["a"]).damaged
    store.append(held, batch(row("a")))
    assert store.known(["a"]).measured == {"a"}


def test_what_a_killed_writer_left_is_passed_over(store: PointStore, held: HeldAttempt) -> None:
    (store.folder / ".part-000000.parquet.abc").write_bytes(b"PAR1 half")
    assert store.known(["a"]).damaged == ()
    store.append(held, batch(row("a")))
    assert store.known(["a"]).measured == {"a"}


def test_one_process_measures_at_a_time(store: PointStore, held: HeldAttempt) -> None:
    with pytest.raises(BusyError):
        store.claim("study-2", "code")
    assert store.is_held
    store.release(held)
    assert not store.is_held
    store.release(store.claim("study-2", "code"))


def test_claims_do_not_pile_up(store: PointStore, held: HeldAttempt) -> None:
    store.release(held)
    for _ in range(3):
        store.release(store.claim("study-1", "code"))
    assert len(list((store.folder / "claim").iterdir())) == 1


def test_who_was_superseded_adds_nothing(store: PointStore, held: HeldAttempt) -> None:
    held.finish("preempted")  # taken for dead
    store.claim("study-2", "code")
    with pytest.raises(Superseded):
        store.append(held, batch(row("a")))
    assert store.parts() == []
