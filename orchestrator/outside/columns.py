"""Which column holds what: as the user says, or by name, bare or as trackers export it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orchestrator.errors import UsageError, unknown
from workloads.errors import nearest

MEANT = (
    "arm",
    "seed",
    "unit",
    "cluster",
    "score",
    "metric",
    "split",
    "step",
    "state",
    "flags",
    "failure",
    "role",
    "deterministic",
    "selection",
    "trial",
    "code",
    "device",
    "dtype",
    "ranks",
)
"""What a column may be."""
_ALSO = {
    "state": ("status",),
    "metric": ("key",),
    "score": ("value",),
    "step": ("_step",),
    "trial": ("id", "run_id"),
    "code": ("code_digest",),
}
"""Other names that exports give them."""
MOST_NAMED = 40
"""Of a table's columns, in messages: a tracker exports hundreds."""
_OF_RUNS = frozenset(MEANT) - {"arm", "seed", "role", "flags"}
"""Never looked for among a tracker's settings: what a run calls its metric is not that of a row."""
_TRACKERS = (
    *("config.", "params.", "tags.", "metrics.", "summary.", "config/", "final/"),
    *("metrics.final/", "summary.final/"),
)


def parsed_columns(given: Iterable[str], metrics: Sequence[str]) -> dict[str, str]:
    """`NAME=COLUMN` options. Raises `UsageError` for a name that means nothing."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, column = (part.strip() for part in text.partition("="))
        if not equals or not column:
            raise UsageError(f"--column '{text}' is not NAME=COLUMN. Example: --column score=f1")
        if name not in MEANT and name not in metrics:
            raise UsageError(unknown("name in --column", name, (*MEANT, *metrics)))
        if name in found:
            raise UsageError(f"--column {name}= is given twice: {found[name]} and {column}.")
        found[name] = column
    return found


class Columns:
    """Finds the columns of a table by what they hold."""

    def __init__(self, source: str, there: Sequence[str], given: Mapping[str, str]) -> None:
        self.source = source
        self.there = list(there)
        self.given = given

    def find(self, name: str) -> str | None:
        """The column that holds `name`; None if none does. Raises `UsageError` for one that was
        given and is not there, and where two might be meant."""
        if name in self.given:
            column = self.given[name]
            if column not in self.there:
                raise self.missing(column, f"--column {name}={column}")
            return column
        for called in (name, *_ALSO.get(name, ())):
            under = () if name in _OF_RUNS else _TRACKERS
            for column in (called, *(f"{prefix}{called}" for prefix in under)):
                if column in self.there:
                    return column
            alike = [one for one in self.there if one.lower() == called.lower()]
            if len(alike) > 1:
                raise UsageError(
                    f"'{self.source}' has the columns {' and '.join(alike)}: say which one is "
                    f"'{name}', with --column {name}=COLUMN."
                )
            if alike:
                return alike[0]
        return None

    def needed(self, name: str, why: str) -> str:
        """The same of one that must be there."""
        column = self.find(name)
        if column is None:
            raise self.missing(name, why)
        return column

    def arm(self) -> tuple[str, ...]:
        """The column that says the arm, or several given with commas between them."""
        given = self.given.get("arm", "")
        parts = tuple(part.strip() for part in given.split(","))
        if given in self.there or len(parts) == 1:
            return (self.needed("arm", "it says what was compared"),)
        for part in parts:
            if part not in self.there:
                raise self.missing(part, f"--column arm={given}")
        return parts

    def missing(self, name: str, why: str) -> UsageError:
        meant = name if name in MEANT else "NAME"
        more = len(self.there) - MOST_NAMED
        others = f" … ({len(self.there)} in all)" if more > 0 else ""
        near = nearest(name, self.there)
        guess = f" Did you mean '{near}'?" if near else ""
        return UsageError(
            f"'{self.source}' has no column '{name}' ({why}).{guess} Its columns: "
            f"{', '.join(self.there[:MOST_NAMED])}{others}. Say which one is meant: "
            f"--column {meant}=COLUMN."
        )
