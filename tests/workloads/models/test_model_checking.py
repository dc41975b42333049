"""A model is looked at: what is right of it, what is wrong, and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from workloads.errors import InputError
from workloads.models import resolve_model
from workloads.models.checking import Loaded, Looked, check_model

SHARED = Path("../shared/data")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def looked(ref: str) -> dict[str, Looked]:
    return {look.what: look for look in check_model(ref)}


@pytest.fixture
def mamba(tmp_path: Path) -> Path:
    return Path(shutil.copytree(resolve_model("embedded:mamba").source, tmp_path / "mamba"))


@pytest.mark.parametrize(
    ("name", "block"),
    [("mamba", "4 × MambaBlock in backbone.layers"), ("rwkv", "4 × RwkvBlock in rwkv.blocks")],
)
def test_an_embedded_model_is_whole_and_reads(name: str, block: str) -> None:
    found = looked(f"embedded:{name}")
    assert [what for what, look in found.items() if look.ok] == [
        "weights",
        "blocks",
        "tokenizer",
        "forward",
        "perplexity",
        "decoding",
    ]
    assert found["blocks"].found.startswith(block)
    assert "535 tokens" in found["tokenizer"].found


@pytest.mark.skipif(not SHARED.is_dir(), reason="the optional ../shared/data is absent")
def test_a_model_of_bytes_reads_them() -> None:
    found = looked(str(SHARED / "tiny-rwkv4-hf"))
    assert all(look.ok for what, look in found.items() if what != "model")
    assert "bytes" in found["tokenizer"].found


def test_weights_drawn_at_random_are_found_out_and_another_look_is_asked_last(mamba: Path) -> None:
    file = mamba / "model.safetensors"
    drawn = torch.Generator().manual_seed(0)
    save_file(
        {
            name: 0.02 * torch.randn(value.shape, generator=drawn)
            for name, value in load_file(file).items()
        },
        file,
        {"format": "pt"},
    )

    def sites(loaded: Loaded) -> Looked:
        raise InputError(f"{loaded.description.model_type} has none")

    *_, perplexity, decoding, last = check_model(str(mamba), sites)
    assert perplexity.ok is False
    assert "as of weights drawn at random" in perplexity.found
    assert decoding.ok
    assert last == Looked("sites", False, "mamba has none")


def test_what_is_not_finite_is_counted(mamba: Path) -> None:
    file = mamba / "model.safetensors"
    weights = load_file(file)
    weights["backbone.norm_f.weight"][0] = float("nan")
    save_file(weights, file, {"format": "pt"})
    found = looked(str(mamba))
    assert found["forward"].found == "25680 of 25680 logits are not finite"
    assert "not finite in 1 of them (backbone.norm_f.weight)" in found["weights"].found
    assert found["perplexity"].found.endswith("what it predicts of text is not finite")
    wrong = ("weights", "forward", "perplexity", "decoding")
    assert [found[what].ok for what in wrong] == [False] * 4


def test_a_model_that_cannot_be_loaded_ends_the_looking(mamba: Path) -> None:
    file = mamba / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_hidden_layers": 3}))
    found = looked(str(mamba))
    assert list(found) == ["model"]
    assert found["model"].ok is False
    assert "has 10 tensors too many" in found["model"].found
    assert next(check_model("embedded:nope")).found.startswith("no embedded model")


def test_an_architecture_without_known_blocks_is_named(tmp_path: Path) -> None:
    from transformers import XLNetConfig, XLNetLMHeadModel

    XLNetLMHeadModel(
        XLNetConfig(vocab_size=256, d_model=16, n_layer=2, n_head=2, d_inner=16)
    ).save_pretrained(tmp_path)
    found = looked(str(tmp_path))
    assert found["blocks"].ok is False
    assert "no blocks found in XLNetLMHeadModel" in found["blocks"].found


def test_a_tokenizer_of_another_model_is_refused_and_nothing_read_by_it(mamba: Path) -> None:
    file, config = mamba / "model.safetensors", mamba / "config.json"
    weights = load_file(file)
    weights["backbone.embeddings.weight"] = weights["backbone.embeddings.weight"][:99].clone()
    save_file(weights, file, {"format": "pt"})
    config.write_text(json.dumps(json.loads(config.read_text()) | {"vocab_size": 99}))
    found = looked(str(mamba))
    assert found["tokenizer"].ok is found["perplexity"].ok is False
    assert "535 tokens, and the model has a vocabulary of 99" in found["tokenizer"].found
    assert "not measured" in found["perplexity"].found
    assert found["decoding"].ok


def test_a_short_context_and_a_loss_beyond_numbers_are_looked_at(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=256, n_embd=16, n_layer=1, n_head=2, n_positions=20)
    )
    model.transformer.ln_f.weight.data *= 1e6
    model.save_pretrained(tmp_path)
    found = looked(str(tmp_path))
    assert found["forward"].found == "finite logits, [2, 20, 256]"
    assert found["perplexity"].ok is False
    assert found["perplexity"].found.startswith("inf per token")
