"""Monitors of a model while it works: hooks that keep a row or two, and figures by step."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from telemetry.probes.capture import RowCapture, Side
from telemetry.probes.discovery import find_blocks, hookable, module_named, plain_name
from telemetry.probes.gram import GramWindow
from telemetry.probes.health import (
    COLLAPSE_THRESHOLD,
    ONLY_PADDING,
    ONLY_ZEROS,
    HealthStatus,
    check_threshold,
)
from telemetry.probes.kernels import kernels
from telemetry.probes.monitors import PREDICTION, WINDOWED, Monitor, known_monitors
from telemetry.probes.probes import DEFAULT_WINDOW
from telemetry.probes.spectrum import effective_rank, implied_cosine, numerical_rank, sv_ratio
from telemetry.probes.transfer import HostCopies, Layout, pack

logger = logging.getLogger(__name__)

ROWS_KEPT = 1024
_SOURCE_NAMES = {"svd_ratio": "sv_ratio"}  # as the probes call it

_WATCHED = "watched"
"""Of a state: which side of which layer its window is of, as UTF-8."""

Values = dict[str, float | None]


@dataclass(frozen=True)
class _Sent:
    """What belongs to a packed tensor until it has arrived."""

    step: int
    layout: Layout | None
    """None: nothing was read."""
    problem: str | None
    """What could not be read, and why."""


class MonitorSuite:
    """Watches a layer of a model: by default the last block that discovery finds.

        suite = MonitorSuite.attach(model, monitors=("svd_ratio", "effective_rank"))
        status = suite.observe(step)        # after the forward of each step

    Hooks keep of each forward pass the layer's row at the last token of the first sample that is
    no padding (`RowCapture`); `observe` takes that of the newest into the window. Nothing of the
    model, its gradients or the random numbers changes, and no tensor of a batch stays alive. On
    CUDA a step costs one copy that nobody waits for, and its figures come a step or so later:
    `status.step` and `drain` say of which step they are.

    What can't be read (a layer whose output is no [dim], [seq, dim] or [batch, seq, dim]; a model
    without logits) never disturbs training: it is warned of once and told in `status.reason`.
    With `strict` it raises `ValueError` in the forward pass.
    """

    def __init__(
        self,
        model: nn.Module,
        monitors: Sequence[Monitor] = ("svd_ratio",),
        *,
        window: int = DEFAULT_WINDOW,
        threshold: float = COLLAPSE_THRESHOLD,
        layer: str | nn.Module | None = None,
        capture: Side = "output",
        strict: bool = False,
    ) -> None:
        """As `attach`."""
        self.monitors = known_monitors(monitors)
        self.threshold = threshold
        self._strict = strict
        self._windowed = any(name in WINDOWED for name in self.monitors)
        self._window = GramWindow(window)
        check_threshold(threshold, window)
        if capture not in get_args(Side):
            raise ValueError(f"capture is {capture!r}; valid: {', '.join(get_args(Side))}")
        if self._windowed:
            kernels()  # loaded now, or what keeps them from it told now: not in the first step
        delta = "layer_delta" in self.monitors
        if delta and capture == "input":
            raise ValueError(
                "layer_delta compares a layer's output with its input: it can't be watched with "
                "capture='input'; leave one of the two out"
            )
        watched = _layer_of(model, layer)
        self._capture = RowCapture(
            model,
            watched,
            capture,
            before=delta,
            logits=any(name in PREDICTION for name in self.monitors),
            strict=strict,
        )
        self._watched = f"{capture} of {plain_name(model, watched) or 'the model'}"
        self._attached = True
        self._copies = HostCopies()
        self._newest = HealthStatus(
            None, False, reason="no forward pass has been seen yet", is_measured=False
        )
        self._values: Values = dict.fromkeys(self._rows())
        self._finished: deque[tuple[int, Values, HealthStatus]] = deque(maxlen=ROWS_KEPT)
        self._warned = False

    @classmethod
    def attach(
        cls,
        model: nn.Module,
        monitors: Sequence[Monitor] = ("svd_ratio",),
        *,
        window: int = DEFAULT_WINDOW,
        threshold: float = COLLAPSE_THRESHOLD,
        layer: str | nn.Module | None = None,
        capture: Side = "output",
        strict: bool = False,
    ) -> MonitorSuite:
        """Hooks on `model`, until `close` or the end of the `with` block.

        `monitors`: which figures. `window`: steps in the window of singular values. `threshold`: a
        ratio above it is collapse. `layer`: a module of the model, or its name; None: the last
        block. `capture`: whether the layer's output is watched or its input. `strict`: raise in
        the forward pass where something can't be read.

        Raises `ValueError` for monitors, windows and thresholds that are none,
        `LayerNotFoundError` if there is no such layer; `TypeError` if it is no module, the
        threshold no number, or `monitors` no names.
        """
        return cls(
            model,
            monitors,
            window=window,
            threshold=threshold,
            layer=layer,
            capture=capture,
            strict=strict,
        )

    def observe(self, step: int) -> HealthStatus:
        """Takes in the newest forward pass as that of `step`; gives what is known by now.

        Those before the newest are passed over: after an evaluation its last one is the newest.
        Without one since the last call the status is as it was. Never waits.
        """
        seen = self._capture.take()
        if seen is not None:
            problems = seen.problems
            packed, layout = None, None
            if seen.row is not None:
                try:
                    packed, layout = pack(seen)
                except RuntimeError as error:
                    if self._strict:
                        raise
                    problems = [*problems, str(error)]
            self._copies.send(_Sent(step, layout, "; ".join(problems) or None), packed)
        self._read_arrived(wait=False)
        return self._newest

    def flush(self) -> HealthStatus:
        """Waits for what is on its way from the device; the status of the newest step observed."""
        self._read_arrived(wait=True)
        return self._newest

    @property
    def status(self) -> HealthStatus:
        """What is known by now, of the step that it names."""
        return self._newest

    def values(self) -> Values:
        """The rows `health/…` of the newest status.

        None: not measured, as while the window fills. NaN: measured, and not finite.
        `health/collapsed` (0 or 1) is there if a monitor has a window, `health/nonfinite` always:
        1 from a NaN or an infinity on until it has left the window.
        """
        return dict(self._values)

    def drain(self) -> list[tuple[int, Values]]:
        """Steps whose figures have come since the last call, with their rows; oldest first.

        The newest 1024 are kept.
        """
        return [(step, rows) for step, rows, _ in self._drained()]

    def drain_statuses(self) -> list[HealthStatus]:
        """As `drain`, the status of each step; a step is given by one of the two, once."""
        return [status for _, _, status in self._drained()]

    def to_state(self) -> dict[str, Tensor]:
        """The window and of what it is, for a checkpoint. Waits for the device.

        What was not drained is not in it: call `flush` and `drain` before. Without a monitor that
        has a window there is nothing to keep, {}.
        """
        self.flush()
        if not self._windowed:
            return {}
        watched = torch.tensor(list(self._watched.encode()), dtype=torch.uint8)
        return {**self._window.to_state(), _WATCHED: watched}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from `to_state`. Without a state, or with that of another window or layer, the
        window fills anew, with a warning; without a window to fill nothing is restored."""
        if not self._windowed:
            return
        try:
            told = bytes(state.get(_WATCHED, torch.empty(0)).tolist()).decode()
            if told and told != self._watched:
                raise ValueError(f"the state is of the {told}, watched is the {self._watched}")
            self._window.restore(state)
        except ValueError as error:
            self._window = GramWindow(self._window.window)
            logger.warning("monitors start with an empty window: %s", error)

    def close(self) -> None:
        """Takes the hooks off. What was observed can still be read; closing again does nothing."""
        if not self._attached:
            return
        self._attached = False
        self._capture.remove()
        self.flush()
        held = len(self._window)
        if held and not self._window.full:
            logger.warning(
                "the window of the monitors never filled: it takes %d steps, and %d were observed; "
                "give a smaller window",
                self._window.window,
                held,
            )

    def __enter__(self) -> MonitorSuite:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self._capture.remove()  # a device that has failed is not waited for

    def _rows(self) -> list[str]:
        judged = ["collapsed"] if self._windowed else []
        return [f"health/{name}" for name in (*self.monitors, *judged, "nonfinite")]

    def _drained(self) -> list[tuple[int, Values, HealthStatus]]:
        self._read_arrived(wait=False)
        finished = list(self._finished)
        self._finished.clear()
        return finished

    def _read_arrived(self, *, wait: bool) -> None:
        for sent, packed in self._copies.arrived(wait=wait):
            if packed is None or sent.layout is None:
                self._pass_over(sent.step, sent.problem)
            elif sent.layout.masked and not packed[-1]:
                self._pass_over(sent.step, ONLY_PADDING)
            else:
                self._take_in(sent, sent.layout, packed)

    def _pass_over(self, step: int, problem: str | None) -> None:
        """A step of which nothing is taken in: it says nothing, but for a NaN from before."""
        self._warn(problem)
        finite = self._window.finite
        status = HealthStatus(None, False, {}, finite, step, problem, is_measured=False)
        rows: Values = dict.fromkeys(self._rows())
        rows["health/nonfinite"] = None if finite else 1.0
        self._finish(step, status, rows)

    def _take_in(self, sent: _Sent, layout: Layout, packed: NDArray[np.float32]) -> None:
        figures, problem = self._of_step(layout, packed)
        problem = sent.problem or problem
        finite = bool(np.isfinite(packed).all())
        if self._windowed:
            problem = self._push(packed[: layout.row]) or problem
            finite = finite and self._window.finite
            figures |= self._of_window()
        no_ratio = self._no_ratio(figures)
        self._warn(problem or (ONLY_ZEROS if no_ratio == ONLY_ZEROS else None))
        reason = problem or no_ratio
        ratio = figures.get("svd_ratio")
        measured = ratio if ratio is not None and math.isfinite(ratio) else None
        rows: Values = dict.fromkeys(self._rows())
        rows |= {f"health/{name}": figures.get(name) for name in self.monitors}
        rows["health/nonfinite"] = float(not finite)
        collapsed = measured is not None and measured > self.threshold
        if self._windowed and measured is not None:
            rows["health/collapsed"] = float(collapsed)
        told = {name: figures.get(name) for name in self.monitors}
        raw = {_SOURCE_NAMES.get(name, name): one for name, one in told.items() if one is not None}
        status = HealthStatus(
            measured, collapsed, raw, finite, sent.step, reason, is_measured=no_ratio is None
        )
        self._finish(sent.step, status, rows)

    def _of_step(
        self, layout: Layout, packed: NDArray[np.float32]
    ) -> tuple[dict[str, float | None], str | None]:
        """The figures of one step alone, and why one of them is missing."""
        row, rest = packed[: layout.row], packed[layout.row :]
        figures: dict[str, float | None] = {}
        problem = None
        if layout.before == layout.row:
            figures["layer_delta"] = _layer_delta(row, rest[: layout.before])
        elif layout.before:
            problem = (
                f"layer_delta: the layer's input has {layout.before} values and its output "
                f"{layout.row}: watch a layer that keeps the width"
            )
        if layout.prediction:
            figures["entropy"], figures["margin"] = map(
                float, rest[layout.before : layout.before + 2]
            )
        if "activation_energy" in self.monitors:
            figures["activation_energy"] = float(np.linalg.norm(row.astype(np.float64)))
        return figures, problem

    def _push(self, row: NDArray[np.float32]) -> str | None:
        """Takes the row into the window; what is wrong with it, if it can't go on as it was."""
        try:
            self._window.push(row)
        except ValueError as error:
            self._window = GramWindow(self._window.window)
            self._window.push(row)
            return f"the window starts anew: {error}"
        return None

    def _no_ratio(self, figures: Mapping[str, float | None]) -> str | None:
        """Why there is none, if that is not for the window to fill."""
        if not self._windowed:
            return "none of the monitors has a window, so there is no ratio"
        if not self._window.finite:
            return "a value in the window is not finite"
        if self._window.full and figures["svd_ratio"] is None:
            return ONLY_ZEROS
        return None

    def _of_window(self) -> dict[str, float | None]:
        """What the window says; NaN if it is full and not finite."""
        if not self._window.full:
            return dict.fromkeys(WINDOWED)
        values = self._window.singular_values()
        if values is None:
            return dict.fromkeys(WINDOWED, math.nan)
        ratio, rank = sv_ratio(values), numerical_rank(values)
        if ratio is None or rank is None:
            return dict.fromkeys(WINDOWED)
        return {
            "svd_ratio": ratio,
            "rank": float(rank),
            "effective_rank": effective_rank(values),
            "implied_cosine": implied_cosine(ratio, self._window.window),
        }

    def _finish(self, step: int, status: HealthStatus, rows: Values) -> None:
        self._newest, self._values = status, rows
        self._finished.append((step, rows, status))

    def _warn(self, problem: str | None) -> None:
        if problem is not None and not self._warned:
            self._warned = True
            logger.warning("monitors can't read all that they watch: %s", problem)


def _layer_of(model: nn.Module, layer: str | nn.Module | None) -> nn.Module:
    if layer is None:
        return find_blocks(model).last
    if isinstance(layer, str):
        return module_named(model, layer)
    return hookable(layer)


def _layer_delta(row: NDArray[np.float32], before: NDArray[np.float32]) -> float | None:
    """1 - the cosine of the two; None if one is zero, or they are of different widths."""
    if len(row) != len(before):
        return None
    one, other = row.astype(np.float64), before.astype(np.float64)
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    if norms == 0:
        return None
    with np.errstate(invalid="ignore"):  # infinities: the figure is NaN
        return 1 - float(np.clip(one @ other / norms, -1, 1))
