"""What a window of hidden states says of a model: a report, on which the caller's loop decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal

import torch

from telemetry.probes.positions import last_token
from telemetry.probes.probes import DEFAULT_WINDOW, SVDProbe

HealthState = Literal["buffering", "healthy", "collapse", "nonfinite", "unmeasured"]
"""`buffering` while the window fills; `nonfinite` while it holds a NaN or an infinity; `unmeasured`
where nothing could be read of the step, or what was read has no ratio: `reason` says why."""

COLLAPSE_THRESHOLD = 0.8
"""A ratio above it is collapse, unless another threshold is asked for."""

ONLY_PADDING = "the first sample has no token that is no padding"
NO_HIDDEN = "there are no hidden states: the tensor is empty"
ONLY_ZEROS = "the window holds only zeros"


def check_threshold(threshold: float, window: int) -> None:
    """Refuses a threshold that no ratio of a window of so many steps can be above or below.

    Raises ValueError, and TypeError for what is no number.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, Real):
        raise TypeError(
            f"the threshold is {threshold!r}, a {type(threshold).__name__}; give a number from "
            f"{1 / window:.6g} to 1"
        )
    if not 1 / window <= threshold <= 1:
        raise ValueError(
            f"the threshold is {threshold!r}; in a window of {window} the ratio lies from "
            f"{1 / window:.6g} to 1, and so must its threshold"
        )


@dataclass(frozen=True)
class HealthStatus:
    """What is known after one step."""

    svd_ratio: float | None
    """The largest singular value of the window by the sum of all, from 1/W to 1.

    None while it fills, while it holds a value that is not finite, and if it holds only zeros.
    """
    is_collapsed: bool
    """Whether the ratio is above the threshold; False while there is none."""
    raw_obs: dict[str, Any] = field(default_factory=dict)
    """All the figures that were measured, by name."""
    is_finite: bool = True
    """Whether every value in the window, and every figure, is finite."""
    step: int | None = None
    """The step that this is of, where the one who asked for it gave one."""
    reason: str | None = None
    """Why there is no ratio, in words, where that is not for the window to fill."""
    is_measured: bool = True
    """Whether a ratio is to be had. False where nothing could be read of the step, where the window
    is full and holds only zeros, and where no window is watched."""

    @property
    def state(self) -> HealthState:
        """One word for it. Never `healthy` without a ratio, or with a value that is not finite."""
        if not self.is_finite:
            return "nonfinite"
        if not self.is_measured:
            return "unmeasured"
        if self.is_collapsed:
            return "collapse"
        return "buffering" if self.svd_ratio is None else "healthy"


class TrainingMonitor:
    """Watches the hidden states of a training loop: it reports, and the loop decides.

    >>> monitor = TrainingMonitor(window_size=2)
    >>> monitor.analyse(torch.tensor([[[1.0, 0.0]]])).state
    'buffering'
    >>> monitor.analyse(torch.tensor([[[1.0, 0.0]]])).state
    'collapse'
    """

    def __init__(
        self, window_size: int = DEFAULT_WINDOW, collapse_threshold: float = COLLAPSE_THRESHOLD
    ) -> None:
        """A ratio strictly above `collapse_threshold` is collapse.

        Thresholds depend on the window: `implied_cosine(0.8, window)` tells what 0.8 means.
        Raises ValueError for a window that is none (`GramWindow`), and a threshold outside of 1/W
        to 1; TypeError for a threshold that is no number.
        """
        self.probe = SVDProbe(window_size)
        check_threshold(collapse_threshold, window_size)
        self.collapse_threshold = collapse_threshold

    def analyse(
        self, hidden: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> HealthStatus:
        """Takes in the hidden states of a step, [batch, seq, dim], [seq, dim] or [dim].

        The first sample is watched at its last token, with `attention_mask` ([batch, seq] or
        [seq]) at its last one that is no padding; without any, nothing is taken in. `hidden` is
        not changed and not kept. Raises ValueError for a tensor of another rank, and a mask that
        does not fit; TypeError for what is no tensor.
        """
        if not isinstance(hidden, torch.Tensor):
            raise TypeError(
                f"hidden states are one tensor; a {type(hidden).__name__} was given: of a block "
                "that gives a tuple, they are the first in it"
            )
        vector = last_token(hidden, attention_mask)
        figures = {} if vector is None else self.probe.observe(vector)
        window = self.probe.window
        ratio = figures.get("sv_ratio")
        reason = None
        if not window.finite:
            reason = "a value in the window is not finite"
        elif vector is None:
            reason = ONLY_PADDING if hidden.numel() else NO_HIDDEN
        elif ratio is None and window.full:
            reason = ONLY_ZEROS
        return HealthStatus(
            svd_ratio=ratio,
            is_collapsed=ratio is not None and ratio > self.collapse_threshold,
            raw_obs=dict(figures),
            is_finite=window.finite,
            reason=reason,
            is_measured=reason is None,
        )

    def to_state(self) -> dict[str, torch.Tensor]:
        """What the window holds, for a checkpoint."""
        return self.probe.to_state()

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Goes on from what `to_state` gave. Raises ValueError if it is of another window."""
        self.probe.restore(state)
