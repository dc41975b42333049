"""Oscillators over the tokens of a text: one step a token, each from the last.

A step pushes every phase, then integrates Kuramoto's equation once (forward Euler):

    a_i = phase_i + push_i
    phase_i <- a_i + dt (omega_i + K/N sum_j sin(a_j - a_i)),  wrapped into [-pi, pi]

with the sum as S cos a_i - C sin a_i, S and C the mean sine and cosine: O(N), not O(N²). In float64
everywhere, so that reading a text at once and token by token agree.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from workloads.phase_coupling.cores.kernels import Values, kernels
from workloads.phase_coupling.cores.order import mean_field, wrapped


def kuramoto_step(phases: Tensor, omega: Tensor, k: float, dt: float) -> Tensor:
    """One step, not pushed: phases [..., N] and natural frequencies [N] to phases [..., N]."""
    cosine, sine = mean_field(phases)
    pull = sine.unsqueeze(-1) * phases.cos() - cosine.unsqueeze(-1) * phases.sin()
    return wrapped(phases + dt * (omega + k * pull))


def follow(
    push: Tensor,
    phases: Tensor,
    omega: Tensor,
    k: float,
    dt: float,
    *,
    steps: Tensor | None = None,
    detached: bool = False,
) -> Tensor:
    """The phases after each token, [B, T, N] in float64, from those before the first, [B, N].

    push: [B, T, N]; omega: [N]; steps: [B, T], false where a token is padding and nothing moves.
    `detached`: a gradient ends at the step before. Differentiable once. On the CPU by a compiled
    loop; elsewhere by `follow_in_torch`, which gives the same up to rounding. Raises `ValueError`
    for shapes that do not fit each other.
    """
    _check_shapes(push, phases, omega, steps)
    push, phases, omega = push.double(), phases.double(), omega.double()
    if push.device.type != "cpu":
        return follow_in_torch(push, phases, omega, k, dt, steps=steps, detached=detached)
    moves = torch.ones(push.shape[:2], dtype=torch.bool) if steps is None else steps.bool()
    trace: Tensor = _Following.apply(push, phases, omega, k, dt, moves, detached)  # type: ignore[no-untyped-call]
    return trace


def follow_in_torch(
    push: Tensor,
    phases: Tensor,
    omega: Tensor,
    k: float,
    dt: float,
    *,
    steps: Tensor | None = None,
    detached: bool = False,
) -> Tensor:
    """As `follow`, by torch's operations on any device.

    Few of them for each token, as on a GPU each costs the same however small it is: what does not
    hang on the phases is added for all tokens at once, and they are wrapped at the end.
    """
    push, now, drift = push.double(), phases.double(), dt * omega.double()
    moves = None if steps is None else steps.bool().unsqueeze(-1).unbind(1)
    trace = []
    for token, turned in enumerate(push.unbind(1)):
        before = now.detach() if detached else now
        at = before + turned
        sine, cosine = at.sin(), at.cos()
        pull = sine.mean(-1, keepdim=True) * cosine - cosine.mean(-1, keepdim=True) * sine
        after = torch.add(at + drift, pull, alpha=dt * k)
        now = after if moves is None else torch.where(moves[token], after, before)
        trace.append(now)
    if not trace:
        return push
    return wrapped(torch.stack(trace, dim=1))


def _check_shapes(push: Tensor, phases: Tensor, omega: Tensor, steps: Tensor | None) -> None:
    """The compiled loop reads by these sizes, and would read beyond the end of what is smaller."""
    batch, tokens, number = push.shape
    for name, given, valid in (
        ("phases", phases, (batch, number)),
        ("natural frequencies", omega, (number,)),
        ("the mask", steps, (batch, tokens)),
    ):
        if given is not None and tuple(given.shape) != valid:
            raise ValueError(
                f"{name}: a tensor of {list(given.shape)}, and {batch} rows of {tokens} tokens "
                f"drive {number} oscillators; valid: {list(valid)}"
            )


class _Following(torch.autograd.Function):
    """The compiled loop, and its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        push: Tensor,
        phases: Tensor,
        omega: Tensor,
        k: float,
        dt: float,
        moves: Tensor,
        detached: bool,
    ) -> Tensor:
        push, phases, omega, moves = (each.contiguous() for each in (push, phases, omega, moves))
        trace = torch.empty_like(push)
        kernels().forward(
            _array(push), _array(phases), _array(omega), k, dt, moves.numpy(), trace.numpy()
        )
        ctx.save_for_backward(push, phases, omega, moves, trace)
        ctx.settings = (k, dt, detached)
        return trace

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        push, phases, omega, moves, trace = ctx.saved_tensors
        k, dt, detached = ctx.settings
        into = [torch.empty_like(push), torch.empty_like(phases), torch.empty_like(omega)]
        kernels().backward(
            *(_array(each) for each in (push, phases, omega)),
            k,
            dt,
            moves.numpy(),
            _array(trace),
            slopes[0].contiguous().numpy(),
            detached,
            *(each.numpy() for each in into),
        )
        return into[0], into[1], into[2], None, None, None, None


def _array(values: Tensor) -> Values:
    array: Values = values.detach().numpy()
    return array
