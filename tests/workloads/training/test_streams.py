"""Random streams are keyed by seed and component, and leave no trace."""

from __future__ import annotations

import torch

from workloads.training import generator, seeded, stream_seed


def test_the_same_key_gives_the_same_numbers() -> None:
    first, second = (torch.rand(4, generator=generator(3, "adapter")) for _ in range(2))
    assert torch.equal(first, second)


def test_seeds_and_components_have_streams_of_their_own() -> None:
    keys = [(0, "a"), (0, "b"), (1, "a"), (11, "a"), (1, "1/a")]
    assert len({stream_seed(*key) for key in keys}) == len(keys)


def test_the_seeds_are_those_of_the_first_version() -> None:
    # They enter every number a trial gives: a change needs a new version of each workload.
    assert stream_seed(0, "adapter/init") == 6172298527543543135


def test_an_absent_component_consumes_nothing() -> None:
    def draws(with_lora: bool) -> torch.Tensor:
        with seeded(0, "adapter"):
            first = torch.rand(2)
        if with_lora:
            with seeded(0, "lora"):
                torch.rand(100)
        with seeded(0, "dropout"):
            return torch.cat([first, torch.rand(2)])

    assert torch.equal(draws(True), draws(False))


def test_the_state_from_before_is_put_back_even_after_an_error() -> None:
    before = torch.get_rng_state()
    try:
        with seeded(0, "x"):
            torch.rand(3)
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.get_rng_state(), before)
