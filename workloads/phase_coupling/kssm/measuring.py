"""Reading the test texts with a trained model: scores by text, figures of the oscillators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from workloads.contract import Scores
from workloads.phase_coupling.kssm.columns import TEXT_COLUMNS, TEXTS
from workloads.phase_coupling.kssm.metrics import tone_shares, zone_shares
from workloads.phase_coupling.kssm.model import KssmModel
from workloads.phase_coupling.kssm.texts import Texts
from workloads.phase_coupling.kssm.training import cross_entropy
from workloads.training import generator

BINS: Final = 50
"""Of the histogram of R."""


@dataclass(frozen=True)
class Reading:
    """What was read.

    Attributes:
        ce, entropy: [texts, tokens - 1].
        r, u, determinant: [blocks, texts, tokens], held: the same, of truth values; None without
            oscillators.
    """

    ce: NDArray[np.float64]
    entropy: NDArray[np.float64]
    r: NDArray[np.float64] | None = None
    u: NDArray[np.float64] | None = None
    held: NDArray[np.float64] | None = None
    determinant: NDArray[np.float64] | None = None

    def scores(self, texts: Texts) -> Scores:
        """The split `texts`."""
        columns = {
            "ce": _by_text(self.ce),
            "entropy": _by_text(self.entropy),
            "r_mean": _by_text(self.r, len(texts.units)),
            "u_mean": _by_text(self.u, len(texts.units)),
        }
        return Scores(
            TEXTS, texts.units, texts.clusters, {name: columns[name] for name in TEXT_COLUMNS}
        )

    def metrics(self) -> dict[str, float | None]:
        """Final figures; those of oscillators are None without."""
        ce = float(self.ce.mean())
        found: dict[str, float | None] = {
            "ce": _finite(ce),
            "perplexity": _finite(math.exp(ce)) if ce < 700 else None,
            "entropy": _finite(float(self.entropy.mean())),
        }
        rs = [] if self.r is None else self.r[np.isfinite(self.r)].tolist()
        found |= tone_shares(rs) | zone_shares(rs)
        if self.r is None or self.u is None or self.held is None or self.determinant is None:
            return found
        with np.errstate(over="ignore"):
            coupling = 2 / (1 + np.exp(-self.u))
        figures = {
            "r_mean": self.r.mean(),
            "r_sd": self.r.std(),
            "u_mean": self.u.mean(),
            "u_median": np.median(self.u),
            "coupling_mean": coupling.mean(),
            "clamped_share": self.held.mean(),
            "determinant_mean": self.determinant.mean(),
        }
        return found | {name: _finite(float(value)) for name, value in figures.items()}

    def histogram(self) -> list[int] | None:
        """How many of R are in each of `BINS` equal parts of 0 to 1."""
        if self.r is None:
            return None
        counts, _ = np.histogram(self.r[np.isfinite(self.r)], bins=BINS, range=(0, 1))
        return [int(count) for count in counts]


def read_texts(
    model: KssmModel, texts: Texts, seed: int, batch_size: int, device: torch.device
) -> Reading:
    """Reads each test text once. Its noise is drawn from a stream of its own id, so that it is the
    same in any batch."""
    parts: dict[str, list[NDArray[np.float64]]] = {}
    model.eval()
    for start in range(0, len(texts.units), batch_size):
        units = texts.units[start : start + batch_size]
        ids = torch.from_numpy(texts.test[start : start + batch_size]).to(device)
        noise = [model.draw_noise(generator(seed, f"read/{u}"), 1, ids.shape[1]) for u in units]
        drawn = [one for one in noise if one is not None]
        with torch.no_grad():
            read = model(ids, torch.cat(drawn, dim=1).to(device) if drawn else None)
            logits = read.logits[:, :-1].float()
            chances = torch.log_softmax(logits, dim=-1)
            entropy = -(chances.exp() * chances).sum(-1) / math.log(logits.shape[-1])
            found = {"ce": [cross_entropy(read.logits, ids)], "entropy": [entropy]}
        found |= {
            "r": [one.r for one in read.measured],
            "u": [one.control for one in read.measured],
            "held": [one.held for one in read.measured],
            "determinant": [one.determinant for one in read.measured],
        }
        for name, blocks in found.items():
            if blocks:
                parts.setdefault(name, []).append(torch.stack(blocks).double().cpu().numpy())
    joined = {name: np.concatenate(some, axis=1) for name, some in parts.items()}
    return Reading(joined.pop("ce")[0], joined.pop("entropy")[0], **joined)


def _by_text(values: NDArray[np.float64] | None, texts: int = 0) -> Sequence[float | None]:
    """Means over tokens (and blocks): [texts]; None where one is not finite or not measured."""
    if values is None:
        return [None] * texts
    axes = (0, 2) if values.ndim == 3 else (1,)
    return [_finite(float(value)) for value in values.mean(axis=axes)]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
