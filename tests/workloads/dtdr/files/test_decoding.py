"""An encoded folder becomes a model that `from_pretrained` loads; damage is refused, or told."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.workloads.dtdr.files.models import odd_tensors, saved_llama, saved_model
from workloads.dtdr.anchors import Anchor
from workloads.dtdr.asking import Asked
from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.codec.tensors import encode_tensor
from workloads.dtdr.codec.transforms import restored, transformed
from workloads.dtdr.files import DamagedTensorError, EncodedModel, decode_model, encode_model
from workloads.dtdr.files.index import read_index
from workloads.dtdr.fills import gaussian
from workloads.errors import InputError
from workloads.models import load_model, resolve_model

WHOLE = Asked()


def logits(model: torch.nn.Module) -> Tensor:
    with torch.inference_mode():
        return model(torch.arange(3, 19)[None]).logits  # type: ignore[no-any-return]


def decoded_in_memory(model: torch.nn.Module, encoded: EncodedModel) -> torch.nn.Module:
    """The model with every weight replaced by what its encoding says."""
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in encoded.items():
            own[name].copy_(tensor.decoded())
    return model


@pytest.mark.parametrize("transform", ["hadamard", "dct"])
def test_the_decoded_folder_has_the_logits_of_the_decode_in_memory(
    tmp_path: Path, transform: str
) -> None:
    model = resolve_model("embedded:llama")
    encode_model(model, Recipe(transform, "row", 4), tmp_path / "encoded")  # type: ignore[arg-type]
    encoded = EncodedModel.open(tmp_path / "encoded")
    decode_model(encoded, tmp_path / "decoded", WHOLE)
    loaded = logits(load_model(str(tmp_path / "decoded")))
    expected = logits(decoded_in_memory(load_model(model), encoded))
    assert torch.equal(loaded, expected)
    assert not torch.equal(loaded, logits(load_model(model)))


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_in_bfloat16_and_several_files_comes_back_as_such(
    tmp_path: Path, tied: bool
) -> None:
    from transformers import AutoModelForCausalLM

    source = saved_llama(tmp_path / "model", tied=tied)
    encode_model(source, Recipe(block_rows=4), tmp_path / "encoded")
    encoded = EncodedModel.open(tmp_path / "encoded")
    decode_model(encoded, tmp_path / "decoded", WHOLE, shard_bytes=12_000)
    assert len(list((tmp_path / "decoded").glob("model-*-of-*.safetensors"))) > 1
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "decoded")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    original = AutoModelForCausalLM.from_pretrained(source)
    assert torch.equal(logits(loaded), logits(decoded_in_memory(original, encoded)))


def test_another_type_is_that_of_weights_and_configuration(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    encode_model(saved_llama(tmp_path / "model"), Recipe(block_rows=4), tmp_path / "encoded")
    encoded = EncodedModel.open(tmp_path / "encoded")
    decode_model(encoded, tmp_path / "decoded", WHOLE, dtype="float32")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "decoded")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    with pytest.raises(InputError, match="did you mean float32"):
        decode_model(encoded, tmp_path / "other", WHOLE, dtype="float23")


def test_a_tied_head_comes_back_under_both_names(tmp_path: Path) -> None:
    embedding = torch.randn(12, 4)
    stored = {"lm_head.weight": embedding, "model.embed_tokens.weight": embedding.clone()}
    folder = saved_model(tmp_path / "model", stored, {"vocab_size": 12})
    encode_model(folder, Recipe("none", "none", 4), tmp_path / "encoded")
    done = decode_model(EncodedModel.open(tmp_path / "encoded"), tmp_path / "decoded", WHOLE)
    read = load_file(tmp_path / "decoded" / "model.safetensors")
    assert all(torch.equal(read[name], embedding) for name in stored)
    assert done.tensors == 2


def test_every_kind_of_tensor_comes_back_in_its_own_type_and_shape(tmp_path: Path) -> None:
    tensors = odd_tensors()
    encode_model(saved_model(tmp_path / "model", tensors), Recipe(block_rows=4), tmp_path / "e")
    decode_model(EncodedModel.open(tmp_path / "e"), tmp_path / "d", Asked(fraction=0.3))
    read = load_file(tmp_path / "d" / "model.safetensors")
    for name, tensor in tensors.items():
        assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape), name
    for name in ("vector", "short", "empty", "scalar", "numbers", "flags"):
        assert torch.equal(read[name], tensors[name]), name
    assert not read["matrix"][4:].any()
    assert read["matrix"][:4].any()


def test_what_was_asked_stands_beside_the_weights(tmp_path: Path) -> None:
    encode_model(saved_model(tmp_path / "m", odd_tensors()), Recipe(), tmp_path / "e")
    point = Asked(fraction=0.5, fill="random", draw=7)
    decode_model(EncodedModel.open(tmp_path / "e"), tmp_path / "d", point)
    note = json.loads((tmp_path / "d" / "decoding.json").read_text())
    assert note["source"] == EncodedModel.open(tmp_path / "e").source
    assert (note["asked"]["fraction"], note["asked"]["draw"]) == (0.5, 7)


def test_a_guided_fill_needs_an_anchor_and_leaves_nothing_without(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "model", odd_tensors())
    encode_model(folder, Recipe(block_rows=4), tmp_path / "e")
    point = Asked(fraction=0.5, fill="guided")
    with pytest.raises(InputError, match="anchor"):
        decode_model(EncodedModel.open(tmp_path / "e"), tmp_path / "d", point)
    assert sorted(os.listdir(tmp_path)) == ["e", "model"]
    decode_model(EncodedModel.open(tmp_path / "e"), tmp_path / "d", point, Anchor.of_model(folder))
    read = load_file(tmp_path / "d" / "model.safetensors")["matrix"]
    assert torch.equal(read[4:], odd_tensors()["matrix"][4:] * 0.15)


def test_an_anchor_that_does_not_fit_is_refused_naming_the_tensor(tmp_path: Path) -> None:
    encode_model(saved_model(tmp_path / "m", odd_tensors()), Recipe(block_rows=4), tmp_path / "e")
    other = saved_model(tmp_path / "other", {**odd_tensors(), "kernel": torch.ones(3, 4, 6)})
    with pytest.raises(InputError, match="kernel"):
        decode_model(
            EncodedModel.open(tmp_path / "e"),
            tmp_path / "d",
            Asked(fraction=0.5, fill="guided"),
            Anchor.of_model(other),
            lambda *step: pytest.fail(f"wrote {step[0]}"),
        )
    assert not (tmp_path / "d").exists()


def damage(folder: Path, name: str, byte: int = 0) -> None:
    """Inverts one byte of a stored tensor's first part."""
    place = next(iter(read_index(folder).tensors[name].parts.values()))
    with (folder / place.file).open("r+b") as file:
        file.seek(place.begin + byte)
        value = file.read(1)[0]
        file.seek(place.begin + byte)
        file.write(bytes([value ^ 0x7F]))


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """An encoded folder whose `matrix` [10, 6 of 8 codes], in blocks of 4 rows, has one byte of
    row 5 wrong."""
    encode_model(saved_model(tmp_path / "m", odd_tensors()), Recipe(block_rows=4), tmp_path / "e")
    damage(tmp_path / "e", "matrix", 5 * 8)
    return tmp_path / "e"


def whole_matrix() -> Tensor:
    return encode_tensor("matrix", odd_tensors()["matrix"], Recipe(block_rows=4)).decoded()


def read(folder: Path) -> Mapping[str, Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_damaged_tensor_is_refused_by_name_with_its_blocks(tmp_path: Path, damaged: Path) -> None:
    with pytest.raises(DamagedTensorError, match=r"matrix .*\(1 of its 3 blocks of rows: 1\)"):
        decode_model(EncodedModel.open(damaged), tmp_path / "d", WHOLE)
    assert sorted(os.listdir(tmp_path)) == ["e", "m"]
    assert EncodedModel.open(damaged)["half"].rows == 9


def test_damaged_blocks_are_filled_and_the_others_are_whole(tmp_path: Path, damaged: Path) -> None:
    done = decode_model(EncodedModel.open(damaged), tmp_path / "d", WHOLE, damaged="fill")
    assert done.damaged == {"matrix": (1,)}
    found, expected = read(tmp_path / "d")["matrix"], whole_matrix()
    assert not found[4:8].any()
    assert torch.equal(found[:4], expected[:4])
    assert torch.equal(found[8:], expected[8:])


def test_damaged_blocks_are_filled_from_an_anchor(tmp_path: Path, damaged: Path) -> None:
    point = Asked(fill="guided", scale=1.0)
    encoded = EncodedModel.open(damaged)
    with pytest.raises(InputError, match="anchor"):
        decode_model(encoded, tmp_path / "d", point, damaged="fill")
    anchor = Anchor.of_model(tmp_path / "m")
    decode_model(encoded, tmp_path / "d", point, anchor, damaged="fill")
    assert torch.equal(read(tmp_path / "d")["matrix"][4:8], odd_tensors()["matrix"][4:8])


def test_damaged_blocks_of_coefficients_are_filled_with_coefficients(
    tmp_path: Path, damaged: Path
) -> None:
    point = Asked(fraction=0.5, domain="leading", fill="random", draw=3)
    decode_model(EncodedModel.open(damaged), tmp_path / "d", point, damaged="fill")
    found = transformed(read(tmp_path / "d")["matrix"], "hadamard")
    noise = gaussian((10, 8), 3, "matrix", found.device)
    restored_noise = transformed(restored(noise, "hadamard", 6), "hadamard")
    own = encode_tensor("matrix", odd_tensors()["matrix"], Recipe(block_rows=4)).coefficients()
    known = torch.cat([own[:4, :4], own[8:, :4]])
    size = known.double().std(correction=0).float()
    assert torch.allclose(found[4:8], restored_noise[4:8] * size, atol=1e-5)


def test_noise_is_as_large_as_what_is_not_damaged(tmp_path: Path, damaged: Path) -> None:
    scale = read_index(damaged).tensors["matrix"].parts["scale"]
    with (damaged / scale.file).open("r+b") as file:
        file.seek(scale.begin + 4 * 5)
        file.write(b"\xff\xff\x7f\x7f")  # the largest float
    point = Asked(noise=0.1)
    decode_model(EncodedModel.open(damaged), tmp_path / "d", point, damaged="fill")
    found = read(tmp_path / "d")["matrix"]
    assert not found[4:8].any()
    error = (found - whole_matrix())[[0, 1, 2, 3, 8, 9]]
    assert 0.05 < float(error.square().mean().sqrt()) < 0.2


def test_damaged_blocks_are_kept_as_they_are(tmp_path: Path, damaged: Path) -> None:
    done = decode_model(EncodedModel.open(damaged), tmp_path / "d", WHOLE, damaged="keep")
    assert done.damaged == {"matrix": (1,)}
    differs = (read(tmp_path / "d")["matrix"] != whole_matrix()).any(dim=1)
    assert differs.nonzero().flatten().tolist() == [5]


def test_damage_that_is_kept_tells_numbers_that_are_not_finite(tmp_path: Path) -> None:
    encode_model(saved_model(tmp_path / "m", odd_tensors()), Recipe(block_rows=4), tmp_path / "e")
    place = read_index(tmp_path / "e").tensors["matrix"].parts["scale"]
    with (tmp_path / "e" / place.file).open("r+b") as file:
        file.seek(place.begin + 5 * 4)
        file.write(struct.pack("<f", float("inf")))
    done = decode_model(EncodedModel.open(tmp_path / "e"), tmp_path / "d", WHOLE, damaged="keep")
    assert done.non_finite == {"matrix": 6}
    noisy = Asked(noise=1e308)  # not of the damage
    with pytest.raises(InputError, match="come out NaN or infinite as"):
        decode_model(EncodedModel.open(tmp_path / "e"), tmp_path / "x", noisy, damaged="keep")
    assert not (tmp_path / "x").exists()


def test_a_damaged_tensor_that_is_stored_as_it_is_cannot_be_filled(tmp_path: Path) -> None:
    encode_model(saved_model(tmp_path / "m", odd_tensors()), Recipe(block_rows=4), tmp_path / "e")
    damage(tmp_path / "e", "vector")
    encoded = EncodedModel.open(tmp_path / "e")
    with pytest.raises(DamagedTensorError, match="vector"):
        decode_model(encoded, tmp_path / "d", WHOLE)
    with pytest.raises(InputError, match=r"vector is damaged .* --damaged keep"):
        decode_model(encoded, tmp_path / "d", WHOLE, damaged="fill")
    decode_model(encoded, tmp_path / "d", WHOLE, damaged="keep")
    assert not torch.equal(read(tmp_path / "d")["vector"], odd_tensors()["vector"])


def test_damage_of_a_files_header_harms_no_tensor(tmp_path: Path) -> None:
    encode_model(saved_model(tmp_path / "m", odd_tensors()), Recipe(block_rows=4), tmp_path / "e")
    (weights,) = (tmp_path / "e").glob("*.safetensors")
    with weights.open("r+b") as file:
        file.write(b"\xff" * 20)
    decode_model(EncodedModel.open(tmp_path / "e"), tmp_path / "d", WHOLE)
    assert torch.equal(read(tmp_path / "d")["matrix"], whole_matrix())


def test_a_damaged_tokenizer_is_refused_by_name(tmp_path: Path) -> None:
    encode_model(resolve_model("embedded:llama"), Recipe(block_rows=4), tmp_path / "e")
    tokenizer = tmp_path / "e" / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes().replace(b"a", b"b", 1))
    with pytest.raises(InputError, match=r"tokenizer\.json is not what was written"):
        decode_model(EncodedModel.open(tmp_path / "e"), tmp_path / "d", WHOLE)
    assert os.listdir(tmp_path) == ["e"]
