"""What is left to measure of one subject: handed out in contiguous pieces, halved where one fails.

A worker that dies takes a piece with it: which of its points did that is found by halving. A point
that ends its worker alone is given up, and the others go on.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.evaluation.actor import Chunk, Result, SubjectSpec
from orchestrator.evaluation.points import Asked
from orchestrator.evaluation.rows import Batch, Examples, PointRow
from workloads.evaluation import Point

FIRST = 1
"""Points in a piece before it is known how long one takes: a slow one is known, and kept, alone."""
PIECE_S = 1.0
"""A piece takes about so long: short enough to lose, long enough to share beginnings."""
LEAST_PIECE_S = 0.05
"""Towards the end pieces become smaller, so that workers end together, but not below this."""
MOST = 4096
MOST_DEATHS = 2
"""So often a point may end its worker, measured alone."""
MOST_NODES = 5
"""So often a piece may be lost with its node, which is seldom its fault."""
MOST_OPENINGS = 3
"""So often a subject may end the worker that opens it."""
HOPELESS = 3
"""So many points that end their worker, and none that was measured, give a subject up."""


@dataclass(frozen=True)
class Piece:
    """Indices of points that are measured together, how often that ended a worker, and how often
    the worker's node was lost."""

    indices: tuple[int, ...]
    deaths: int = 0
    nodes: int = 0

    def halves(self) -> tuple[Piece, Piece]:
        middle = (len(self.indices) + 1) // 2
        return Piece(self.indices[:middle]), Piece(self.indices[middle:])


@dataclass
class SubjectWork:
    """The points of one subject that are to be measured."""

    spec: SubjectSpec
    where: str
    """The trial in words, such as `early+late seed 0`."""
    asked: Asked
    order: Sequence[int]
    """All indices in the order in which neighbours share most."""
    wanted: frozenset[str]
    """Hashes of the points that are to be measured."""
    ahead: deque[int] = field(default_factory=deque)
    again: deque[Piece] = field(default_factory=deque)
    out: int = 0
    examples: Examples | None = None
    why: str = ""
    """Why it was given up; empty while it was not."""
    done: int = 0
    openings_lost: int = 0
    hopeless: int = 0
    point_s: float | None = None

    def begin(self, missing: frozenset[str]) -> None:
        """Puts in order what is to be measured: of what is wanted, these hashes."""
        hashes = self.asked.hashes
        self.ahead = deque(index for index in self.order if hashes[index] in missing)
        self.again.clear()

    @property
    def left(self) -> int:
        """Points that are still to be handed out."""
        if self.why:
            return 0
        return len(self.ahead) + sum(len(piece.indices) for piece in self.again)

    @property
    def is_over(self) -> bool:
        return not self.left and not self.out

    def take(self, workers: int) -> Piece | None:
        """The next piece for one of so many workers; None if nothing is left."""
        if self.why:
            return None
        if self.again:
            piece = self.again.popleft()
        elif self.ahead:
            count = min(self._size(workers), len(self.ahead))
            piece = Piece(tuple(self.ahead.popleft() for _ in range(count)))
        else:
            return None
        self.out += 1
        return piece

    def points(self, piece: Piece) -> list[Point]:
        return [self.asked.points[index] for index in piece.indices]

    def untouched(self, piece: Piece) -> None:
        """A piece that no worker has begun goes out again."""
        self.out -= 1
        self.again.appendleft(piece)

    def measured(self, piece: Piece, chunk: Chunk) -> dict[int, Result]:
        """Takes what a piece came to; gives the results by index."""
        self.out -= 1
        results = dict(zip(piece.indices, chunk.results, strict=False))
        if results:
            self.point_s = chunk.seconds / len(results)
            self.done += len(results)
        rest = piece.indices[len(results) :]
        if chunk.raised is not None and rest:
            if len(rest) == 1:
                results[rest[0]] = self._failed(chunk.raised)
            elif results:  # measured one by one: the next one raised
                self.again.extendleft((Piece(rest[1:]), Piece(rest[:1])))
            else:
                self.again.extendleft(reversed(Piece(rest).halves()))
        return results

    def died(self, piece: Piece, cause: str) -> dict[int, Result]:
        """A worker died with this piece; gives the result of a point that is given up for it."""
        self.out -= 1
        if len(piece.indices) > 1:
            self.again.extendleft(reversed(piece.halves()))
            return {}
        if piece.deaths + 1 < MOST_DEATHS:
            self.again.appendleft(dataclasses.replace(piece, deaths=piece.deaths + 1))
            return {}
        return {piece.indices[0]: self._failed(f"its worker died {MOST_DEATHS} times: {cause}")}

    def node_lost(self, piece: Piece, cause: str) -> dict[int, Result]:
        """As `died`, where the whole node is gone: the piece goes out again as it is."""
        if piece.nodes + 1 >= MOST_NODES:
            return self.died(piece, cause)
        self.out -= 1
        self.again.appendleft(dataclasses.replace(piece, nodes=piece.nodes + 1))
        return {}

    def late(self, piece: Piece, cause: str) -> dict[int, Result]:
        """As `died`, of a piece that took too long: trying again would take as long."""
        self.out -= 1
        if len(piece.indices) > 1:
            self.again.extendleft(reversed(piece.halves()))
            return {}
        return {piece.indices[0]: self._failed(cause)}

    def opening_died(self, cause: str) -> None:
        """A worker died while it opened the subject."""
        self.openings_lost += 1
        if self.openings_lost >= MOST_OPENINGS:
            self.give_up(f"the worker that opens it died {self.openings_lost} times: {cause}")

    def opened(self, examples: Examples) -> None:
        if self.examples is not None and examples != self.examples:
            self.give_up("opened a second time it has other examples: their ids must not change")
        else:
            self.examples = examples

    def give_up(self, why: str) -> None:
        """Nothing more is measured; what was stays."""
        self.why = self.why or why
        self.ahead.clear()
        self.again.clear()

    def _failed(self, cause: str) -> Result:
        self.hopeless += 1
        if self.hopeless >= HOPELESS and not self.done:
            self.give_up(
                f"{self.hopeless} points ended their worker, and none was measured: {cause}"
            )
        return Result({}, None, cause)

    def _size(self, workers: int) -> int:
        """A power of two, so that a piece of all coalitions is a whole branch of them."""
        share = math.ceil(len(self.ahead) / (2 * max(1, workers)))
        if self.point_s is None:
            size = min(FIRST, share)
        else:
            point_s = max(self.point_s, 1e-7)
            least = min(PIECE_S, LEAST_PIECE_S) / point_s
            size = max(1, round(max(min(PIECE_S / point_s, share), min(least, len(self.ahead)))))
        return 1 << (min(MOST, max(1, size)).bit_length() - 1)


class Rows:
    """Results on their way to a file: written whole, seldom enough to stay few files."""

    FIRST_S = 3.0
    LONGEST_S = 15.0
    """What a kill may cost."""
    BYTES = 32 * 1024 * 1024

    def __init__(self, code: str) -> None:
        self._code = code
        self._rows: dict[int, PointRow] = {}
        self._began_s = self._since_s = time.monotonic()

    def add(self, work: SubjectWork, results: Mapping[int, Result]) -> None:
        now_s = time.time()
        for index, result in results.items():
            self._rows[index] = PointRow(
                work.asked.hashes[index],
                result.values,
                result.scores,
                result.error,
                now_s,
                self._code,
                result.note,
            )

    @property
    def are_due(self) -> bool:
        """Whether enough has come together: by time, the longer it goes on the more, or size."""
        now_s = time.monotonic()
        pause_s = min(self.LONGEST_S, max(self.FIRST_S, (now_s - self._began_s) / 20))
        size = sum(map(_size, self._rows.values()))
        return bool(self._rows) and (now_s - self._since_s >= pause_s or size >= self.BYTES)

    def batch(self, work: SubjectWork) -> Batch | None:
        """All that waits, and goes on waiting until `forget`; None if nothing does."""
        self._since_s = time.monotonic()
        if not self._rows:
            return None
        examples = work.examples or Examples("", (), ())
        asked = [work.asked.points[index] for index in self._rows]
        return Batch(examples, asked, tuple(self._rows.values()))

    def forget(self) -> None:
        """Drops all that waits: it is written, or cannot be."""
        self._rows = {}


def _size(row: PointRow) -> int:
    scores = row.scores.nbytes if row.scores is not None else 0
    return scores + len(row.note or "")
