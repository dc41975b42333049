"""What the network would do without each of its seeds: measured after every epoch.

Two uses, kept apart. What steers growth (each blended seed off) is measured in any case. The matrix
of coalitions is for looking at: how much of it is measured changes no number of the trial.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
        matrix: the coalitions of the live seeds, or of what was asked for of them; None where
            there is none.
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
    examples: int | None = None,
    switched: Sequence[str] | None = None,
    class_names: Sequence[str] = (),
    accelerator: Accelerator | None = None,
) -> EpochMeasured:
    """Accuracy, contributions and matrix, in one pass where all is of all; all ranks call it.

    The matrix is of the first `examples` (None: all) and of the slots `switched` (None: all); the
    other seeds in it stay as they are. `class_names`: give them to have accuracies by class.
    """
    slots = host.slots
    names = tuple(slots)
    live = tuple(name for name, slot in slots.items() if slot.active)
    blended = tuple(name for name in live if slots[name].alpha > 0)
    looked_at = tuple(name for name in live if switched is None or name in switched)
    shown = split.head(examples)
    everything = tuple(name in live for name in names)
    steering = [everything, *(_without(name, everything, names) for name in blended)]
    asked = {
        coalition: _turned(everything, looked_at, coalition, names)
        for coalition in _asked(len(looked_at), mode)
    }

    def measured(wanted: Iterable[Coalition], on: Split) -> dict[Coalition, CoalitionScores]:
        each = list(dict.fromkeys(wanted))
        return dict(zip(each, measure(host, each, on, batch_size, accelerator), strict=True))

    if len(shown) == len(split):
        found = looks = measured([*steering, *asked.values()], split)
    else:
        found, looks = measured(steering, split), measured(asked.values(), shown)
    whole = found[everything]
    accuracy = mean(whole.scores)
    classes = split.targets.cpu().numpy() if class_names else None
    cells = {
        coalition: _cell(
            looks[of_all],
            {
                name: slots[name].alpha if on else 0.0
                for name, on in zip(names, of_all, strict=True)
                if name in live
            },
            _by_class(looks[of_all].scores, classes, class_names),
        )
        for coalition, of_all in asked.items()
    }
    note = _note(len(shown), len(split), [name for name in live if name not in looked_at])
    return EpochMeasured(
        accuracy=accuracy,
        loss=mean(whole.losses),
        contributions={
            name: _difference(accuracy, mean(found[_without(name, everything, names)].scores))
            for name in blended
        },
        matrix=_contract(looked_at, cells, epoch, note) if asked and looked_at else None,
        per_class=_by_class(whole.scores, classes, class_names),
    )


def _asked(live: int, mode: CounterfactualMode) -> tuple[Coalition, ...]:
    """Coalitions of so many live seeds."""
    if mode == "off":
        return ()
    most = {"ablation": 0, "auto": ENUMERATED, "full": 2**MOST_FULL}[mode]
    return full(live) if 2**live <= most else ablation(live)


def _turned(
    everything: Coalition, some: Sequence[str], coalition: Coalition, names: Sequence[str]
) -> Coalition:
    """A coalition of some slots as one of all; the others stay as in `everything`."""
    states = dict(zip(names, everything, strict=True)) | dict(zip(some, coalition, strict=True))
    return tuple(states.values())


def _note(shown: int, there: int, left_on: Sequence[str]) -> str | None:
    """What a matrix was measured on, where that is less than everything."""
    parts = []
    if shown < there:
        parts.append(f"the first {shown} of {there} validation examples")
    if left_on:
        parts.append(f"{', '.join(left_on)} left on")
    return "; ".join(parts) or None


def _without(name: str, coalition: Coalition, names: Sequence[str]) -> Coalition:
    return tuple(on and other != name for other, on in zip(names, coalition, strict=True))


def _cell(
    found: CoalitionScores,
    alphas: Mapping[str, float | None],
    per_class: Mapping[str, float | None] | None,
) -> Cell:
    return Cell(mean(found.scores), mean(found.losses), alphas, per_class, found.error)


def _contract(
    slots: tuple[str, ...], cells: Mapping[Coalition, Cell], epoch: int, note: str | None
) -> CounterfactualMatrix:
    """Figures only of a complete matrix: of an ablation just its cells."""
    if len(cells) == 2 ** len(slots):
        return Matrix(slots, cells, note=note).to_contract(epoch)
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
    return CounterfactualMatrix(epoch=epoch, slots=list(slots), configs=configs, note=note)


def _by_class(
    scores: NDArray[np.float32] | None,
    classes: NDArray[np.int64] | None,
    names: Sequence[str],
) -> dict[str, float | None] | None:
    if classes is None:
        return None
    return {
        name: None if scores is None else mean(scores[classes[: len(scores)] == number])
        for number, name in enumerate(names)
    }


def _difference(whole: float | None, without: float | None) -> float | None:
    return None if whole is None or without is None else whole - without
