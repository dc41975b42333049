"""Paths of fractions on a model in memory: against the forwards they serve, and decoding anew.

A Llama of 8 million parameters with 64 prompts of 16 tokens; 10 fractions with each of 3 fills, in
one thread and one process. Every point is reached in place, measured by a forward, and decoded
anew, in turn; seconds are those of CPU time, which a busy machine disturbs least. To decode anew is
what one does without a path: the encoded folder is opened, each tensor read, checked, decoded as
the point asks and put into a model. Beside it stands what that takes with all codes and the anchor
in memory, which nothing but this has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.benchmarks.measuring import tell
from workloads.dtdr.anchors import Anchor
from workloads.dtdr.asking import Asked, Domain, Fill
from workloads.dtdr.codec.recipe import Recipe, Transform
from workloads.dtdr.files.encoding import EncodedModel, encode_model
from workloads.dtdr.reconstruction import Incremental, Reconstruction

FRACTIONS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
FILLS: tuple[Fill, ...] = ("zero", "random", "guided")
PROMPTS, TOKENS = 64, 16
WAYS: tuple[tuple[Transform, Domain], ...] = (
    ("hadamard", "rows"),
    ("hadamard", "leading"),
    ("dct", "leading"),
    ("hadamard", "random"),
)


@contextmanager
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)


def llama(seed: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=2,
        num_attention_heads=8,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def encoding(model: Any, recipe: Recipe, folder: Path) -> Path:
    model.save_pretrained(folder / "model")
    encode_model(folder / "model", recipe, folder / "encoding")
    return folder / "encoding"


def in_memory(folder: Path) -> EncodedModel:
    encoded = EncodedModel.open(folder)
    return EncodedModel.of(dict(encoded), encoded.tied, {})


def spent(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def path_times(transform: Transform, domain: Domain, folder: Path) -> dict[str, float]:
    recipe = Recipe(transform, "row", block_rows=32)
    model = llama(0)
    stored = encoding(model, recipe, folder / "model")
    encoded = in_memory(stored)
    anchor = Anchor(
        "another model", in_memory(encoding(llama(1), recipe, folder / "anchor")).__getitem__
    )
    parameters: dict[str, Tensor] = {name: p.data for name, p in model.named_parameters()}
    scratch = {name: torch.empty_like(p) for name, p in parameters.items()}
    ids = torch.randint(0, 4096, (PROMPTS, TOKENS), generator=torch.Generator().manual_seed(0))

    def decode(source: EncodedModel, asked: Asked) -> None:
        for name, tensor in Reconstruction(source, anchor).tensors(asked):
            scratch[name].copy_(tensor)

    model(input_ids=ids)
    decode(encoded, Asked())
    one_decode = spent(lambda: decode(encoded, Asked()))
    made: list[Incremental] = []
    moves = spent(lambda: made.append(Incremental(encoded, anchor, parameters)))
    forwards = again = from_memory = 0.0
    for fill in FILLS:
        for fraction in FRACTIONS:
            asked = Asked(fraction, domain, fill)
            moves += spent(lambda asked=asked: made[0].move_to(asked))
            forwards += spent(lambda: model(input_ids=ids))
            again += spent(lambda asked=asked: decode(EncodedModel.open(stored), asked))
            from_memory += spent(lambda asked=asked: decode(encoded, asked))
    return {
        "decode_s": one_decode,
        "thirty_forwards_s": forwards,
        "path_s": moves,
        "decoding_anew_s": again,
        "decoding_anew_from_memory_s": from_memory,
        "of_decode_and_forwards": (moves + forwards) / (one_decode + forwards),
        "times_faster_than_anew": again / moves,
        "times_faster_than_anew_from_memory": from_memory / moves,
    }


@pytest.mark.timeout(900)
def test_a_path_costs_little_beside_its_forwards_and_less_than_decoding_anew(
    tmp_path: Path,
) -> None:
    with one_thread():
        found = {
            f"{transform}, {domain}": path_times(
                transform, domain, tmp_path / f"{transform}-{domain}"
            )
            for transform, domain in WAYS
        }
    tell("fraction_path", found)
    for way, times in found.items():
        assert times["of_decode_and_forwards"] <= 2, way
        # A DCT costs three times a Walsh–Hadamard transform, on the path as anew.
        least = 2 if way.startswith("dct") else 3
        assert times["times_faster_than_anew"] >= least, way
