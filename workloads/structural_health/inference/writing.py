"""A model that writes chunk after chunk, as its regime goes on, and what it goes on from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from workloads.structural_health.inference.checking import context_limit
from workloads.structural_health.inference.chunks import ChunkRow, read_chunks, write_chunks
from workloads.structural_health.inference.generating import (
    Choose,
    Chunk,
    end_tokens,
    greedy,
    sampling,
    write_chunk,
)
from workloads.structural_health.inference.regimes import REGIMES
from workloads.structural_health.inference.state import consistency, entropy
from workloads.structural_health.inference_config import InferenceConfig
from workloads.training.streams import generator

_TENSORS: Final = "writing.safetensors"
_PROGRESS: Final = "writing.json"


class Writing:
    """Writes the chunks of a resolved configuration and measures each.

    Attributes:
        rows: the chunks so far.
        cut: before how many of them old tokens were dropped.
    """

    def __init__(
        self,
        config: InferenceConfig,
        model: Any,
        tokenizer: Any,
        prompts: Sequence[Sequence[int]],
        seed: int,
    ) -> None:
        self._config, self._model, self._tokenizer = config, model, tokenizer
        self._regime = REGIMES[config.regime]
        self._prompts = [list(ids) for ids in prompts[: self._regime.prompts]]
        self._drawn = generator(seed, "sampling")
        self._choose: Choose = greedy
        if self._regime.sampled:
            self._choose = sampling(self._drawn, config.temperature, config.top_p)
        self._ends = end_tokens(model)
        self._limit = context_limit(model.config.to_dict())
        self._read = list(self._prompts[0])
        self._before: Chunk | None = None
        self.rows: list[ChunkRow] = []
        self.cut = 0

    def write(self) -> ChunkRow:
        """The next chunk. Raises `DivergedError` when logits are not finite."""
        regime, tokens, before = self._regime, self._config.chunk_tokens, self._before
        assert tokens is not None
        if not regime.appends:
            self._read = list(self._prompts[len(self.rows) % len(self._prompts)])
        if self._limit is not None and len(self._read) + tokens > self._limit:
            self._read = self._read[len(self._read) + tokens - self._limit :]
            self.cut += 1
        chunk = write_chunk(self._model, self._read, tokens, self._choose, self._ends)
        row = ChunkRow(
            regime.tag,
            len(self.rows) + 1,
            entropy(chunk.logits),
            None if before is None else consistency(chunk.hidden, before.hidden),
            self._tokenizer.decode(chunk.ids, skip_special_tokens=True),
            repeats=None if before is None else chunk.ids == before.ids,
            same_token=None if before is None else chunk.last_read == before.last_read,
        )
        self._before = chunk if regime.compares else None
        self._read += chunk.ids
        self.rows.append(row)
        return row

    def save(self, folder: Path) -> None:
        """Writes into a checkpoint what `load` goes on from: the chunks, what is read next, the
        last chunk's state, and how far numbers were drawn."""
        from safetensors.torch import save_file

        write_chunks(self.rows, folder)
        progress: dict[str, Any] = {"read": self._read, "cut": self.cut}
        tensors = {"drawn": self._drawn.get_state()}
        if self._before is not None:
            progress |= {"ids": self._before.ids, "last_read": self._before.last_read}
            tensors |= {"hidden": self._before.hidden, "logits": self._before.logits}
        save_file(tensors, folder / _TENSORS)
        (folder / _PROGRESS).write_text(json.dumps(progress))

    def load(self, folder: Path) -> None:
        """Goes on from what `save` wrote."""
        from safetensors.torch import load_file

        tensors = load_file(folder / _TENSORS)
        progress = json.loads((folder / _PROGRESS).read_text())
        self.rows = read_chunks(folder)
        self._read, self.cut = progress["read"], progress["cut"]
        self._drawn.set_state(tensors["drawn"])
        if "ids" in progress:
            self._before = Chunk(
                tuple(progress["ids"]), tensors["logits"], tensors["hidden"], progress["last_read"]
            )
