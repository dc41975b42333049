"""A model becomes an encoded folder, tensor by tensor, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.workloads.dtdr.files.models import odd_tensors, saved_llama, saved_model
from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.codec.tensors import encode_tensor
from workloads.dtdr.files import EncodedModel, encode_model, encoding, read_index, write_encoded
from workloads.dtdr.files.checksums import block_checksums, tensor_checksum
from workloads.dtdr.files.writing import new_folder
from workloads.errors import InputError
from workloads.models import resolve_model

RECIPES = [
    Recipe("hadamard", "row", 4),
    Recipe("dct", "block", 4),
    Recipe("none", "minmax", 3),
    Recipe("none", "none", 4),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_what_is_read_back_is_what_the_codec_gave(tmp_path: Path, recipe: Recipe) -> None:
    tensors = odd_tensors()
    encode_model(saved_model(tmp_path / "model", tensors), recipe, tmp_path / "out")
    encoded = EncodedModel.open(tmp_path / "out")
    assert set(encoded) == set(tensors)
    assert encoded.recipe == recipe
    for name, tensor in tensors.items():
        ours, expected = encoded[name], encode_tensor(name, tensor, recipe)
        assert ours.recipe == expected.recipe, name
        assert (ours.shape, ours.dtype) == (tuple(tensor.shape), tensor.dtype)
        for part in expected.parts:
            assert torch.equal(ours.parts[part], expected.parts[part]), (name, part)
        assert torch.equal(ours.decoded(), expected.decoded())


def test_sizes_are_those_of_the_tensors(tmp_path: Path) -> None:
    tensors = odd_tensors()
    told: list[tuple[str, int, int]] = []
    done = encode_model(
        saved_model(tmp_path / "model", tensors),
        Recipe(block_rows=4),
        tmp_path / "out",
        lambda *step: told.append(step),
    )
    whole = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    assert done.original_bytes == whole
    assert done.bytes == sum(one.bytes for one in EncodedModel.open(tmp_path / "out").values())
    assert (done.tensors, done.plain) == (10, 6)
    assert [step[0] for step in told] == list(EncodedModel.open(tmp_path / "out"))
    assert told[-1][1:] == (whole, whole)


def test_the_files_are_safetensors_that_others_read(tmp_path: Path) -> None:
    encode_model(saved_model(tmp_path / "m", odd_tensors()), Recipe(block_rows=4), tmp_path / "out")
    encoded = EncodedModel.open(tmp_path / "out")
    (path,) = (tmp_path / "out").glob("*.safetensors")
    read = load_file(path)
    parts = {f"{name}:{part}": t for name in encoded for part, t in encoded[name].parts.items()}
    assert set(read) == set(parts)
    assert all(torch.equal(read[key], parts[key]) for key in parts)
    with safe_open(path, "pt") as file:  # type: ignore[no-untyped-call]
        assert file.metadata() == {"format": "pt"}


def test_a_model_in_several_files_is_read_as_one(tmp_path: Path) -> None:
    folder = saved_llama(tmp_path / "model")
    assert len(list(folder.glob("*.safetensors"))) > 2
    encode_model(folder, Recipe(block_rows=4), tmp_path / "out")
    names = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    assert set(EncodedModel.open(tmp_path / "out")) == set(names)


def test_weights_that_are_there_twice_are_read_once(tmp_path: Path) -> None:
    folder = saved_llama(tmp_path / "model")
    save_file({"other": torch.ones(2, 2)}, folder / "consolidated.safetensors")
    encode_model(folder, Recipe(block_rows=4), tmp_path / "out")
    assert "other" not in EncodedModel.open(tmp_path / "out")


def test_a_name_in_two_files_is_refused(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "model", {"matrix": torch.ones(2, 2)})
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    save_file({"matrix": torch.zeros(2, 2)}, folder / "b.safetensors")
    with pytest.raises(InputError, match=r"tensor matrix is in both a\.safetensors and b\."):
        encode_model(folder, Recipe(), tmp_path / "out")


def test_a_head_that_is_tied_to_the_embedding_is_stored_once(tmp_path: Path) -> None:
    embedding = torch.randn(12, 4)
    stored = {"lm_head.weight": embedding, "model.embed_tokens.weight": embedding.clone()}
    config = {"tie_word_embeddings": True, "vocab_size": 12}
    folder = saved_model(tmp_path / "tied", stored, config)
    encode_model(folder, Recipe(block_rows=4), tmp_path / "out")
    encoded = EncodedModel.open(tmp_path / "out")
    assert list(encoded) == ["model.embed_tokens.weight"]
    assert encoded.tied == {"lm_head.weight": "model.embed_tokens.weight"}


def test_a_head_of_its_own_is_stored_beside_the_embedding(tmp_path: Path) -> None:
    stored = {"lm_head.weight": torch.randn(12, 4), "model.embed_tokens.weight": torch.randn(12, 4)}
    config = {"tie_word_embeddings": True, "vocab_size": 12}
    encode_model(saved_model(tmp_path / "m", stored, config), Recipe(block_rows=4), tmp_path / "o")
    assert len(EncodedModel.open(tmp_path / "o")) == 2


def test_configuration_and_tokenizer_come_along(tmp_path: Path) -> None:
    ref = resolve_model("embedded:llama")
    encode_model(ref, Recipe(block_rows=4), tmp_path / "out")
    files = EncodedModel.open(tmp_path / "out").config_files
    assert {"config.json", "generation_config.json", "tokenizer.json"} <= set(files)
    assert ref.path is not None
    assert files["tokenizer.json"] == (ref.path / "tokenizer.json").read_bytes()
    assert "training.json" not in files


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = saved_llama(tmp_path / "model")
    for name in ("a", "b"):
        encode_model(folder, Recipe(block_rows=4), tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_one_in_memory_is_written_as_it_is(tmp_path: Path) -> None:
    recipe, other = Recipe("none", "minmax", 3), Recipe("none", "minmax", 5)
    tensors = {
        "one": encode_tensor("one", torch.randn(10, 6), recipe),
        "two": encode_tensor("two", torch.randn(10, 6), other),
    }
    encoded = EncodedModel.of(tensors, {"alias": "one"}, {"config.json": b"{}"})
    write_encoded(encoded, tmp_path / "out")
    read = EncodedModel.open(tmp_path / "out")
    assert (read.tied, dict(read.config_files)) == ({"alias": "one"}, {"config.json": b"{}"})
    for name, tensor in tensors.items():
        assert read[name].recipe == tensor.recipe
        assert torch.equal(read[name].decoded(), tensor.decoded())
        assert read.checksums(name) == block_checksums(tensor) == encoded.checksums(name)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_refused_and_nothing_is_left(
    tmp_path: Path, bad: float
) -> None:
    tensors = {"fine": torch.randn(4, 4), "broken": torch.randn(4, 4)}
    tensors["broken"][1, 2] = bad
    folder = saved_model(tmp_path / "model", tensors)
    with pytest.raises(InputError, match="broken"):
        encode_model(folder, Recipe(), tmp_path / "out")
    assert os.listdir(tmp_path) == ["model"]


UP = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({UP: None}, rf"has no tensor {UP}, which its config\.json asks for; copy"),
        ({UP: torch.ones(7, 24)}, rf"tensor {UP} of .* is \[7, 24\], and .* says \[40, 24\]"),
        ({"lm_head.weight": None}, r"has no tensor lm_head\.weight"),
    ],
)
def test_weights_that_the_architecture_does_not_have_are_refused_by_name(
    tmp_path: Path, change: dict[str, torch.Tensor | None], message: str
) -> None:
    folder = saved_llama(tmp_path / "model")
    tensors = {
        name: t for file in folder.glob("*.safetensors") for name, t in load_file(file).items()
    }
    changed = {name: t for name, t in {**tensors, **change}.items() if t is not None}
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=message):
        encode_model(folder, Recipe(), tmp_path / "out")
    assert os.listdir(tmp_path) == ["model"]


def test_weights_of_an_architecture_that_nobody_knows_are_encoded(tmp_path: Path) -> None:
    unknown = {"architectures": ["OrreryForCausalLM"]}
    encode_model(saved_model(tmp_path / "m", odd_tensors(), unknown), Recipe(), tmp_path / "out")
    assert set(EncodedModel.open(tmp_path / "out")) == set(odd_tensors())


def test_a_configuration_that_makes_no_model_is_refused(tmp_path: Path) -> None:
    folder = saved_llama(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": "wide"}))
    with pytest.raises(InputError, match=r"config\.json of .* makes no LlamaForCausalLM"):
        encode_model(folder, Recipe(), tmp_path / "out")


def test_an_interrupted_encoding_leaves_nothing(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "model", odd_tensors())

    def interrupt(name: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_model(folder, Recipe(), tmp_path / "out", interrupt)
    assert os.listdir(tmp_path) == ["model"]


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with new_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert [name.startswith(".out.part-") for name in os.listdir(tmp_path)] == [True]
    with new_folder(tmp_path / "out") as folder:
        (folder / "whole").write_text("whole")
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == ["whole"]


def test_what_another_is_writing_is_left_alone(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as first:
        with new_folder(tmp_path / "out") as second:
            (second / "from").write_text("second")
        assert first.exists()
        with pytest.raises(InputError, match="exists"), new_folder(tmp_path / "out"):
            pass
        shutil.rmtree(tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == []


def test_a_folder_in_place_stays_as_it_is(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "model", odd_tensors())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    for force in (False, True):
        with pytest.raises(InputError, match="give another --out"):
            encode_model(folder, Recipe(), tmp_path / "out", force=force)
    assert os.listdir(tmp_path / "out") == ["thesis.tex"]


def test_an_empty_folder_is_filled_and_an_encoded_one_replaced_by_force(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "model", odd_tensors())
    (tmp_path / "out").mkdir()
    encode_model(folder, Recipe("hadamard", "row", 4), tmp_path / "out")
    with pytest.raises(InputError, match="--force"):
        encode_model(folder, Recipe("dct", "row", 4), tmp_path / "out")
    encode_model(folder, Recipe("dct", "row", 4), tmp_path / "out", force=True)
    assert EncodedModel.open(tmp_path / "out").recipe.transform == "dct"
    assert sorted(os.listdir(tmp_path)) == ["model", "out"]


def test_a_link_is_no_target(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    with pytest.raises(InputError, match="is a link"):
        encode_model(saved_model(tmp_path / "m", odd_tensors()), Recipe(), tmp_path / "link")
    assert sorted(os.listdir(tmp_path)) == ["empty", "link", "m"]


def test_the_source_is_never_the_target(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "model", odd_tensors())
    with pytest.raises(InputError, match="is read from"):
        encode_model(folder, Recipe(), folder, force=True)
    encode_model(folder, Recipe(), tmp_path / "out")
    with pytest.raises(InputError, match="is encoded already"):
        encode_model(tmp_path / "out", Recipe(), tmp_path / "again")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "is damaged"),
        (lambda text: text.replace('"shape":[10,6]', '"shape":[10,7]'), "not what was written"),
        (lambda text: text.replace('"version":1', '"version":2'), "format version 2"),
        (lambda text: "[]", "no index of an encoded model"),
    ],
)
def test_a_damaged_index_is_refused(tmp_path: Path, change: object, message: str) -> None:
    encode_model(saved_model(tmp_path / "m", odd_tensors()), Recipe(), tmp_path / "out")
    index = tmp_path / "out" / "index.json"
    index.write_text(change(index.read_text()))  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        EncodedModel.open(tmp_path / "out")


def test_files_that_are_missing_or_cut_off_are_named(tmp_path: Path) -> None:
    encode_model(saved_model(tmp_path / "m", odd_tensors()), Recipe(), tmp_path / "out")
    (weights,) = (tmp_path / "out").glob("*.safetensors")
    with weights.open("r+b") as file:
        file.truncate(weights.stat().st_size - 1)
    with pytest.raises(InputError, match=rf"{weights.name} has \d+ bytes"):
        read_index(tmp_path / "out")
    weights.unlink()
    with pytest.raises(InputError, match=f"lacks {weights.name}"):
        read_index(tmp_path / "out")


def test_a_folder_without_index_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="orrery encode MODEL"):
        EncodedModel.open(tmp_path)


def test_a_model_of_the_hub_is_read_from_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "cache" / "models--org--name"
    saved_llama(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    ref = resolve_model(f"org/name@{commit}")
    encode_model(ref, Recipe(block_rows=4), tmp_path / "out")
    assert EncodedModel.open(tmp_path / "out").source == f"hub:org/name@{commit}"
    with pytest.raises(InputError, match="go online, or give a local folder"):
        encode_model(resolve_model(f"org/other@{commit}"), Recipe(), tmp_path / "other")


def test_padding_is_told(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "m", {"w": torch.ones(3, 5), "v": torch.ones(5)})
    assert encode_model(folder, Recipe("hadamard"), tmp_path / "a").padding_bytes == 3 * 3
    as_numbers = encode_model(folder, Recipe("hadamard", "none"), tmp_path / "b")
    assert as_numbers.padding_bytes == 3 * 3 * 4
    assert encode_model(folder, Recipe("dct"), tmp_path / "c").padding_bytes == 0


def test_checksums_are_those_of_each_tensor_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "_SHARD_BYTES", 100)
    encode_model(saved_model(tmp_path / "m", odd_tensors()), Recipe(block_rows=4), tmp_path / "out")
    index = read_index(tmp_path / "out")
    assert len(index.weights) > 3
    for name, entry in index.weights.items():
        content = (tmp_path / "out" / name).read_bytes()
        assert (entry.bytes, entry.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    for name, tensor in EncodedModel.open(tmp_path / "out", verify=False).items():
        assert index.tensors[name].crc32 == block_checksums(tensor), name
        assert index.tensors[name].sha256 == tensor_checksum(tensor.parts), name
