"""Noise by seed, prompt, sample and position, and tokens drawn by it."""

from __future__ import annotations

import torch

from workloads.phase_coupling.measuring.keyed_noise import KeyedNoise, drawn_tokens


def test_a_texts_noise_is_the_same_whatever_is_beside_it() -> None:
    together, alone = KeyedNoise(3, ["a/0", "a/1", "b/0"], 7), KeyedNoise(3, ["a/1"], 7)
    for _ in range(4):
        assert torch.equal(together.next()[1], alone.next()[0])


def test_noise_differs_by_seed_prompt_sample_and_position() -> None:
    noise = KeyedNoise(3, ["a/0", "a/1", "b/0"], 7)
    first, second = noise.next(), noise.next()
    other = KeyedNoise(4, ["a/0"], 7).next()
    rows = [*first, *second, *other]
    assert all(not torch.equal(a, b) for i, a in enumerate(rows) for b in rows[:i])


def test_drawn_tokens_follow_the_softmax_at_its_temperature() -> None:
    logits, temperature, texts = torch.tensor([0.0, 1.0, 2.0, -1.0]), 0.7, 20_000
    noise = KeyedNoise(0, ["one"], texts * 4).next().reshape(texts, 4)
    drawn = drawn_tokens(logits.expand(texts, -1), noise, temperature)
    shares = torch.bincount(drawn, minlength=4) / texts
    expected = torch.softmax(logits / temperature, -1)
    errors = (expected * (1 - expected) / texts).sqrt()
    assert bool(((shares - expected).abs() < 4 * errors).all())


def test_noise_touches_no_global_generator() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    KeyedNoise(0, ["a/0"], 50).next()
    assert torch.equal(torch.get_rng_state(), before)
