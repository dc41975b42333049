"""Models read token by token, whatever they carry along: a cache, or a recurrent state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch

from telemetry.probes.discovery import unwrapped
from workloads.models.recurrences import use_here

_CARRIED: Final = ("past_key_values", "cache_params", "state")
"""What models carry from token to token: Llama, Qwen2 and their like; Mamba and Mamba2; RWKV."""


class Decoder:
    """Reads a batch of texts of one length and goes on with a token at a time, without gradients.

    What it gives equals what the model gives for the whole texts, up to rounding. Hooks on the
    model see a call for the texts' beginning, and one for each token after it.
    """

    def __init__(self, model: Any) -> None:
        use_here(getattr(getattr(unwrapped(model), "config", None), "model_type", ""))
        self._model = model
        self._carried: tuple[str, Any] | None = None
        self._rows = 0

    def reset(self) -> None:
        """Forgets what was read."""
        self._carried = None
        self._rows = 0

    @torch.no_grad()
    def read(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """The logits [batch, tokens, vocabulary] of texts' beginnings, ids [batch, tokens].

        Forgets what was read before. ValueError where the mask, of ids' shape, leaves tokens out:
        RWKV reads pads as text, so texts of several lengths are not read together by any model.
        """
        if ids.ndim != 2 or not ids.numel():
            raise ValueError(f"ids are [batch, tokens], got a tensor of {list(ids.shape)}")
        if mask is not None and not bool(mask.bool().all()):
            raise ValueError(
                "texts of several lengths cannot be read together; group them (groups_by_length)"
            )
        self.reset()
        self._rows = len(ids)
        return self._advance(ids)

    @torch.no_grad()
    def step(self, ids: torch.Tensor) -> torch.Tensor:
        """The logits [batch, vocabulary] after one more token of each text, ids [batch].

        RuntimeError where nothing was read; ValueError for another batch size.
        """
        if self._carried is None:
            raise RuntimeError("nothing was read yet; call read(ids) with the texts' beginnings")
        if ids.shape != (self._rows,):
            raise ValueError(
                f"{self._rows} texts were read and ids is a tensor of {list(ids.shape)}; give "
                "one token of each text, in the same order"
            )
        return self._advance(ids[:, None])[:, -1]

    def _advance(self, ids: torch.Tensor) -> torch.Tensor:
        carried = {} if self._carried is None else dict([self._carried])
        out = self._model(input_ids=ids, use_cache=True, **carried)
        for name in _CARRIED:
            if (value := getattr(out, name, None)) is not None:
                self._carried = (name, value)
                logits: torch.Tensor = out.logits
                return logits
        kind = type(unwrapped(self._model)).__name__
        raise ValueError(
            f"{kind} gives none of {', '.join(_CARRIED)}, by which reading goes on; valid: Llama, "
            "Qwen2, Mistral, GPT-2, GPT-NeoX, Mamba, Mamba2 and RWKV with a language model's head"
        )


def groups_by_length(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Places in `lengths`, in groups of one length each and of at most `most` places.

    Shorter texts come first; within a length, the order is as given.
    """
    if most < 1:
        raise ValueError(f"groups of at most {most} cannot be made; give 1 or more")
    groups: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        full = not groups or len(groups[-1]) == most
        if full or lengths[groups[-1][0]] != lengths[place]:
            groups.append([])
        groups[-1].append(place)
    return groups
