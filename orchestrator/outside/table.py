"""A table of results as it was read: columns of text or numbers, and where each row stood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

MISSING = frozenset({"", "nan", "n/a", "na", "null", "none", "-"})
"""What stands for a number that was not measured, in lower case."""
TRUTH = {"true": "1", "false": "0"}
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity)$"
_COMMA_NUMBER = r"^[+-]?\d*,\d+([eE][+-]?\d+)?$"


@dataclass(frozen=True, eq=False)
class Codes:
    """A column of few different texts. `codes`: ``[rows]``, places in `labels`."""

    codes: NDArray[np.int64]
    labels: list[str]

    def at(self, row: int) -> str:
        return self.labels[int(self.codes[row])]


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of a file.

    Attributes:
        source: the file as the user named it.
        columns: arrow arrays of one length, by name in the file's order.
        row_place: what a person calls a row, such as `line 17`.
        decimal_comma: whether 1,5 may stand for one and a half.
    """

    source: str
    columns: Mapping[str, pa.Array]
    row_place: Callable[[int], str]
    decimal_comma: bool = False

    @cached_property
    def rows(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def refuse(self, row: int, column: str, problem: str) -> UsageError:
        """The error for what stands in a row."""
        return UsageError(f"{self.source} {self.row_place(row)}, column '{column}': {problem}")

    def texts(self, name: str) -> Codes:
        """A column as text without blanks around it; what is missing is empty."""
        import numpy as np

        encoded = _as_text(self.columns[name]).dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return Codes(codes, encoded.dictionary.to_pylist())

    def numbers(self, name: str, hint: str = "") -> NDArray[np.float64]:
        """A column as numbers; NaN is not measured. Raises `UsageError` naming the first that is
        none, with what to write in its place."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.columns[name]
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            values = column.cast(pa.float64(), safe=False)
            return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)
        text = _as_text(column)
        lower = pc.utf8_lower(text)
        for word, number in TRUTH.items():
            text = pc.if_else(pc.equal(lower, word), number, text)
        if self.decimal_comma:
            text = self._with_points(name, text)
        missing = pc.is_in(lower, value_set=pa.array(sorted(MISSING)))
        valid = pc.match_substring_regex(text, _NUMBER)
        wrong = pc.and_(pc.invert(valid), pc.invert(missing)).to_numpy(zero_copy_only=False)
        if wrong.any():
            raise self._no_number(name, int(wrong.argmax()), hint)
        known = pc.if_else(missing, None, pc.replace_substring_regex(text, r"^\+", ""))
        values = known.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return np.asarray(values, dtype=np.float64)

    def _with_points(self, name: str, text: pa.Array) -> pa.Array:
        """Decimal commas as points, unless points stand in the same column."""
        import pyarrow.compute as pc

        commas = pc.match_substring_regex(text, _COMMA_NUMBER).to_numpy(zero_copy_only=False)
        points = pc.match_substring(text, ".").to_numpy(zero_copy_only=False)
        if not commas.any():
            return text
        if points.any():
            first, other = int(commas.argmax()), int(points.argmax())
            raise self.refuse(
                first,
                name,
                f"{self._given(name, first)} has a comma, and {self._given(name, other)} in "
                f"{self.row_place(other)} a point. Write all numbers with one of them, and none "
                "for thousands.",
            )
        return pc.replace_substring(text, ",", ".")

    def _no_number(self, name: str, row: int, hint: str) -> UsageError:
        given = self._given(name, row)
        if hint:
            pass
        elif "," in given:
            hint = "Write it with a point and nothing for thousands, such as 1234.5."
        elif "%" in given:
            hint = "Write it without %."
        else:
            hint = "Write a number; leave empty what was not measured."
        return self.refuse(row, name, f"{given} is no number. {hint}")

    def _given(self, name: str, row: int) -> str:
        text = str(self.columns[name][row].as_py()).strip()
        return repr(text if len(text) <= 40 else text[:39] + "…")


def _as_text(column: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_nested(kind):
        text = pa.array([_told(value) for value in column.to_pylist()], pa.string())
    else:
        text = column.cast(pa.string())
    return pc.utf8_trim_whitespace(pc.fill_null(text, ""))


def _told(value: Any) -> str:
    """A value as a person would write it: 3.0 is 3, and a list its words."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
