"""A table of coalitions that were measured, and the figures that follow from it once complete.

>>> table = Matrix(("early", "late"), {
...     (False, False): Cell(62.3), (False, True): Cell(64.1),
...     (True, False): Cell(63.5), (True, True): Cell(65.8)})
>>> round(table.figures()["shapley/early"], 2), table.regimes()
(1.45, {'early+late': 'independent'})
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from telemetry.contracts import CounterfactualMatrix, CounterfactualResult
from telemetry.counterfactual.coalitions import (
    Coalition,
    CoalitionError,
    bits,
    check_factors,
    columns,
    full,
    joined,
    named,
    names_on,
)
from telemetry.counterfactual.weights import MOST_ORDER, Figures, Kind, exact_figures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from telemetry.counterfactual.plan import CoalitionPlan

Regime = Literal["synergy", "interference", "recovering", "independent"]
REGIME_POINTS = 0.5
"""Beyond this many points, both ways and strictly, an interaction is one."""
RECOVERING_SLOPE = 0.001
"""Interference that lessens by more points an epoch than this is recovering."""
_NAMED = 8
_TEXT = ("config", "on", "error")
_NUMBERS = ("accuracy", "loss")


class IncompleteMatrixError(ValueError):
    """Coalitions are missing, failed, or came to NaN: no figure is derived from the rest."""


@dataclass(frozen=True)
class Cell:
    """What one coalition came to.

    Attributes:
        accuracy: percent (or the metric the table is of); None: not measured.
        loss: nats.
        alphas: the blend weight each factor had, 0 for one that was off.
        per_class: accuracy by class, percent.
        error: one line of cause where it could not be measured.
    """

    accuracy: float | None
    loss: float | None = None
    alphas: Mapping[str, float | None] = field(default_factory=dict)
    per_class: Mapping[str, float | None] | None = None
    error: str | None = None


@dataclass(frozen=True)
class Matrix:
    """Cells by coalition. All 2^n are asked, or those of a `plan`; some may be missing.

    `note` says what the table was measured on, where that is less than everything: a subset of the
    examples, of layers. Raises `CoalitionError` for a coalition of the wrong length and for names
    that overlap.
    """

    factors: tuple[str, ...]
    cells: Mapping[Coalition, Cell]
    plan: CoalitionPlan | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        check_factors(self.factors)
        if self.plan is not None and self.plan.n != len(self.factors):
            raise CoalitionError(
                f"a plan of {self.plan.n} factors for {len(self.factors)}: "
                f"{', '.join(self.factors)}"
            )
        for coalition in self.cells:
            names_on(coalition, self.factors)

    @classmethod
    def of(cls, factors: Sequence[str], accuracies: Mapping[Coalition, float | None]) -> Matrix:
        """A table of accuracies alone."""
        return cls(tuple(factors), {on: Cell(value) for on, value in accuracies.items()})

    @cached_property
    def asked(self) -> tuple[Coalition, ...]:
        """The coalitions that belong into the table, in order."""
        return full(len(self.factors)) if self.plan is None else self.plan.coalitions

    def problems(self) -> dict[str, str]:
        """What keeps figures from being derived: coalitions by name, and why each."""
        return {
            named(coalition, self.factors): why
            for coalition in self.asked
            if (why := _wrong(self.cells.get(coalition))) is not None
        }

    @property
    def complete(self) -> bool:
        return not self.problems()

    def values(self) -> NDArray[np.float64]:
        """``[coalitions]``: accuracies in the order of `asked`.

        Raises `IncompleteMatrixError`, naming the coalitions that are missing, failed or NaN.
        """
        import numpy as np

        if problems := self.problems():
            told = [f"{name} ({why})" for name, why in list(problems.items())[:_NAMED]]
            more = f" and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
            raise IncompleteMatrixError(
                f"{len(problems)} of {len(self.asked)} coalitions have no value: "
                f"{', '.join(told)}{more}; no figure is derived until they are measured"
            )
        return np.array([self.cells[coalition].accuracy for coalition in self.asked], dtype=float)

    def weights(self, order: int = MOST_ORDER) -> Figures:
        """The figures of this table as weights over `asked`."""
        if self.plan is None:
            return exact_figures(self.factors, order)
        return self.plan.figures(self.factors, order)

    def figures(self, order: int = MOST_ORDER) -> dict[str, float]:
        """All figures by name (``shapley/early``, …). Raises `IncompleteMatrixError`."""
        return self.weights(order).named(self.values())

    def figures_of(self, kind: Kind, order: int = MOST_ORDER) -> dict[str, float]:
        """Figures of one kind, by the names of their factors joined by ``+``."""
        weights = self.weights(order).only(kind)
        values = weights.of(self.values())
        return {
            joined(figure.of): float(value)
            for figure, value in zip(weights.figures, values, strict=True)
        }

    def null_players(self) -> tuple[str, ...]:
        """Factors that changed nothing, exactly, wherever they were measured both on and off.

        A factor that was never measured so is not among them. Raises `IncompleteMatrixError`.
        """
        value = dict(zip(self.asked, self.values(), strict=True))
        return tuple(name for i, name in enumerate(self.factors) if _changes_nothing(i, value))

    def regimes(self, slopes: Mapping[str, float] | None = None) -> dict[str, Regime]:
        """How the factors of each pair go together; `slopes`: of its interaction, by epoch."""
        return {
            pair: regime(value, (slopes or {}).get(pair))
            for pair, value in self.figures_of("interaction", 2).items()
        }

    def to_contract(self, epoch: int) -> CounterfactualMatrix:
        """As a telemetry snapshot. An incomplete table has its cells and every figure None."""
        figures = _figures_or_none(self)
        return CounterfactualMatrix(
            epoch=epoch,
            slots=list(self.factors),
            configs=[
                _result(coalition, self.cells[coalition])
                for coalition in self.asked
                if coalition in self.cells
            ],
            marginal_contributions=_under("banzhaf", figures),
            interaction_effects=_under("interaction", figures),
            shapley_values=_under("shapley", figures),
            note=self.note,
        )

    def rows(self) -> list[dict[str, Any]]:
        """One plain row per coalition that was asked; None where not measured.

        ``config`` ("101"), ``on`` (its name), each factor (see `coalitions.columns`), ``accuracy``,
        ``loss``, ``error``, ``class/…``.
        """
        flags = self._flags
        return [
            _row(on, self.cells.get(on), self.factors, flags, self._classes) for on in self.asked
        ]

    @cached_property
    def _classes(self) -> list[str]:
        return sorted({name for cell in self.cells.values() for name in cell.per_class or {}})

    @cached_property
    def _flags(self) -> tuple[str, ...]:
        """The columns of the factors, in order."""
        taken = (*_TEXT, *_NUMBERS, *(f"class/{name}" for name in self._classes))
        return tuple(columns(self.factors, taken).values())

    def write_csv(self, path: Path) -> None:
        """The table; an empty field is a value that was not measured."""
        rows = self.rows()
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def write_parquet(self, path: Path) -> None:
        """The table; null is a value that was not measured. `note` is in the file's metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = self.rows()
        kinds = dict.fromkeys(_TEXT, pa.string()) | dict.fromkeys(self._flags, pa.bool_())
        fields = [pa.field(name, kinds.get(name, pa.float64())) for name in rows[0]]
        schema = pa.schema(fields, metadata={"note": self.note} if self.note else None)
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")


def regime(interaction: float, slope: float | None = None) -> Regime:
    """What an interaction of a pair, in points, is called.

    Above 0.5 synergy; below -0.5 interference, or recovering if it rises by over 0.001 points an
    epoch (`slope`, see `slope_of`); else independent. A label of one table, not a verdict.
    """
    interaction = round(interaction, 9)  # so that 0.5 is 0.5 however it was added up
    if interaction > REGIME_POINTS:
        return "synergy"
    if interaction < -REGIME_POINTS:
        rising = slope is not None and slope > RECOVERING_SLOPE
        return "recovering" if rising else "interference"
    return "independent"


def slope_of(epochs: Sequence[float], values: Sequence[float]) -> float | None:
    """Points an epoch, by least squares; None for fewer than two different epochs."""
    if len(set(epochs)) < 2:
        return None
    middle = sum(epochs) / len(epochs)
    spread = sum((epoch - middle) ** 2 for epoch in epochs)
    together = zip(epochs, values, strict=True)
    return sum((epoch - middle) * value for epoch, value in together) / spread


def _wrong(cell: Cell | None) -> str | None:
    """Why a cell has no value; None if it has."""
    if cell is None:
        return "missing"
    if cell.error is not None:
        return f"failed: {cell.error}"
    if cell.accuracy is None:
        return "not measured"
    return None if math.isfinite(cell.accuracy) else str(cell.accuracy)


def _changes_nothing(index: int, value: Mapping[Coalition, float]) -> bool:
    """Whether a factor has pairs of coalitions that differ in it alone, and all are equal."""
    pairs = [
        (on, without)
        for on in value
        if on[index] and (without := (*on[:index], False, *on[index + 1 :])) in value
    ]
    return bool(pairs) and all(value[with_it] == value[without] for with_it, without in pairs)


def _figures_or_none(matrix: Matrix) -> dict[str, float | None]:
    weights = matrix.weights()
    if matrix.complete:
        return dict(weights.named(matrix.values()))
    return {figure.name: None for figure in weights.figures}


def _under(kind: Kind, figures: Mapping[str, float | None]) -> dict[str, float | None]:
    prefix = f"{kind}/"
    return {k.removeprefix(prefix): v for k, v in figures.items() if k.startswith(prefix)}


def _result(coalition: Coalition, cell: Cell) -> CounterfactualResult:
    return CounterfactualResult(
        config=list(coalition),
        alpha_settings=dict(cell.alphas),
        val_loss=cell.loss,
        val_accuracy=cell.accuracy,
        per_class_accuracy=None if cell.per_class is None else dict(cell.per_class),
    )


def _row(
    coalition: Coalition,
    cell: Cell | None,
    factors: Sequence[str],
    flags: Sequence[str],
    classes: Sequence[str],
) -> dict[str, Any]:
    found = cell or Cell(None)
    return {
        "config": bits(coalition),
        "on": named(coalition, factors),
        **dict(zip(flags, coalition, strict=True)),
        "accuracy": found.accuracy,
        "loss": found.loss,
        "error": found.error if cell is not None else "missing",
        **{f"class/{name}": (found.per_class or {}).get(name) for name in classes},
    }
