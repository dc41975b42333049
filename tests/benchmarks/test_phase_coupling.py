"""What oscillators at a block cost a model: reading while they observe, writing while R is held.

Observing takes at most 5 % of a forward pass of the embedded Mamba and RWKV (8 x 128 tokens);
writing with held phases that act runs at 0.8 of the uncoupled rate or more. Llama is only reported:
its forward pass is the fastest, and no limit is set for it.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from tests.benchmarks.measuring import tell
from workloads.models import load_model
from workloads.models.decoding import Decoder
from workloads.phase_coupling.config import KuramotoSettings
from workloads.phase_coupling.cores.kuramoto import KuramotoCore
from workloads.phase_coupling.cores.solver import phases_for
from workloads.phase_coupling.coupling.attach import Coupling, Mode, site_width

ROWS, TOKENS = 8, 128
PROMPT, WRITTEN = 16, 40
ROUNDS = 21
MOST_OVERHEAD = 0.05
LEAST_RATE = 0.8
LIMITED = ("mamba", "rwkv")
PLACE: dict[str, Any] = {"site": "residual", "layer": "1/2"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def joined(model: torch.nn.Module, mode: Mode) -> Coupling:
    core = KuramotoCore(KuramotoSettings(), site_width(model, **PLACE))
    core.init(torch.Generator().manual_seed(0))
    return Coupling.attach(model, core.eval(), mode=mode, **PLACE)


def in_turn(coupling: Coupling, work: Callable[[], Any]) -> tuple[list[float], list[float]]:
    """Seconds of each round, without the oscillators and with them.

    CPU time of this thread, so that waiting for others is not counted. A round is each twice, in
    the order A B B A or B A A B: a machine that grows slower or faster within it slows both alike.
    """

    def timed() -> float:
        start = time.thread_time()
        work()
        return time.thread_time() - start

    without, coupled = [], []
    gc.collect()
    gc.disable()  # a collection falls into whichever comes to be there
    try:
        for counted in range(-1, ROUNDS):  # the first warms up and is not counted
            taken = {True: 0.0, False: 0.0}
            first = bool(counted % 2)
            for paused in (first, not first, not first, first):
                coupling.begin(ROWS)
                with coupling.paused() if paused else nullcontext():
                    taken[paused] += timed() / 2
            if counted >= 0:
                without.append(taken[True])
                coupled.append(taken[False])
    finally:
        gc.enable()
    return without, coupled


@pytest.mark.parametrize("family", ["mamba", "rwkv", "llama"])
def test_observing_beside_a_forward_pass(family: str) -> None:
    model = load_model(f"embedded:{family}")
    ids = torch.randint(2, 500, (ROWS, TOKENS), generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def read() -> None:
        model(input_ids=ids, use_cache=False)

    with joined(model, "observe") as coupling:
        without, observed = in_turn(coupling, read)
    share = statistics.median(b / a - 1 for a, b in zip(without, observed, strict=True))
    tell(
        f"phase_observing_{family}",
        {
            "rows": ROWS,
            "tokens": TOKENS,
            "threads": 1,
            "forward_ms": 1e3 * statistics.median(without),
            "observed_ms": 1e3 * statistics.median(observed),
            "overhead": share,
        },
    )
    if family in LIMITED:
        assert share <= MOST_OVERHEAD


@pytest.mark.parametrize("family", ["mamba", "rwkv", "llama"])
def test_writing_with_a_held_order_parameter(family: str) -> None:
    model = load_model(f"embedded:{family}")
    prompt = torch.randint(2, 500, (ROWS, PROMPT), generator=torch.Generator().manual_seed(0))
    decoder = Decoder(model)

    def write() -> None:
        logits = decoder.read(prompt)[:, -1]
        for _ in range(WRITTEN):
            logits = decoder.step(logits.argmax(-1))

    with joined(model, "modulate") as coupling:
        coupling.hold(phases_for(0.5, 16))
        without, held = in_turn(coupling, write)
        coupling.begin(ROWS)
        write()
        r = coupling.collect()
    assert r is not None
    assert float((r - 0.5).abs().max()) < 1e-5
    rate = statistics.median(a / b for a, b in zip(without, held, strict=True))
    tell(
        f"phase_writing_{family}",
        {
            "rows": ROWS,
            "tokens": WRITTEN,
            "threads": 1,
            "uncoupled_tokens_per_s": ROWS * WRITTEN / statistics.median(without),
            "held_tokens_per_s": ROWS * WRITTEN / statistics.median(held),
            "rate_of_uncoupled": rate,
        },
    )
    assert rate >= LEAST_RATE
