"""What is known of a subject's points: whole Parquet files, to which only new ones are added.

subjects/<subject hash>/subject.json   the trial and the number of its outcome
      points-<workload version>/part-000000.parquet   claim/attempt-0000/   open

A file appears whole, by link(2), or not at all. One live process at a time measures the points of a
subject; others wait for it. Files that have become many are put together: the new one appears
before the old ones go, and rows that are there twice are the same. Of several rows of a point the
newest that did not fail counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.attempts import HeldAttempt, attempts, claim_attempt
from orchestrator.errors import DamagedFileError
from orchestrator.evaluation.rows import Batch, Examples, Part, PointRow, encoded, written
from orchestrator.home import Home, publish_once

SUBJECTS = "subjects"
OPEN = "open"
"""A file beside the points while some that were asked for are missing: it keeps `orrery gc` from
removing the checkpoint that they are measured on."""
MOST_PARTS = 8
"""So many files are put together into one."""
LOOKS = 5
"""How often a folder is read anew whose files were put together meanwhile."""


@dataclass(frozen=True)
class Known:
    """Which of the wanted points were measured, and which failed, by hash."""

    measured: frozenset[str]
    failed: frozenset[str]
    damaged: tuple[str, ...] = ()
    """A line for each file that cannot be read."""


@dataclass(frozen=True)
class Measurements:
    """The rows of the wanted points, by hash, and the examples that their scores are of."""

    rows: Mapping[str, PointRow]
    units: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    score_metric: str | None = None
    measured_at_s: float | None = None
    """When the newest of them was measured."""
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class PointStore:
    """The points of one subject under one version of its workload."""

    folder: Path

    @classmethod
    def of(cls, home: Home, subject: str, version: int) -> PointStore:
        return cls(home.root / SUBJECTS / subject / f"points-{version}")

    def parts(self) -> list[Part]:
        """Its files, the oldest first."""
        try:
            names = [name for name in os.listdir(self.folder) if name.startswith("part-")]
        except FileNotFoundError:
            return []
        return [Part(self.folder / name) for name in sorted(names)]

    def stamp(self) -> str:
        """A hash of its files: their names alone come again when somebody has removed them."""
        for _ in range(LOOKS):
            try:
                return _content_hash(part.path for part in self.parts())
            except FileNotFoundError:  # put together meanwhile
                continue
        raise self._restless()

    def known(self, wanted: Iterable[str], code: str | None = None) -> Known:
        """What is known of these points. `code`: only what sources of that digest measured."""
        ask = set(wanted)
        newest = self._newest(ask, code)
        failed = frozenset(point for point, (_, bad, _) in newest.best.items() if bad)
        return Known(frozenset(newest.best) - failed, failed, newest.damaged)

    def measured(self, wanted: Iterable[str]) -> Measurements:
        """What these points came to, failed ones included."""
        ask = set(wanted)
        for _ in range(LOOKS):
            newest = self._newest(ask, None)
            rows: dict[str, PointRow] = {}
            damaged = list(newest.damaged)
            try:
                for part in newest.parts:
                    try:
                        found = list(part.rows(ask))
                    except DamagedFileError as error:
                        damaged.append(str(error))
                        continue
                    for row in found:
                        bad = row.error is not None
                        if newest.best.get(row.point) == (not bad, bad, row.at_s):
                            rows[row.point] = row
            except FileNotFoundError:  # put together with others meanwhile: looked at anew
                continue
            examples = newest.examples
            return Measurements(
                rows,
                examples.units if examples else (),
                examples.clusters if examples else (),
                examples.score_metric if examples else None,
                max((row.at_s for row in rows.values()), default=None),
                tuple(damaged),
            )
        raise self._restless()

    def append(self, held: HeldAttempt, batch: Batch) -> Path:
        """Adds a batch as one whole file. Raises `Superseded` if another process has taken over,
        `OSError` if the disk refuses; then nothing was added."""
        return self._publish(held, encoded(batch))

    def tidy(self, held: HeldAttempt, most: int = MOST_PARTS) -> None:
        """Puts files together that have become more than `most`; raises as `append`."""
        parts = self.parts()
        if len(parts) <= most:
            return
        groups: dict[tuple[object, str], list[Part]] = {}
        for part in parts:
            try:
                tables = part.tables()
            except (FileNotFoundError, DamagedFileError):
                continue
            key = (part.examples(), str(tables[0].schema.remove_metadata()) if tables else "")
            groups.setdefault(key, []).append(part)
        for group in groups.values():
            if len(group) > 1:
                tables = [table for part in group for table in part.tables()]
                self._publish(held, written(_few(tables)))
                for part in group:
                    part.path.unlink(missing_ok=True)

    def claim(self, study: str, code: str) -> HeldAttempt:
        """Makes this process the one that measures. Raises `BusyError` if another one does."""
        return claim_attempt(self.folder / "claim", outcome_number=0, study=study, code_digest=code)

    def release(self, held: HeldAttempt) -> None:
        """Lets others measure; what earlier claims have left goes. Needs no room on the disk."""
        try:
            held.finish("done")
        except OSError:
            shutil.rmtree(held.folder, ignore_errors=True)
        for older in attempts(self.folder / "claim"):
            if older.number < held.number:
                shutil.rmtree(older.folder, ignore_errors=True)

    def note_open(self, trial: str, outcome: int) -> None:
        """Says that points are missing, and whose model the subject is."""
        content = json.dumps({"trial": trial, "outcome": outcome}, indent=1) + "\n"
        publish_once(self.folder.parent / "subject.json", content.encode(), durable=False)
        (self.folder / OPEN).touch()

    def note_whole(self) -> None:
        """Says that no point that was asked for is missing."""
        (self.folder / OPEN).unlink(missing_ok=True)

    @property
    def is_open(self) -> bool:
        """Whether points are missing that a run has begun to measure."""
        return (self.folder / OPEN).exists()

    @property
    def is_held(self) -> bool:
        """Whether a process measures points that may still live."""
        claims = attempts(self.folder / "claim")
        return bool(claims) and claims[-1].life() != "dead"

    def _publish(self, held: HeldAttempt, content: bytes) -> Path:
        held.verify()
        numbers = [int(part.path.stem.removeprefix("part-")) for part in self.parts()]
        number = max(numbers, default=-1) + 1
        while not publish_once(path := self.folder / f"part-{number:06d}.parquet", content):
            number += 1
        return path

    def _newest(self, wanted: set[str], code: str | None) -> _Newest:
        for _ in range(LOOKS):
            try:
                return self._look(wanted, code)
            except FileNotFoundError:  # put together meanwhile
                continue
        raise self._restless()

    def _restless(self) -> DamagedFileError:
        return DamagedFileError(f"'{self.folder}' cannot be read: its files keep changing.")

    def _look(self, wanted: set[str], code: str | None) -> _Newest:
        found: list[tuple[Part, Examples, list[tuple[str, bool, float]]]] = []
        damaged = []
        for part in self.parts():
            try:
                examples, heads = part.heads()
            except DamagedFileError as error:
                damaged.append(str(error))
                continue
            rows = [
                (point, bad, at_s)
                for point, bad, at_s, by in heads
                if point in wanted and (code is None or by == code)
            ]
            if rows:
                found.append((part, examples, rows))
        # the examples of what was measured last: scores of others cannot stand beside them
        latest = max(found, key=lambda item: max(row[2] for row in item[2]), default=None)
        examples_now = latest[1] if latest else None
        best: dict[str, tuple[bool, bool, float]] = {}
        parts = []
        for part, examples, rows in found:
            if examples != examples_now:
                continue
            parts.append(part)
            for point, bad, at_s in rows:
                best[point] = max(best.get(point, (False, True, 0.0)), (not bad, bad, at_s))
        return _Newest(tuple(parts), examples_now, best, tuple(damaged))


@dataclass(frozen=True)
class _Newest:
    """The files that count, their examples, and (measured, failed, at_s) of each point's row."""

    parts: tuple[Part, ...]
    examples: Examples | None
    best: Mapping[str, tuple[bool, bool, float]]
    damaged: tuple[str, ...]


def _content_hash(paths: Iterable[Path]) -> str:
    """Of names and contents; of a file that cannot be read the name alone counts."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(path.name.encode())
        try:
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        except FileNotFoundError:
            raise
        except OSError:
            continue
    return whole.hexdigest()[:16]


def _few(tables: Sequence[object]) -> list[object]:
    """Small row groups as one: each costs a read."""
    import pyarrow as pa

    return [pa.concat_tables(tables).combine_chunks()]


def stores_of(home: Home, subject: str = "*") -> Iterator[PointStore]:
    """The points of a subject under every version of its workload; by default of all subjects."""
    for folder in sorted((home.root / SUBJECTS).glob(f"{subject}/points-*")):
        yield PointStore(folder)


def verify_points(home: Home) -> Iterator[str]:
    """One line for each file of points that cannot be read, whole."""
    for store in stores_of(home):
        for part in store.parts():
            try:
                part.examples()
                part.tables()
            except DamagedFileError as error:
                yield f"{store.folder.parent.name}: {error}"
            except FileNotFoundError:  # put together with others meanwhile
                continue
