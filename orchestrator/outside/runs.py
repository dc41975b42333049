"""The runs in a table: an arm under a seed each, what is said of them, and their scores."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError, unknown
from orchestrator.outside.columns import Columns
from orchestrator.outside.table import TRUTH, Codes, Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

STATES = {
    "": "done",
    "done": "done",
    "finished": "done",
    "completed": "done",
    "failed": "failed",
    "crashed": "failed",
    "pruned": "pruned",
    "running": "running",
    "planned": "planned",
    "scheduled": "planned",
    "pending": "planned",
    "preempted": "preempted",
    "preempting": "preempted",
    "cancelled": "cancelled",
    "killed": "cancelled",
}
"""Of a run, in the words of trackers too."""
LARGEST_SEED = 2**53
LARGEST_SCORE = 1e50
"""Squares of the variances of larger ones leave what a computer can hold."""
FACTOR = "factor."
NOT_SAID = "n/a"
"""What reports write where nothing is known; "none" is a word like any other."""


@dataclass(frozen=True)
class ScoredUnits:
    """What one run scored, a value a unit; `units` None: one score for the whole run."""

    values: list[float]
    units: list[str] | None
    clusters: list[str] | None


class Runs:
    """The runs of a table, in the order of their first rows.

    Attributes:
        keys: (arm, seed) of each run.
        nameless: ``[rows]`` which rows name neither arm nor seed, as parents of runs do.
        row_run: ``[rows]`` which run each row is of; -1 for a nameless one.
    """

    def __init__(self, table: Table, columns: Columns) -> None:
        self.table = table
        self.columns = columns
        self._seed_column = columns.needed("seed", "it tells the runs of an arm apart")
        self.nameless = self._nameless()
        self._arms = self._arm_codes()
        seeds = self._seeds()
        self.keys, self.row_run = self._grouped(seeds)

    def arms(self) -> list[str]:
        """In the order of their first rows."""
        return list(dict.fromkeys(arm for arm, _ in self.keys))

    def said(self, name: str) -> list[str]:
        """What a column says of each run, empty where there is none. Raises `UsageError` for a run
        of which it says two things."""
        column = self.columns.find(name)
        return [""] * len(self.keys) if column is None else self.said_in(column)

    def said_in(self, column: str) -> list[str]:
        """The same of a column by its own name."""
        import numpy as np

        codes = self.table.texts(column)
        first = codes.codes[self._first_rows]
        there = self.row_run >= 0
        other = there & (codes.codes != np.where(there, first[self.row_run], codes.codes))
        if other.any():
            row = int(other.argmax())
            run = int(self.row_run[row])
            before = int(self._first_rows[run])
            raise self.table.refuse(
                row,
                column,
                f"'{codes.at(row)}', but {self.table.row_place(before)} says "
                f"'{codes.at(before)}' of the same run ({self._run_words(run)}). One run has one.",
            )
        told = [codes.labels[int(code)] for code in first]
        return ["" if text == NOT_SAID else text for text in told]

    def states(self) -> list[str]:
        """The state of each run; one of which nothing is said is done."""
        told = self.said("state")
        for run, state in enumerate(told):
            if state.lower() not in STATES:
                row, column = int(self._first_rows[run]), self.columns.find("state") or "state"
                valid = [name for name in STATES if name]
                raise self.table.refuse(row, column, unknown("state", state, valid))
        return [STATES[state.lower()] for state in told]

    def factors(self) -> list[dict[str, str | float]]:
        """What `factor.NAME` columns say of each run."""
        there = [name for name in self.table.columns if name.startswith(FACTOR)]
        told = {name.removeprefix(FACTOR): self.said_in(name) for name in there}
        return [
            {name: _number_or_text(values[run]) for name, values in told.items() if values[run]}
            for run in range(len(self.keys))
        ]

    def splits(self) -> list[str]:
        """The splits that rows are of, if a column says that."""
        column = self.columns.find("split")
        return [] if column is None else sorted(set(self.table.texts(column).labels) - {""})

    def scores(self, column: str, metric: str, split: str | None) -> list[ScoredUnits | None]:
        """What each run scored in a column; None for one without a row of it.

        Only rows of the metric and the split count, where columns say them. Raises `UsageError`
        for numbers that are none, a nameless row with one, a unit twice in one run, and a unit in
        two clusters.
        """
        import numpy as np

        values = self.table.numbers(column)
        self._refuse_values(column, values)
        rows = np.flatnonzero(self._rows_of(metric, split))
        units = self._texts("unit")
        if units is None:
            return self._whole(column, values, rows)
        rows = self._with_units(column, values, rows, units)
        self._refuse_twice(rows, units)
        clusters = self._clusters(rows, units)
        rows = rows[np.argsort(self.row_run[rows], kind="stable")]
        ends = np.searchsorted(self.row_run[rows], np.arange(len(self.keys) + 1))
        found: list[ScoredUnits | None] = []
        for start, end in itertools.pairwise(ends.tolist()):
            mine = rows[start:end]
            found.append(
                None
                if start == end
                else ScoredUnits(
                    values[mine].tolist(),
                    _named(units, mine),
                    _named(clusters, mine),
                )
            )
        return found

    # -- rows -------------------------------------------------------------------------------------

    def _nameless(self) -> NDArray[np.bool_]:
        """None where all are: then the columns are not those that were meant."""
        import numpy as np

        bare = np.ones(self.table.rows, dtype=bool)
        for name in (*self.columns.arm(), self._seed_column):
            codes = self.table.texts(name)
            bare &= np.asarray([not label for label in codes.labels], dtype=bool)[codes.codes]
        return bare & (not bare.all())

    def _refuse_values(self, column: str, values: NDArray[np.float64]) -> None:
        import numpy as np

        for wrong, problem in (
            (self.nameless & ~np.isnan(values), "holds a score, and the row no arm and no seed."),
            (
                np.isfinite(values) & (np.abs(values) > LARGEST_SCORE),
                f"is beyond {LARGEST_SCORE:.0e}, which no mean is taken of.",
            ),
        ):
            if wrong.any():
                raise self.table.refuse(int(wrong.argmax()), column, problem)

    def _arm_codes(self) -> Codes:
        """The arm of each row; of several columns by their names and values."""
        import numpy as np

        names = self.columns.arm()
        if len(names) == 1:
            codes = self.table.texts(names[0])
            empty = np.asarray([not label for label in codes.labels], dtype=bool)[codes.codes]
            if (empty & ~self.nameless).any():
                row = int((empty & ~self.nameless).argmax())
                raise self.table.refuse(row, names[0], "is empty. Every row needs its arm.")
            return codes

        parts = [self.table.texts(name) for name in names]
        joined, place = np.unique(
            np.stack([part.codes for part in parts]), axis=1, return_inverse=True
        )
        short = [name.rpartition(".")[2] for name in names]
        labels = [
            ",".join(f"{n}={part.labels[c]}" for n, part, c in zip(short, parts, one, strict=True))
            for one in joined.T.tolist()
        ]
        return Codes(place.reshape(-1).astype(np.int64), labels)

    def _seeds(self) -> Ints:
        import numpy as np

        name = self._seed_column
        self._refuse_truth(name)
        numbers = self.table.numbers(name, "A seed is a whole number: 0, 1, 2 …")
        numbers = np.where(self.nameless, 0, numbers)
        whole = numbers == np.floor(numbers)  # an infinite one has too many digits
        near = np.abs(numbers) < LARGEST_SEED
        if (whole & ~near).any():
            row = int((whole & ~near).argmax())
            given = self.table.texts(name).at(row)
            given = given if len(given) <= 40 else given[:39] + "…"
            raise self.table.refuse(row, name, f"'{given}' is beyond 2^53. Number the runs anew.")
        if not whole.all():
            row = int((~whole).argmax())
            given = self.table.texts(name).at(row)
            told = f"'{given}' is no whole number" if given else "is empty"
            raise self.table.refuse(row, name, f"{told}. Every row needs the seed of its run.")
        return numbers.astype(np.int64)

    def _refuse_truth(self, name: str) -> None:
        """True and false are numbers elsewhere, and no seeds."""
        import numpy as np

        codes = self.table.texts(name)
        for code, label in enumerate(codes.labels):
            if label.lower() in TRUTH:
                row = int(np.flatnonzero(codes.codes == code)[0])
                raise self.table.refuse(row, name, f"'{label}' is no whole number. Give the seed.")

    def _grouped(self, seeds: Ints) -> tuple[list[tuple[str, int]], Ints]:
        import numpy as np

        kept = np.flatnonzero(~self.nameless)
        different, seed_codes = np.unique(seeds[kept], return_inverse=True)
        pairs = self._arms.codes[kept] * len(different) + seed_codes.reshape(-1)
        named, first, run = np.unique(pairs, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        keys = [
            (self._arms.labels[int(pair // len(different))], int(different[pair % len(different)]))
            for pair in named[order]
        ]
        self._first_rows = kept[first[order]]
        row_run = np.full(len(seeds), -1, dtype=np.int64)
        row_run[kept] = rank[run.reshape(-1)]
        return keys, row_run

    def _rows_of(self, metric: str, split: str | None) -> NDArray[np.bool_]:
        wanted = self.row_run >= 0
        for name, value in (("metric", metric), ("split", split)):
            codes = self._texts(name)
            if codes is None or value is None:
                continue
            if value not in codes.labels:
                labels = [label for label in codes.labels if label]
                if name == "metric":
                    raise (
                        self.columns.missing(value, f"no row is of the metric '{value}'")
                        if (not labels)
                        else UsageError(f"'{self.table.source}': {unknown(name, value, labels)}")
                    )
                return wanted & False
            wanted = wanted & (codes.codes == codes.labels.index(value))
        return wanted

    def _texts(self, name: str) -> Codes | None:
        column = self.columns.find(name)
        return None if column is None else self.table.texts(column)

    def _whole(
        self, column: str, values: NDArray[np.float64], rows: Ints
    ) -> list[ScoredUnits | None]:
        """One score a run: of its last step, where a column says the step."""
        import numpy as np

        step = self.columns.find("step")
        if step is not None and len(rows):
            rows = rows[~np.isnan(values[rows])]  # what a tracker left empty; infinite counts
            steps = self.table.numbers(step)[rows]
            rows = rows[np.argsort(steps, kind="stable")]
            last = {int(self.row_run[row]): int(row) for row in rows}
            rows = np.asarray(sorted(last.values()), dtype=np.int64)
        found: list[ScoredUnits | None] = [None] * len(self.keys)
        before: dict[int, int] = {}
        for row, run in zip(rows.tolist(), self.row_run[rows].tolist(), strict=True):
            if run in before:
                raise self.table.refuse(
                    row,
                    column,
                    f"a second score of {self._run_words(run)}; the first is in "
                    f"{self.table.row_place(before[run])}. If rows are questions, say which column "
                    "names them: --column unit=COLUMN. If they are steps: --column step=COLUMN.",
                )
            before[run] = row
            found[run] = ScoredUnits([float(values[row])], None, None)
        return found

    def _with_units(
        self, column: str, values: NDArray[np.float64], rows: Ints, units: Codes
    ) -> Ints:
        """Rows that name a unit. One without may only say that its run was there."""
        import numpy as np

        empty = [code for code, label in enumerate(units.labels) if not label]
        if not empty:
            return rows
        nameless = units.codes[rows] == empty[0]
        scored = nameless & np.isfinite(values[rows])
        if scored.any():
            row = int(rows[scored.argmax()])
            name = self.columns.find("unit") or "unit"
            raise self.table.refuse(
                row, name, f"is empty, and '{column}' holds a score. Name the unit that was scored."
            )
        kept: Ints = rows[~nameless]
        return kept

    def _refuse_twice(self, rows: Ints, units: Codes) -> None:
        import numpy as np

        pairs = self.row_run[rows] * max(1, len(units.labels)) + units.codes[rows]
        order = np.argsort(pairs, kind="stable")
        again = np.flatnonzero(pairs[order][1:] == pairs[order][:-1])
        if len(again):
            row, before = int(rows[order[again[0] + 1]]), int(rows[order[again[0]]])
            raise self.table.refuse(
                row,
                self.columns.find("unit") or "unit",
                f"'{units.at(row)}' was scored in {self.table.row_place(before)} already, in the "
                f"same run ({self._run_words(int(self.row_run[row]))}). Leave one of them out.",
            )

    def _clusters(self, rows: Ints, units: Codes) -> Codes | None:
        """The cluster of each row; None where none is named."""
        import numpy as np

        name = self.columns.find("cluster")
        if name is None:
            return None
        clusters = self.table.texts(name)
        mine = clusters.codes[rows]
        empty = [code for code, label in enumerate(clusters.labels) if not label]
        if empty and (mine == empty[0]).all():
            return None
        if empty and (mine == empty[0]).any():
            row = int(rows[(mine == empty[0]).argmax()])
            raise self.table.refuse(
                row,
                name,
                "is empty, and other rows have one. Give every unit its cluster, or none.",
            )
        _, first, place = np.unique(units.codes[rows], return_index=True, return_inverse=True)
        other = mine != mine[first][place.reshape(-1)]
        if other.any():
            at = int(other.argmax())
            row, before = int(rows[at]), int(rows[first[place.reshape(-1)[at]]])
            raise self.table.refuse(
                row,
                name,
                f"the unit '{units.at(row)}' is in '{clusters.at(row)}' here and in "
                f"'{clusters.at(before)}' in {self.table.row_place(before)}. A unit has one "
                "cluster; give units that differ different names.",
            )
        return clusters

    def _run_words(self, run: int) -> str:
        arm, seed = self.keys[run]
        return f"arm '{arm}', seed {seed}"


def _named(codes: Codes | None, rows: Ints) -> list[str] | None:
    """The texts of some rows; None of no column."""
    if codes is None:
        return None
    return [codes.labels[code] for code in codes.codes[rows].tolist()]


def _number_or_text(text: str) -> str | float:
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number
