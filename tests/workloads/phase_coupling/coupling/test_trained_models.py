"""The same of models that were trained: those that are shipped, and a real RWKV-4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.workloads.phase_coupling.coupling.joined import SITES, core_for, join, logits
from workloads.models import load_model
from workloads.models.decoding import Decoder

_SHARED = Path(__file__).parents[5] / "shared" / "data" / "tiny-rwkv4-hf"
_MODELS = [
    "embedded:mamba",
    "embedded:rwkv",
    "embedded:llama",
    pytest.param(
        str(_SHARED),
        marks=pytest.mark.skipif(not _SHARED.is_dir(), reason="../shared/data is absent"),
    ),
]


def _ids() -> torch.Tensor:
    return torch.randint(10, 250, (2, 12), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=_MODELS)
def model(request: Any) -> Any:
    return load_model(request.param)


def test_observing_leaves_every_bit(model: Any) -> None:
    before = logits(model, _ids())
    for site in SITES:
        with join(model, site, "observe"):
            assert torch.equal(logits(model, _ids()), before), site


@pytest.mark.parametrize("site", ["residual", "logits"])
def test_modulating_moves_the_logits_and_no_token_before_it(model: Any, site: str) -> None:
    ids, later = _ids(), _ids()
    later[:, 6:] = later[:, 6:].flip(1) + 1
    before = logits(model, ids)
    core = core_for(model, site)
    with join(model, site, core=core) as coupling:
        first = logits(model, ids)
        assert float((first - before).abs().max()) > 1e-3
        coupling.begin(2)
        assert torch.equal(logits(model, later)[:, :6], first[:, :6])


def test_writing_goes_on_where_reading_left_off(model: Any) -> None:
    ids, decoder = _ids(), Decoder(model)
    with join(model) as coupling:
        whole = logits(model, ids)
        coupling.begin(2)
        decoder.read(ids[:, :8])
        steps = [decoder.step(ids[:, position]) for position in range(8, 12)]
    assert torch.allclose(torch.stack(steps, dim=1), whole[:, 8:], atol=1e-3)
