"""Training and generation do not notice that they are watched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch

from telemetry.probes import MonitorSuite
from tests.telemetry.probes.tiny_models import ALL, DIM, MASK, adapted, causal_model, tokens
from workloads.models.loading import load_model


def trained(
    model: Any, *, watched: bool, autocast: bool = False, steps: int = 5
) -> tuple[list[float], list[torch.Tensor], torch.Tensor]:
    """Losses, final weights, and the state of the random numbers afterwards."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    torch.manual_seed(4)
    losses = []
    with contextlib.ExitStack() as stack:
        suite = stack.enter_context(MonitorSuite.attach(model, ALL, window=4)) if watched else None
        for step in range(steps):
            batch = torch.randint(2, 64, (2, 6))
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                loss = model(batch, attention_mask=MASK, labels=batch).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if suite is not None:
                assert suite.observe(step).step == step
        if suite is not None:
            assert suite.status.svd_ratio is not None
            assert len(suite.drain()) == steps
    return losses, [one.detach().clone() for one in model.parameters()], torch.get_rng_state()


def with_dropout() -> Any:
    return causal_model(seed=3, attention_dropout=0.1).train()


def with_checkpointing() -> Any:
    model = with_dropout()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def embedded() -> Any:
    return load_model("embedded:llama").train()


@pytest.mark.parametrize(
    ("made", "options"),
    [
        (embedded, {"steps": 6}),
        (with_dropout, {}),
        (with_checkpointing, {}),
        (with_dropout, {"autocast": True}),
    ],
    ids=["embedded model", "dropout", "checkpointing", "autocast"],
)
def test_a_watched_training_is_bit_identical(
    made: Callable[[], Any], options: dict[str, Any]
) -> None:
    losses, weights, drawn = trained(made(), watched=False, **options)
    watched_losses, watched_weights, watched_drawn = trained(made(), watched=True, **options)
    assert losses == watched_losses
    assert all(torch.equal(*pair) for pair in zip(weights, watched_weights, strict=True))
    assert torch.equal(drawn, watched_drawn)


def test_inference_mode_is_watched() -> None:
    model = causal_model().eval()
    suite = MonitorSuite.attach(model, ALL, window=2)
    with torch.inference_mode():
        for step in range(2):
            model(tokens(1, 4, seed=step))
            suite.observe(step)
    model(tokens(1, 4, seed=2))
    assert suite.observe(2).state in ("healthy", "collapse")


def test_generation_is_watched_token_by_token_with_its_cache() -> None:
    model = adapted().eval()
    suite = MonitorSuite.attach(model, ("svd_ratio", "entropy"), window=2)
    prompt = tokens(2, 6)
    with torch.no_grad():
        first = model(prompt, attention_mask=MASK, use_cache=True)
        suite.observe(0)
        model(
            prompt[:, -1:],
            attention_mask=torch.cat([MASK, torch.ones(2, 1, dtype=torch.int64)], dim=1),
            past_key_values=first.past_key_values,
        )
    assert suite.observe(1).svd_ratio is not None
    assert suite.status.reason is None
    model.generate(input_ids=prompt, attention_mask=MASK, max_new_tokens=2, do_sample=False)
    assert suite.observe(2).step == 2


def test_a_row_is_as_wide_as_the_model_and_no_wider() -> None:
    model = causal_model()
    suite = MonitorSuite.attach(model)
    model(tokens(4, 16))
    suite.observe(0)
    assert suite.to_state()["rows"].shape == (10, DIM)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_a_step_never_waits_and_tells_the_same() -> None:
    model = causal_model().cuda()
    suite = MonitorSuite.attach(model, ALL, window=3)
    batches = [tokens(2, 6, seed=step).cuda() for step in range(6)]
    mask = MASK.cuda()
    model(batches[0], attention_mask=mask)  # what is set up once may wait
    suite.observe(-1)
    suite.flush()
    suite.drain()
    with torch.no_grad():
        for step, batch in enumerate(batches):
            model(batch, attention_mask=mask)
            torch.cuda.set_sync_debug_mode("error")
            try:
                suite.observe(step)
            finally:
                torch.cuda.set_sync_debug_mode("default")
    suite.flush()
    assert [step for step, _ in suite.drain()] == list(range(6))
