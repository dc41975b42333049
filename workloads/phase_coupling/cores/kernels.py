"""The loop of the oscillators over tokens, and its way back, compiled for the CPU.

Numba compiles them when they are first asked for, and keeps what it compiled, so that later
processes load it. One thread, one order of sums: the same input gives the same bits.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger(__name__)

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Kernels:
    """The compiled loops. All phases are in radians."""

    forward: Callable[[Values, Values, Values, float, float, Flags, Values], None]
    """(push [B, T, N], phases [B, N], omega [N], K, dt, steps [B, T], trace [B, T, N]): fills
    trace with the phases after each token. Where `steps` is false they stay as they were."""
    backward: Callable[..., None]
    """(push, phases, omega, K, dt, steps, trace, slope [B, T, N], detached, push_slope [B, T, N],
    phases_slope [B, N], omega_slope [N]): from the slopes of a result at the trace, those at what
    it was made of. `detached`: nothing goes from a step to the one before it."""


@functools.cache
def kernels() -> Kernels:
    """Both loops, compiled for this machine: loaded, or compiled where no copy can be loaded."""
    try:
        return _compiled(cache=True)
    except Exception as error:
        # No folder that can be written, a full disk, a broken copy: compiling needs none of them,
        # and what is wrong with the loops themselves is raised again here.
        _log.warning("each process compiles the loops of oscillators anew (seconds): %s", error)
        return _compiled(cache=False)


def _compiled(*, cache: bool) -> Kernels:
    import numba

    def compiled(signature: str, loop: Callable[..., Any]) -> Callable[..., Any]:
        decorate = numba.njit(signature, cache=cache, nogil=True, error_model="numpy")
        ready: Callable[..., Any] = decorate(loop)
        return ready

    three, two, one = "float64[:,:,::1]", "float64[:,::1]", "float64[::1]"
    made_of = f"{three}, {two}, {one}, float64, float64, boolean[:,::1], {three}"
    return Kernels(
        compiled(f"void({made_of})", _forward),
        compiled(f"void({made_of}, {three}, boolean, {three}, {two}, {one})", _backward),
    )


def _forward(
    push: Values,
    phases: Values,
    omega: Values,
    k: float,
    dt: float,
    steps: Flags,
    trace: Values,
) -> None:
    batch, length, number = push.shape
    turn = 2 * math.pi
    at, sines, cosines = np.empty(number), np.empty(number), np.empty(number)
    for b in range(batch):
        now = phases[b].copy()
        for t in range(length):
            if steps[b, t]:
                sine = cosine = 0.0
                for i in range(number):
                    at[i] = now[i] + push[b, t, i]
                    sines[i] = math.sin(at[i])
                    cosines[i] = math.cos(at[i])
                    sine += sines[i]
                    cosine += cosines[i]
                sine /= number
                cosine /= number
                for i in range(number):
                    pull = sine * cosines[i] - cosine * sines[i]
                    moved = at[i] + dt * (omega[i] + k * pull)
                    now[i] = moved - turn * np.rint(moved / turn)
            for i in range(number):
                trace[b, t, i] = now[i]


def _backward(
    push: Values,
    phases: Values,
    omega: Values,
    k: float,
    dt: float,
    steps: Flags,
    trace: Values,
    slope: Values,
    detached: bool,
    push_slope: Values,
    phases_slope: Values,
    omega_slope: Values,
) -> None:
    batch, length, number = push.shape
    omega_slope[:] = 0.0
    sines, cosines = np.empty(number), np.empty(number)
    for b in range(batch):
        back = np.zeros(number)
        for t in range(length - 1, -1, -1):
            for i in range(number):
                back[i] += slope[b, t, i]
            if not steps[b, t]:
                push_slope[b, t, :] = 0.0
                if detached:
                    back[:] = 0.0
                continue
            before = phases[b] if t == 0 else trace[b, t - 1]
            sine = cosine = with_sine = with_cosine = 0.0
            for i in range(number):
                at = before[i] + push[b, t, i]
                sines[i] = math.sin(at)
                cosines[i] = math.cos(at)
                sine += sines[i]
                cosine += cosines[i]
                with_sine += back[i] * sines[i]
                with_cosine += back[i] * cosines[i]
            for i in range(number):
                # The pull on i is the mean over j of sin(at_j - at_i).
                others = with_cosine * cosines[i] + with_sine * sines[i]
                own = back[i] * (cosine * cosines[i] + sine * sines[i])
                omega_slope[i] += dt * back[i]
                back[i] += dt * k * (others - own) / number
                push_slope[b, t, i] = back[i]
            if detached:
                back[:] = 0.0
        for i in range(number):
            phases_slope[b, i] = back[i]
