"""The successor's model: what a position reads, what arms share, and how many parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from workloads.phase_coupling.kssm.model import KssmModel, make_model, parameters_of
from workloads.phase_coupling.kssm_config import KssmConfig

VOCABULARY, TOKENS, CHANGED = 40, 16, 9


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _config(**changes: Any) -> KssmConfig:
    small = {"hidden_size": 16, "layers": 2, "heads": 4, "oscillators": 6, "harmonics": 5}
    return KssmConfig(**{**small, "tokens": TOKENS, **changes})


def _logits(model: KssmModel, ids: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(ids, noise).logits
    return logits


@pytest.mark.parametrize("variant", ["bistable", "monostable", "baseline"])
@pytest.mark.parametrize("mixing", ["attention", "none"])
def test_later_tokens_change_no_earlier_logit(variant: str, mixing: str) -> None:
    model = make_model(_config(variant=variant, mixing=mixing), VOCABULARY, 3)
    ids = torch.randint(VOCABULARY, (3, TOKENS), generator=torch.Generator().manual_seed(0))
    noise = model.draw_noise(torch.Generator().manual_seed(1), 3, TOKENS)
    other = ids.clone()
    other[:, CHANGED:] = (ids[:, CHANGED:] + 1) % VOCABULARY
    before, after = _logits(model, ids, noise), _logits(model, other, noise)
    assert torch.equal(before[:, :CHANGED], after[:, :CHANGED])
    assert not torch.equal(before[:, CHANGED:], after[:, CHANGED:])


@pytest.mark.parametrize(("mixing", "reads"), [("attention", True), ("none", False)])
def test_earlier_tokens_count_only_where_tokens_are_mixed(mixing: str, reads: bool) -> None:
    model = make_model(_config(mixing=mixing), VOCABULARY, 3)
    ids = torch.randint(VOCABULARY, (2, TOKENS), generator=torch.Generator().manual_seed(0))
    noise = model.draw_noise(torch.Generator().manual_seed(1), 2, TOKENS)
    other = ids.clone()
    other[:, 0] = (ids[:, 0] + 1) % VOCABULARY
    last = [_logits(model, one, noise)[:, -1] for one in (ids, other)]
    assert torch.equal(*last) is not reads


@pytest.mark.parametrize("sizes", [{}, {"hidden_size": 16, "layers": 1}, {"oscillators": 192}])
@pytest.mark.parametrize("mixing", ["attention", "none"])
def test_the_baseline_has_as_many_parameters_to_a_hundredth(
    sizes: dict[str, int], mixing: str
) -> None:
    counts = [
        parameters_of(KssmModel(KssmConfig(variant=variant, mixing=mixing, **sizes), 535))
        for variant in ("bistable", "monostable", "baseline")
    ]
    assert counts[0] == counts[1]
    assert abs(counts[2] - counts[0]) <= 0.01 * counts[0]


def test_the_origins_sizes_make_the_origins_number_of_parameters() -> None:
    """46.2 M, with its vocabulary and 1024 places."""
    config = KssmConfig(
        mixing="none", hidden_size=384, layers=6, oscillators=192, tokens=1024, harmonics=32
    )
    assert round(parameters_of(KssmModel(config, 100_277)) / 1e6, 1) == 46.2


def test_what_two_arms_share_starts_alike_in_both() -> None:
    first = dict(make_model(_config(), VOCABULARY, 0).named_parameters())
    for change in ({"variant": "baseline"}, {"mixing": "none"}):
        other = dict(make_model(_config(**change), VOCABULARY, 0).named_parameters())
        shared = [name for name in first if name in other]
        assert "embedding.weight" in shared
        assert "layers.1.wide.0.weight" in shared
        assert all(torch.equal(first[name], other[name]) for name in shared)
    again = make_model(_config(), VOCABULARY, 1).state_dict()
    assert not torch.equal(first["embedding.weight"], again["embedding.weight"])


def test_oscillators_compute_in_fp32_within_bf16() -> None:
    model = make_model(_config(), VOCABULARY, 0)
    ids = torch.zeros(2, TOKENS, dtype=torch.long)
    noise = model.draw_noise(torch.Generator().manual_seed(1), 2, TOKENS)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        read = model(ids, noise)
    assert all(one.r.dtype == torch.float32 for one in read.measured)
    assert read.logits.isfinite().all()
