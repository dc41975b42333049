"""Reading token by token gives what reading the whole text gives, in every family of models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from workloads.models import load_model
from workloads.models.decoding import Decoder, groups_by_length

RWKV = Path("../shared/data/tiny-rwkv4-hf")
SHAPES: dict[str, dict[str, Any]] = {
    "mamba": {"state_size": 4},
    "mamba2": {
        "state_size": 8,
        "num_heads": 4,
        "head_dim": 16,
        "n_groups": 2,
        "chunk_size": 8,
    },
    "rwkv": {"intermediate_size": 48, "context_length": 64, "rescale_every": 0},
    "llama": {"intermediate_size": 48, "num_attention_heads": 4, "max_position_embeddings": 64},
    "qwen2": {
        "intermediate_size": 48,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    },
}


def drawn_model(architecture: str) -> Any:
    """A model of random weights that are large enough for every part to matter."""
    config = AutoConfig.for_model(
        architecture,
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **SHAPES[architecture],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=[*SHAPES, "embedded:mamba", "embedded:rwkv", "tiny-rwkv4"])
def model(request: pytest.FixtureRequest) -> Any:
    if request.param in SHAPES:
        return drawn_model(request.param)
    if request.param == "tiny-rwkv4":
        if not RWKV.is_dir():
            pytest.skip("the optional ../shared/data is absent")
        return load_model(str(RWKV))
    return load_model(request.param)


def some_ids(model: Any, batch: int = 3, tokens: int = 20) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(3)
    return torch.randint(3, model.config.vocab_size, (batch, tokens), generator=drawn)


@pytest.mark.parametrize("beginning", [1, 2, 11])
def test_steps_after_a_beginning_equal_reading_the_whole(model: Any, beginning: int) -> None:
    ids = some_ids(model)
    with torch.no_grad():
        whole = model(input_ids=ids, use_cache=False).logits
    decoder = Decoder(model)
    given = [decoder.read(ids[:, :beginning])]
    given += [decoder.step(ids[:, token])[:, None] for token in range(beginning, ids.shape[1])]
    torch.testing.assert_close(torch.cat(given, 1), whole, atol=2e-4, rtol=1e-4)


def test_nothing_of_an_earlier_text_is_left(model: Any) -> None:
    ids = some_ids(model)
    fresh, used = Decoder(model), Decoder(model)
    used.read(ids.flip(1))
    used.step(ids[:, 0])
    for decoder in (fresh, used):
        decoder.read(ids[:, :5])
    assert torch.equal(fresh.step(ids[:, 5]), used.step(ids[:, 5]))


def test_steps_need_a_beginning_and_its_batch() -> None:
    decoder = Decoder(drawn_model("rwkv"))
    ids = some_ids(drawn_model("rwkv"))
    with pytest.raises(RuntimeError, match="nothing was read yet"):
        decoder.step(ids[:, 0])
    decoder.read(ids)
    with pytest.raises(ValueError, match="3 texts were read"):
        decoder.step(ids[:2, 0])
    decoder.reset()
    with pytest.raises(RuntimeError, match="nothing was read yet"):
        decoder.step(ids[:, 0])


def test_pads_are_refused_and_a_full_mask_is_not() -> None:
    model = drawn_model("llama")
    ids = some_ids(model)
    mask = torch.ones_like(ids)
    assert torch.equal(Decoder(model).read(ids, mask), Decoder(model).read(ids))
    mask[0, 0] = 0
    with pytest.raises(ValueError, match="groups_by_length"):
        Decoder(model).read(ids, mask)
    with pytest.raises(ValueError, match="batch, tokens"):
        Decoder(model).read(ids[0])


def test_a_model_that_carries_nothing_is_named() -> None:
    class Plain(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, use_cache: bool) -> Any:
            return type("Out", (), {"logits": input_ids[..., None].float()})()

    with pytest.raises(ValueError, match=r"Plain gives none of past_key_values.*valid: Llama"):
        Decoder(Plain()).read(torch.ones(1, 2, dtype=torch.long))


def test_texts_are_grouped_by_their_length() -> None:
    assert groups_by_length([3, 2, 3, 3, 2, 9], most=2) == [[1, 4], [0, 2], [3], [5]]
    assert groups_by_length([], most=4) == []
    with pytest.raises(ValueError, match="1 or more"):
        groups_by_length([1], most=0)
