"""A study's decision rule on simulated studies: which cells, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from orchestrator.calibration.cell import Cell, Counts, Part
from orchestrator.calibration.result import (
    Calibration,
    CellResult,
    PartResult,
    to_draw_again,
    worst_of,
)
from orchestrator.calibration.running import simulate
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.study import Study

CALIBRATORS = ("trial_rule", "curves", "alarms", "endpoints", "claims", "effects")
"""Modules beside this one, each with `cells(study, plan, layout)`; `NOTES`, where one has them:
what a reader of its figures must know."""
STUDIES = 2000
FRESH = 2
"""With how many times as many studies the worst cells are drawn again that are in doubt."""

Told = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


def calibrate(
    study: Study,
    studies: int = STUDIES,
    seed: int = 0,
    *,
    processes: int | None = None,
    told: Told = lambda what, done, total: None,
) -> Calibration:
    """Simulates the study's rule on its own arms, seeds and units.

    Raises:
        UsageError: the study states nothing that could be right or wrong.
        CellError: a cell raised, or a process was ended from outside.
    """
    from orchestrator.calibration.layout import layout_hash, layout_notes, read_layout
    from orchestrator.error_share import answering_parts
    from orchestrator.rule_hash import rule_hash

    plan = study.plan()
    layout = read_layout(study, plan)
    grid: list[Cell] = []
    notes = layout_notes(layout)
    for name in CALIBRATORS:
        module = import_module(f"orchestrator.calibration.{name}")
        found = module.cells(study, plan, layout)
        grid += found
        notes += getattr(module, "NOTES", ()) if found else ()
    if not grid:
        raise UsageError(
            f"Study '{study.name}' states no decision rule, so there is nothing to calibrate: add "
            "'verdict', 'claims', 'endpoints' or 'alarms' (orrery schema)."
        )
    _check_names(grid)

    def run(cells: Sequence[Cell], count: int, draw: str) -> list[CellResult]:
        counts = simulate(
            cells,
            count,
            seed,
            draw=draw,
            processes=processes,
            progress=lambda done, total: told(f"{len(cells)} cells, {draw} draw", done, total),
        )
        return [_result(*pair, draw) for pair in zip(cells, counts, strict=True)]

    first = run(grid, studies, "first")
    parts = list(dict.fromkeys(cell.part for cell in grid))
    answering = answering_parts(study.file)
    worst = {part: to_draw_again(part, first, max(1, len(answering))) for part in parts}
    chosen = [cell for cell in grid if any(cell.name in one for one in worst[cell.part].values())]
    again = run(chosen, FRESH * studies, "fresh") if chosen else []
    return Calibration(
        study=study.name,
        instance=study.instance,
        rule=rule_hash(study.file),
        layout=layout_hash(layout),
        studies=studies,
        seed=seed,
        cells=(*first, *again),
        parts=tuple(_part(part, part in answering, first, again, worst[part]) for part in parts),
        notes=notes,
    )


def _result(cell: Cell, counts: Counts, draw: str) -> CellResult:
    return CellResult(
        cell.part, cell.name, dict(cell.conditions), cell.effect, counts, draw == "fresh"
    )


def _part(
    part: Part,
    answers: bool,
    first: Sequence[CellResult],
    again: Sequence[CellResult],
    drawn_again: Mapping[str, frozenset[str]],
) -> PartResult:
    wrong, covered, families = worst_of(part, first, again, drawn_again)
    return PartResult(
        part=part,
        answers=answers,
        cells=sum(one.part == part and one.effect is None for one in first),
        wrong=wrong,
        covered=covered,
        families=families,
    )


def _check_names(grid: Sequence[Cell]) -> None:
    """Raises `ValueError` for two cells of one name: they would draw the same numbers."""
    seen: set[tuple[str, str]] = set()
    for cell in grid:
        if (cell.part, cell.name) in seen:
            raise ValueError(f"two cells of {cell.part} are named '{cell.name}'")
        seen.add((cell.part, cell.name))
