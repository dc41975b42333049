"""Measures a network on a split, with any of its slots off: scores and losses by example.

The batches are those of one process whatever the number of ranks: each rank takes whole ones, so
that the results are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from workloads.morphogenesis.data import Split
from workloads.morphogenesis.data.splits import IGNORED
from workloads.switching import Coalition, CoalitionScores, evaluate_coalitions, undisturbed

if TYPE_CHECKING:
    from accelerate import Accelerator
    from numpy.typing import NDArray

    from workloads.morphogenesis.body.hosts import GrowingHost

PERCENT = 100.0


def score(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Accuracy in percent and cross-entropy in nats of each example, both `[examples]`.

    Of a text, means over the tokens that are asked for.
    """
    logits = logits.float()
    correct = logits.argmax(-1) == targets
    losses = functional.cross_entropy(
        logits.flatten(0, -2), targets.flatten(), reduction="none", ignore_index=IGNORED
    ).view(targets.shape)
    if targets.ndim == 1:
        return PERCENT * correct.float(), losses
    asked = targets != IGNORED
    count = asked.sum(-1).clamp(min=1)
    return PERCENT * (correct & asked).sum(-1) / count, losses.sum(-1) / count


def measure(
    host: GrowingHost,
    coalitions: Sequence[Coalition],
    split: Split,
    batch_size: int,
    accelerator: Accelerator | None = None,
) -> list[CoalitionScores]:
    """Scores and losses of each coalition of the host's named slots; all ranks call it.

    A slot that is on has its current alpha. Coalitions that differ only in slots whose seed is not
    blended in at all are measured once. Model, modes and random numbers stay as they are.
    """
    blended = [slot.active and slot.alpha > 0 for slot in host.slots.values()]
    same = [
        tuple(on and there for on, there in zip(coalition, blended, strict=True))
        for coalition in coalitions
    ]
    distinct = list(dict.fromkeys(same))
    rank, ranks = _place(accelerator)
    mine = [
        batch for number, batch in enumerate(split.batches(batch_size)) if number % ranks == rank
    ]
    with undisturbed(host), _autocast(host):
        found = evaluate_coalitions(host.segments(), distinct, mine, score)
    if ranks > 1 and accelerator is not None:
        found = _joined(found, len(split), batch_size, accelerator)
    by_coalition = dict(zip(distinct, found, strict=True))
    return [
        CoalitionScores(coalition, each.scores, each.losses, each.error)
        for coalition, key in zip(coalitions, same, strict=True)
        for each in (by_coalition[key],)
    ]


def mean(values: NDArray[np.float32] | None) -> float | None:
    """The mean over examples; None where nothing was measured."""
    return None if values is None or not len(values) else float(values.mean(dtype=np.float64))


def _joined(
    shares: Sequence[CoalitionScores], examples: int, batch_size: int, accelerator: Accelerator
) -> list[CoalitionScores]:
    """The ranks' shares in the order of the split. What failed on a rank failed."""
    rank, ranks = _place(accelerator)
    places = [place for place in range(examples) if (place // batch_size) % ranks == rank]
    table = torch.zeros(len(shares), 2 * examples + 1, dtype=torch.float64)
    for row, share in enumerate(shares):
        if share.scores is None or share.losses is None:
            table[row, -1] = 1
            continue
        table[row, places] = torch.from_numpy(share.scores).double()
        table[row, [examples + place for place in places]] = torch.from_numpy(share.losses).double()
    # A sum with zeros is exact: the numbers are those that their rank measured.
    whole = accelerator.reduce(table.to(accelerator.device), reduction="sum").cpu().numpy()
    return [_of_row(share, row, examples) for share, row in zip(shares, whole, strict=True)]


def _of_row(share: CoalitionScores, row: NDArray[np.float64], examples: int) -> CoalitionScores:
    if row[-1]:
        told = share.error or "could not be measured on another rank"
        return CoalitionScores(share.coalition, None, None, told)
    scores, losses = (row[start : start + examples].astype(np.float32) for start in (0, examples))
    return CoalitionScores(share.coalition, scores, losses)


def _place(accelerator: Accelerator | None) -> tuple[int, int]:
    if accelerator is None:
        return 0, 1
    return accelerator.process_index, accelerator.num_processes


def _autocast(host: GrowingHost) -> torch.autocast:
    device = next(host.parameters()).device.type
    return torch.autocast(device, torch.bfloat16, enabled=host.config.precision == "bf16")
