"""Paths of fractions on a model in memory: against the forwards they serve, and decoding anew.

A Llama of 8 million parameters with 64 prompts of 16 tokens; 10 fractions with each of 3 fills, in
one thread and one process. Every point is reached in place, measured by a forward, and decoded
anew, in turn; seconds are those of CPU time, which a busy machine disturbs least.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.benchmarks.measuring import tell
from workloads.dtdr.anchors import Anchor
from workloads.dtdr.asking import Asked, Domain, Fill
from workloads.dtdr.codec.recipe import Recipe, Transform
from workloads.dtdr.codec.tensors import encode_tensor
from workloads.dtdr.files.encoding import EncodedModel
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


def encoded_parameters(model: Any, transform: Transform) -> EncodedModel:
    recipe = Recipe(transform, "row", block_rows=32)
    parameters = {
        name: encode_tensor(name, parameter, recipe) for name, parameter in model.named_parameters()
    }
    return EncodedModel.of(parameters, {}, {})


def spent(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def path_times(transform: Transform, domain: Domain) -> dict[str, float]:
    model = llama(0)
    encoded = encoded_parameters(model, transform)
    anchor = Anchor("another model", encoded_parameters(llama(1), transform).__getitem__)
    parameters: dict[str, Tensor] = {name: p.data for name, p in model.named_parameters()}
    scratch = {name: torch.empty_like(p) for name, p in parameters.items()}
    ids = torch.randint(0, 4096, (PROMPTS, TOKENS), generator=torch.Generator().manual_seed(0))
    anew = Reconstruction(encoded, anchor)

    def decode_anew(asked: Asked) -> None:
        for name, tensor in anew.tensors(asked):
            scratch[name].copy_(tensor)

    model(input_ids=ids)
    decode_anew(Asked())
    decode = spent(lambda: decode_anew(Asked()))
    made: list[Incremental] = []
    moves = spent(lambda: made.append(Incremental(encoded, anchor, parameters)))
    forwards = again = 0.0
    for fill in FILLS:
        for fraction in FRACTIONS:
            asked = Asked(fraction, domain, fill)
            moves += spent(lambda asked=asked: made[0].move_to(asked))
            forwards += spent(lambda: model(input_ids=ids))
            again += spent(lambda asked=asked: decode_anew(asked))
    return {
        "decode_s": decode,
        "thirty_forwards_s": forwards,
        "path_s": moves,
        "decoding_anew_s": again,
        "of_decode_and_forwards": (moves + forwards) / (decode + forwards),
        "times_faster_than_anew": again / moves,
    }


@pytest.mark.timeout(900)
def test_a_path_costs_little_beside_its_forwards_and_less_than_decoding_anew() -> None:
    with one_thread():
        found = {
            f"{transform}, {domain}": path_times(transform, domain) for transform, domain in WAYS
        }
    in_all = {
        key: sum(times[key] for times in found.values()) for key in ("path_s", "decoding_anew_s")
    }
    faster = in_all["decoding_anew_s"] / in_all["path_s"]
    tell("fraction_path", {**found, "times_faster_than_anew_over_all": faster})
    for way, times in found.items():
        assert times["of_decode_and_forwards"] <= 2, way
    assert found["hadamard, rows"]["times_faster_than_anew"] >= 3
    assert faster >= 3
