"""What a run of the inference probe measures. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from workloads.contract import Metric

ZONE: Final = (0.85, 1.0)
"""Where consistency is said to mean lock-in."""

_KAPPA = "Cosine of a chunk's last hidden state with that of the chunk before"
_ENTROPY = "Entropy of the next token at a chunk's end, of raw logits"
METRICS: Final[Mapping[str, Metric]] = {
    "chunk/entropy": Metric(_ENTROPY, "nats", limits=(0.0, None)),
    "chunk/kappa": Metric(_KAPPA, limits=(-1.0, 1.0)),
    "median_kappa": Metric(f"{_KAPPA}: median over chunks", limits=(-1.0, 1.0)),
    "mean_kappa": Metric(f"{_KAPPA}: mean over chunks", limits=(-1.0, 1.0)),
    "max_kappa": Metric(f"{_KAPPA}: the largest", reducer="max", limits=(-1.0, 1.0)),
    "zone_share": Metric(
        f"Chunks whose consistency is from {ZONE[0]:g} to {ZONE[1]:g}, of those that have one",
        limits=(0.0, 1.0),
    ),
    "repeat_share": Metric(
        "Chunks that say what the chunk before said, token by token", limits=(0.0, 1.0)
    ),
    "same_token_share": Metric(
        "Chunks whose last token read is the one last read at the end of the chunk before",
        limits=(0.0, 1.0),
    ),
    "median_entropy": Metric(f"{_ENTROPY}: median over chunks", "nats", limits=(0.0, None)),
    "mean_entropy": Metric(f"{_ENTROPY}: mean over chunks", "nats", limits=(0.0, None)),
    "chunks": Metric("Chunks written", reducer="last"),
    "compared_chunks": Metric("Chunks that have a consistency", reducer="last"),
    "cut_contexts": Metric(
        "Chunks before which the oldest tokens were dropped, to fit what the model reads",
        reducer="last",
    ),
}
