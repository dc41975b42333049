"""What the network would do without each of its seeds: measured after every epoch.

Two uses, kept apart. What steers growth (each blended seed off) is measured in any case. The matrix
of coalitions is for looking at: how much of it is measured changes no number of the trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from telemetry.contracts import CounterfactualMatrix, CounterfactualResult
from telemetry.counterfactual import ENUMERATED, Cell, Matrix, ablation, full
from workloads.morphogenesis.config import CounterfactualMode
from workloads.morphogenesis.data import Split
from workloads.morphogenesis.measuring import mean, measure
from workloads.switching import Coalition, CoalitionScores

if TYPE_CHECKING:
    from accelerate import Accelerator
    from numpy.typing import NDArray

    from workloads.morphogenesis.body.hosts import GrowingHost

MOST_FULL = 12
"""Seeds of which all coalitions are measured each epoch, where that is asked for."""


@dataclass(frozen=True)
class EpochMeasured:
    """The validation split after an epoch.

    Attributes:
        accuracy: of the network as it is, percent; `loss` in nats. None: not finite.
        contributions: by slot whose seed is blended in: accuracy with it less accuracy without.
        matrix: the coalitions of the live seeds; None where there is no seed or it was not asked
            for.
        per_class: accuracy by class, percent; None where it was not asked for.
    """

    accuracy: float | None
    loss: float | None
    contributions: Mapping[str, float | None]
    matrix: CounterfactualMatrix | None
    per_class: Mapping[str, float | None] | None


def measure_epoch(
    host: GrowingHost,
    split: Split,
    batch_size: int,
    *,
    epoch: int,
    mode: CounterfactualMode = "off",
    class_names: Sequence[str] = (),
    accelerator: Accelerator | None = None,
) -> EpochMeasured:
    """Accuracy, contributions and matrix in one pass over the split; all ranks call it.

    `class_names`: give them to have accuracies by class.
    """
    slots = host.slots
    names = tuple(slots)
    live = tuple(name for name, slot in slots.items() if slot.active)
    blended = tuple(name for name in live if slots[name].alpha > 0)
    asked = _asked(len(live), mode)
    everything = _within(live, (True,) * len(live), names)
    wanted = [everything]
    wanted += [_without(name, everything, names) for name in blended]
    wanted += [_within(live, coalition, names) for coalition in asked]
    wanted = list(dict.fromkeys(wanted))
    found = dict(zip(wanted, measure(host, wanted, split, batch_size, accelerator), strict=True))
    whole = found[everything]
    accuracy = mean(whole.scores)
    classes = split.targets.cpu().numpy() if class_names else None
    cells = {
        coalition: _cell(
            found[_within(live, coalition, names)],
            {
                name: slots[name].alpha if on else 0.0
                for name, on in zip(live, coalition, strict=True)
            },
            _by_class(found[_within(live, coalition, names)].scores, classes, class_names),
        )
        for coalition in asked
    }
    return EpochMeasured(
        accuracy=accuracy,
        loss=mean(whole.losses),
        contributions={
            name: _difference(accuracy, mean(found[_without(name, everything, names)].scores))
            for name in blended
        },
        matrix=_contract(live, cells, epoch) if asked and live else None,
        per_class=_by_class(whole.scores, classes, class_names),
    )


def _asked(live: int, mode: CounterfactualMode) -> tuple[Coalition, ...]:
    """Coalitions of so many live seeds."""
    if mode == "off":
        return ()
    most = {"ablation": 0, "auto": ENUMERATED, "full": 2**MOST_FULL}[mode]
    return full(live) if 2**live <= most else ablation(live)


def _within(live: Sequence[str], coalition: Coalition, names: Sequence[str]) -> Coalition:
    """A coalition of the live seeds as one of all named slots; empty ones are off."""
    on = {name for name, state in zip(live, coalition, strict=True) if state}
    return tuple(name in on for name in names)


def _without(name: str, coalition: Coalition, names: Sequence[str]) -> Coalition:
    return tuple(on and other != name for other, on in zip(names, coalition, strict=True))


def _cell(
    found: CoalitionScores,
    alphas: Mapping[str, float | None],
    per_class: Mapping[str, float | None] | None,
) -> Cell:
    return Cell(mean(found.scores), mean(found.losses), alphas, per_class, found.error)


def _contract(
    live: tuple[str, ...], cells: Mapping[Coalition, Cell], epoch: int
) -> CounterfactualMatrix:
    """Figures only of a complete matrix: of an ablation just its cells."""
    if len(cells) == 2 ** len(live):
        return Matrix(live, cells).to_contract(epoch)
    configs = [
        CounterfactualResult(
            config=list(coalition),
            alpha_settings=dict(cell.alphas),
            val_loss=cell.loss,
            val_accuracy=cell.accuracy,
            per_class_accuracy=None if cell.per_class is None else dict(cell.per_class),
        )
        for coalition, cell in cells.items()
    ]
    return CounterfactualMatrix(epoch=epoch, slots=list(live), configs=configs)


def _by_class(
    scores: NDArray[np.float32] | None,
    classes: NDArray[np.int64] | None,
    names: Sequence[str],
) -> dict[str, float | None] | None:
    if classes is None:
        return None
    return {
        name: None if scores is None else mean(scores[classes == number])
        for number, name in enumerate(names)
    }


def _difference(whole: float | None, without: float | None) -> float | None:
    return None if whole is None or without is None else whole - without
