"""The metrics this workload reports, by name. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from workloads.contract import Metric
from workloads.phase_coupling.cores.tones import TONES, residence

ZONES: Final = (0.10, 0.30, 0.50, 0.70, 0.85, 0.95)
"""Where the seven zones of R part: the table of the origin's training monitor, which is not that
of the tones. A zone holds its lower end."""
LANTERN: Final = 0.85
"""R from here on counts for `lantern_share`."""
LANTERN_STEPS: Final = 100
"""The last steps of training that it is a share of."""
LANTERN_TARGET: Final = 0.348
"""What the origin's monitor aims at."""


def zone_names() -> tuple[str, ...]:
    """The seven zones from below.

    >>> zone_names()[0], zone_names()[1], zone_names()[-1]
    ('zones/0-0.1', 'zones/0.1-0.3', 'zones/0.95-1')
    """
    ends = (0, *ZONES, 1)
    return tuple(f"zones/{low:g}-{high:g}" for low, high in pairwise(ends))


def zone_shares(rs: Sequence[float]) -> dict[str, float | None]:
    """The share of the values that is in each zone; None without values.

    >>> zone_shares([0.05, 0.1, 0.2, 1.0])["zones/0.1-0.3"]
    0.5
    """
    counts = [0] * (len(ZONES) + 1)
    for r in rs:
        counts[sum(r >= end for end in ZONES)] += 1
    shares = [count / len(rs) if rs else None for count in counts]
    return dict(zip(zone_names(), shares, strict=True))


def tone_shares(rs: Sequence[float]) -> dict[str, float | None]:
    """The share of the values that has each tone, as `residence/<tone>`; None without values."""
    shares = residence(min(r, 1.0) for r in rs)  # a mean of cosines may round to a little more
    return {f"residence/{tone}": shares.get(tone) for tone in TONES}


TRAINING: Mapping[str, Metric] = {
    "train/loss": Metric("Loss of the step's batch, with its terms", "nats"),
    "train/ce": Metric("Cross-entropy of the step's batch", "nats", higher_is_better=False),
    "train/grad_norm": Metric("Norm of the gradient before clipping"),
    "train/r": Metric("Order parameter R, mean over blocks and tokens", limits=(0, 1)),
    "train/u": Metric("Control u, mean over blocks and tokens"),
    "train/determinant": Metric("|Delta|, mean over blocks and tokens"),
}

FINAL: Mapping[str, Metric] = {
    "ce": Metric("Cross-entropy of test texts", "nats per token", higher_is_better=False),
    "perplexity": Metric("Of test texts: exp of the mean cross-entropy", higher_is_better=False),
    "entropy": Metric("Of the next token, over its maximum", limits=(0, 1)),
    "r_mean": Metric("Order parameter R over blocks and tokens of test texts", limits=(0, 1)),
    "r_sd": Metric("Standard deviation of R over the same"),
    "u_mean": Metric("Control u over blocks and tokens of test texts"),
    "u_median": Metric("Its median"),
    "coupling_mean": Metric("Coupling K = 2 sigmoid(u) over the same", limits=(0, 2)),
    "clamped_share": Metric("Share of the same at which u is held at a bound", limits=(0, 1)),
    "determinant_mean": Metric("|Delta| over the same"),
    "noise": Metric("Noise of the oscillators, mean over blocks"),
    **{
        f"residence/{tone}": Metric(f"Share of tokens of test texts with the tone {tone}")
        for tone in TONES
    },
    **{
        name: Metric(f"Share of tokens of test texts with R in {name.removeprefix('zones/')}")
        for name in zone_names()
    },
    "lantern_share": Metric(
        f"Share of the last {LANTERN_STEPS} steps with R of at least {LANTERN}", limits=(0, 1)
    ),
    "train_r": Metric(f"R in training, mean over the last {LANTERN_STEPS} steps", limits=(0, 1)),
    "train_u": Metric(f"u in training, mean over the last {LANTERN_STEPS} steps"),
    "train_loss": Metric("Loss with its terms, mean over the last tenth of the steps", "nats"),
    "train_ce": Metric("Cross-entropy of the same steps", "nats", higher_is_better=False),
    "late_gain": Metric(
        "What cross-entropy fell by from the third quarter of the steps to the last", "nats"
    ),
    "parameters": Metric("Parameters of the model", reducer="last"),
    "train_seconds": Metric("Time of the steps", "s", reproducible=False),
}

METRICS: Mapping[str, Metric] = {**TRAINING, **FINAL}
