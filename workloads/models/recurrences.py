"""Mamba's and RWKV's recurrences in plain torch: gradients in time linear in the tokens.

Where no compiled kernels are installed, transformers runs loops that read and write slices of
whole tensors, whose backward pass costs the square of the tokens. These give the same numbers.
RWKV's shift by a token is here because transformers' is wrong for single tokens of several texts.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import silu, softplus

_log = logging.getLogger(__name__)


class _LinearRecurrence(torch.autograd.Function):
    """s[t] = a[t] * s[t-1] + b[t], s[-1] = 0; all [tokens, ...]."""

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        states = b.clone()
        for token in range(1, len(states)):
            states[token].addcmul_(a[token], states[token - 1])
        ctx.save_for_backward(a, states)
        return states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, states = ctx.saved_tensors
        of_b = grads[0].clone(memory_format=torch.contiguous_format)
        for token in range(len(of_b) - 2, -1, -1):
            of_b[token].addcmul_(a[token + 1], of_b[token + 1])
        of_a = torch.zeros_like(a)
        torch.mul(of_b[1:], states[:-1], out=of_a[1:])
        return of_a, of_b


def linear_recurrence(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """s[t] = a[t] * s[t-1] + b[t] from a zero state; a, b and the states s: [tokens, ...]."""
    states: torch.Tensor = _LinearRecurrence.apply(a, b)  # type: ignore[no-untyped-call]
    return states


def selective_scan(
    hidden_states: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,  # noqa: N803
    B: torch.Tensor,  # noqa: N803
    C: torch.Tensor,  # noqa: N803
    D: torch.Tensor | None = None,  # noqa: N803
    z: torch.Tensor | None = None,
    delta_bias: torch.Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Mamba's selective scan, called as transformers calls its own.

    hidden_states, dt, z: [batch, channels, tokens]. A: [channels, state]. B, C: [batch, state,
    tokens]. D, delta_bias: [channels]. Gives [batch, channels, tokens], and where asked for the
    last state [batch, channels, state]. The state is float32 in models of lower precision.
    """
    precise = torch.promote_types(hidden_states.dtype, torch.float32)
    step = dt if delta_bias is None else dt + delta_bias.to(dt.dtype)[:, None]
    step = (softplus(step) if delta_softplus else step).permute(2, 0, 1).to(precise)
    read, write = (of.permute(2, 0, 1).to(precise) for of in (C, B))
    driven = step * hidden_states.permute(2, 0, 1).to(precise)
    states = linear_recurrence(
        torch.exp(step[..., None] * A.to(precise)), driven[..., None] * write[:, :, None, :]
    )
    out = torch.matmul(states, read[..., None]).squeeze(-1).permute(1, 2, 0)
    out = out.to(hidden_states.dtype)
    if D is not None:
        out = out + hidden_states * D[None, :, None]
    if z is not None:
        out = out * silu(z)
    return (out, states[-1].clone()) if return_last_state else out


@functools.cache
def fast_scan() -> Callable[..., Any] | None:
    """mamba_ssm's compiled scan, for GPUs; None where it is not installed, or cannot be loaded."""
    try:
        from mamba_ssm.ops.selective_scan_interface import (  # type: ignore[import-not-found]
            selective_scan_fn,
        )
    except ModuleNotFoundError:
        return None
    except Exception as error:
        # A package built for another torch fails in many ways; ours reads the same then, slower.
        _log.warning("mamba_ssm cannot be loaded, so Mamba is read slowly on GPUs: %s", error)
        return None
    found: Callable[..., Any] = selective_scan_fn
    return found


def _scan(hidden_states: Any, *rest: Any, **named: Any) -> Any:
    """On a GPU mamba_ssm's scan, where there is one; else ours."""
    for choice in ("use_mambapy", "use_associative_scan"):  # among transformers' own ways
        named.pop(choice, None)
    fast = fast_scan() if hidden_states.is_cuda else None
    return (fast or selective_scan)(hidden_states, *rest, **named)


def wkv(
    time_decay: torch.Tensor,
    time_first: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    state: Any = None,
    return_state: bool = False,
) -> tuple[torch.Tensor, Any]:
    """RWKV's mean of the values, called as transformers calls its own: the same operations.

    key, value: [batch, tokens, channels]; time_decay, time_first: [channels]. state: numerator,
    denominator and greatest exponent so far, [batch, channels] each.
    """
    if state is None:
        numerator = torch.zeros_like(key[:, 0], dtype=torch.float32)
        denominator = torch.zeros_like(numerator)
        greatest = torch.full_like(numerator, -1e38)
    else:
        numerator, denominator, greatest = state
    decay = -torch.exp(time_decay)
    outputs = []
    for now, then in zip(key.float().unbind(1), value.unbind(1), strict=True):
        first = now + time_first
        most = torch.maximum(greatest, first)
        past, present = torch.exp(greatest - most), torch.exp(first - most)
        mean = (past * numerator + present * then) / (past * denominator + present)
        outputs.append(mean.to(key.dtype))
        faded = greatest + decay
        greatest = torch.maximum(faded, now)
        past, present = torch.exp(faded - greatest), torch.exp(now - greatest)
        numerator = past * numerator + present * then
        denominator = past * denominator + present
    output = torch.stack(outputs, 1)
    if return_state or state is not None:
        return output, [numerator, denominator, greatest]
    return output, None


def _shifted(mixer: Any, hidden: torch.Tensor, last: torch.Tensor | None) -> torch.Tensor:
    """Each token's predecessor, [batch, tokens, channels]; the first one's is `last`, or zero."""
    shifted: torch.Tensor = mixer.time_shift(hidden)
    if last is not None:
        shifted[:, 0] = last[:, :, mixer.layer_id]
    return shifted


def _mixed(hidden: torch.Tensor, shifted: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    return hidden * share + shifted * (1 - share)


def _extract_key_value(
    self: Any, hidden: torch.Tensor, state: Any = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Any]:
    shifted = _shifted(self, hidden, None if state is None else state[1])
    key = self.key(_mixed(hidden, shifted, self.time_mix_key))
    value = self.value(_mixed(hidden, shifted, self.time_mix_value))
    receptance = self.receptance(_mixed(hidden, shifted, self.time_mix_receptance))
    if state is not None:
        state[1][:, :, self.layer_id] = hidden[:, -1]
    return torch.sigmoid(receptance), key, value, state


def _mix_channels(self: Any, hidden: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
    shifted = _shifted(self, hidden, None if state is None else state[0])
    key = torch.square(torch.relu(self.key(_mixed(hidden, shifted, self.time_mix_key))))
    receptance = self.receptance(_mixed(hidden, shifted, self.time_mix_receptance))
    if state is not None:
        state[0][:, :, self.layer_id] = hidden[:, -1]
    return torch.sigmoid(receptance) * self.value(key), state


def _is_not_of_kernels(record: logging.LogRecord) -> bool:
    return "is falling back to its reference" not in record.getMessage()


def use_here(architecture: str) -> None:
    """Makes this process's Mamba (`mamba`) or RWKV (`rwkv`) models use what this module has.

    Nothing changes for other architectures. On a GPU mamba_ssm's scan, and the kernel of RWKV that
    transformers loads, are still used where they are there. transformers' RWKV, reading one token
    of several texts, mixes each text with the last tokens of all: that is put right. Notices that
    kernels for GPUs are not installed, which come on CPUs too, are no longer given. Whoever builds
    a model calls this, so that no number hangs on what the process did before; it may be called
    again, from any thread.
    """
    notices = logging.getLogger("transformers.integrations.hub_kernels")
    if _is_not_of_kernels not in notices.filters:
        notices.addFilter(_is_not_of_kernels)
    if architecture == "mamba":
        from transformers.models.mamba import modeling_mamba

        modeling_mamba.mamba_selective_scan = _scan
    elif architecture == "rwkv":
        from transformers.models.rwkv import modeling_rwkv

        modeling_rwkv.rwkv_linear_attention_cpu = wkv
        modeling_rwkv.RwkvSelfAttention.extract_key_value = _extract_key_value
        modeling_rwkv.RwkvFeedForward.forward = _mix_channels
