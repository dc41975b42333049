"""Which steps of which metric keys have a row: a few numbers, however long a trial is."""

from __future__ import annotations

from array import array
from bisect import bisect_right


class PublishedSteps:
    """The steps of each key that have a row. Steps at regular distances take no memory."""

    def __init__(self) -> None:
        self._keys: dict[str, _Runs] = {}

    def add(self, key: str, step: int) -> bool:
        """Notes that (key, step) has a row; False if it had one."""
        runs = self._keys.get(key)
        if runs is None:
            runs = self._keys[key] = _Runs()
        return runs.add(step)

    def __contains__(self, row: tuple[str, int]) -> bool:
        runs = self._keys.get(row[0])
        return runs is not None and row[1] in runs

    def __len__(self) -> int:
        return sum(map(len, self._keys.values()))


class _Runs:
    """A set of numbers as runs ``first, first + stride, …, last``, in order, that do not overlap.

    Of a single number the stride is 0.
    """

    __slots__ = ("_first", "_last", "_stride")

    def __init__(self) -> None:
        self._first, self._last, self._stride = array("q"), array("q"), array("q")

    def __contains__(self, step: int) -> bool:
        return self._holds(bisect_right(self._first, step) - 1, step)

    def __len__(self) -> int:
        return sum(
            (last - first) // stride + 1 if stride else 1
            for first, last, stride in zip(self._first, self._last, self._stride, strict=True)
        )

    def add(self, step: int) -> bool:
        """Adds a number; False if it is there."""
        place = bisect_right(self._first, step) - 1
        if self._holds(place, step):
            return False
        if place >= 0 and step < self._last[place]:
            self._split(place, step)
        elif place >= 0 and self._stride[place] in (0, step - self._last[place]):
            self._stride[place] = step - self._last[place]
            self._last[place] = step
        else:
            self._insert(place + 1, step, step, 0)
        return True

    def _holds(self, place: int, step: int) -> bool:
        if place < 0 or step > self._last[place]:
            return False
        stride = self._stride[place]
        return stride == 0 or (step - self._first[place]) % stride == 0

    def _split(self, place: int, step: int) -> None:
        """Puts a number between two of a run."""
        first, last, stride = self._first[place], self._last[place], self._stride[place]
        below = step - (step - first) % stride
        above = below + stride
        self._last[place] = below
        self._stride[place] = stride if below > first else 0
        self._insert(place + 1, step, step, 0)
        self._insert(place + 2, above, last, stride if last > above else 0)

    def _insert(self, place: int, first: int, last: int, stride: int) -> None:
        self._first.insert(place, first)
        self._last.insert(place, last)
        self._stride.insert(place, stride)
