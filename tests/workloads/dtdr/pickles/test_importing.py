"""Pickled encodings as encoded models: with the model they are of, and without it."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from orchestrator.cli.app import app
from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.files.encoding import EncodedModel
from workloads.dtdr.pickles import import_pickle
from workloads.dtdr.pickles.writing import blockwise_entry, write_pickle
from workloads.errors import InputError
from workloads.models import ModelRef, resolve_model

EMBEDDING = "model.embed_tokens.weight"
UP = "model.layers.0.mlp.up_proj.weight"
NORM = "model.norm.weight"


@pytest.fixture(scope="module")
def model() -> ModelRef:
    return resolve_model("embedded:llama")


@pytest.fixture(scope="module")
def weights(model: ModelRef) -> dict[str, NDArray[Any]]:
    assert model.path is not None
    stored = load_file(model.path / "model.safetensors")
    return {name: tensor.float().numpy() for name, tensor in stored.items()}


def entries(weights: dict[str, NDArray[Any]], block_rows: int = 16) -> dict[str, Any]:
    return {
        name: blockwise_entry(tensor, block_rows)
        if tensor.ndim > 1
        else {"type": "uncompressed", "data": tensor}
        for name, tensor in weights.items()
    }


def dumped(path: Path, found: Any) -> Path:
    path.write_bytes(pickle.dumps(found))
    return path


def independently_decoded(entry: dict[str, Any], dtype: Any = np.float32) -> NDArray[Any]:
    """The reading of the format: code / levels × span + least, blocks stacked over rows."""
    data = entry["data"]
    levels = 2 ** data["bits"] - 1
    return np.vstack(
        [
            (codes.astype(dtype) / levels * (high - low) + low).reshape(shape)
            for codes, (low, high, shape) in zip(data["data"], data["metadata"], strict=True)
        ]
    )


def test_an_import_decodes_to_what_the_format_says(
    model: ModelRef, weights: dict[str, NDArray[Any]], tmp_path: Path
) -> None:
    path = tmp_path / "model.pkl"
    write_pickle(path, weights, block_rows=16)
    encoded = import_pickle(path, model)
    assert list(encoded) == list(weights)
    assert encoded.recipe == Recipe("none", "minmax", 16)
    assert "config.json" in encoded.config_files
    assert "tokenizer.json" in encoded.config_files
    for name, entry in pickle.loads(path.read_bytes()).items():
        tensor = encoded[name]
        if entry["type"] == "uncompressed":
            assert tensor.plain
            assert np.array_equal(tensor.decoded().numpy(), weights[name])
        else:
            assert not tensor.plain
            assert tensor.blocks == -(-len(weights[name]) // 16)
            expected = independently_decoded(entry)
            assert np.abs(tensor.decoded().numpy() - expected).max() < 1e-6
            error = np.linalg.norm(expected - weights[name]) / np.linalg.norm(weights[name])
            assert error < 0.02


@pytest.mark.parametrize("bits", [1, 4, 7])
def test_codes_of_fewer_bits_are_read_as_such(
    bits: int, model: ModelRef, weights: dict[str, NDArray[Any]], tmp_path: Path
) -> None:
    entry = blockwise_entry(weights[UP], 48, bits)
    tensor = import_pickle(dumped(tmp_path / "model.pkl", {UP: entry}), model)[UP]
    assert np.abs(tensor.decoded().numpy() - independently_decoded(entry)).max() < 1e-6


def test_what_the_file_lacks_keeps_the_models_own_values(
    model: ModelRef, weights: dict[str, NDArray[Any]], tmp_path: Path
) -> None:
    encoded = import_pickle(
        dumped(tmp_path / "model.pkl", {UP: blockwise_entry(weights[UP], 16)}), model
    )
    assert not encoded[UP].plain
    for name in (EMBEDDING, NORM):
        assert encoded[name].plain
        assert np.array_equal(encoded[name].decoded().float().numpy(), weights[name])


def test_numbers_take_the_models_type(
    model: ModelRef, weights: dict[str, NDArray[Any]], tmp_path: Path
) -> None:
    assert model.path is not None
    folder = tmp_path / "half"
    shutil.copytree(model.path, folder)
    stored = load_file(folder / "model.safetensors")
    save_file({name: t.bfloat16() for name, t in stored.items()}, folder / "model.safetensors")
    given = {UP: blockwise_entry(weights[UP], 16), NORM: {"type": "uncompressed",
             "data": np.asfortranarray(weights[NORM].astype(">f8"))}}  # fmt: skip
    encoded = import_pickle(dumped(tmp_path / "model.pkl", given), resolve_model(str(folder)))
    assert encoded[UP].decoded().dtype == torch.bfloat16
    assert torch.equal(encoded[NORM].decoded(), stored[NORM].bfloat16())
    given[NORM]["data"] = np.full(64, 1e300)
    with pytest.raises(InputError, match=rf"{NORM}: 64 of 64 numbers are not finite"):
        _ = import_pickle(dumped(tmp_path / "model.pkl", given), resolve_model(str(folder)))[NORM]
    low, high, shape = given[UP]["data"]["metadata"][1]
    given[UP]["data"]["metadata"][1] = (low, 3.4e38 + float(high), shape)
    with pytest.raises(InputError, match=rf"{UP}: it has numbers beyond"):
        _ = import_pickle(dumped(tmp_path / "model.pkl", given), resolve_model(str(folder)))[UP]


def test_a_vector_in_blocks_is_plain_once_decoded(model: ModelRef, tmp_path: Path) -> None:
    block = {"data": [np.arange(64, dtype=np.uint8)], "metadata": [(0.0, 255.0, (64,))], "bits": 8}
    given = {NORM: {"type": "compressed_blockwise", "data": block}}
    tensor = import_pickle(dumped(tmp_path / "model.pkl", given), model)[NORM]
    assert tensor.plain
    assert tensor.decoded().tolist() == list(range(64))


@pytest.mark.parametrize(
    ("name", "shape", "why"),
    [
        (UP, (128, 32), "its blocks make 128 rows of 32, and the model's shape is"),
        (UP, (64, 64), "its blocks make 64 rows of 64"),
        (NORM, (65,), r"its shape is \[65\], the model's \[64\]"),
        ("model.layers.0.mlp.up_proj.wieght", (128, 64), "did you mean .*up_proj.weight"),
        ("model.layers.99.mlp.up_proj.weight", (128, 64), "is this the model that the file is of"),
    ],
)
def test_a_tensor_that_does_not_fit_the_model_is_refused_by_name(
    name: str, shape: tuple[int, ...], why: str, model: ModelRef, tmp_path: Path
) -> None:
    path = tmp_path / "model.pkl"
    write_pickle(path, {name: np.ones(shape, np.float32)})
    with pytest.raises(InputError, match=why) as refused:
        import_pickle(path, model)
    assert name in str(refused.value)


def test_a_tied_head_stands_for_its_embedding(
    model: ModelRef, weights: dict[str, NDArray[Any]], tmp_path: Path
) -> None:
    """A file may have either name or both, but not two different ones."""
    entry = blockwise_entry(weights[EMBEDDING], 16)
    head = import_pickle(dumped(tmp_path / "head.pkl", {"lm_head.weight": entry}), model)
    assert head[EMBEDDING].name == EMBEDDING
    assert np.allclose(head[EMBEDDING].decoded().numpy(), independently_decoded(entry), atol=1e-6)
    same = {EMBEDDING: entry, "lm_head.weight": entry}
    both = import_pickle(dumped(tmp_path / "both.pkl", same), model)
    assert torch.equal(both[EMBEDDING].decoded(), head[EMBEDDING].decoded())
    assert "lm_head.weight" not in both
    other = blockwise_entry(weights[EMBEDDING] * 2, 16)
    differing = dumped(tmp_path / "other.pkl", {EMBEDDING: entry, "lm_head.weight": other})
    with pytest.raises(InputError, match=r"lm_head\.weight: the model ties it to model\.embed"):
        import_pickle(differing, model)


def test_an_import_writes_a_folder_that_decodes_to_the_same(
    model: ModelRef, weights: dict[str, NDArray[Any]], tmp_path: Path
) -> None:
    path = dumped(tmp_path / "model.pkl", entries(weights))
    words = ["encode", str(path), "--model", "embedded:llama", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["quantiser"] == "minmax"
    opened, imported = EncodedModel.open(tmp_path / "out"), import_pickle(path, model)
    assert list(opened) == list(imported)
    for name, tensor in imported.items():
        assert torch.equal(opened[name].decoded(), tensor.decoded()), name


def test_a_refused_import_writes_nothing(tmp_path: Path) -> None:
    bad = {"type": "compressed_blockwise", "data": {"bits": 8, "metadata": [(0, 1, (128, 64))],
           "data": [np.full((128, 64), 999)]}}  # fmt: skip
    path = dumped(tmp_path / "model.pkl", {UP: bad})
    words = ["encode", str(path), "--model", "embedded:llama", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    assert UP in " ".join(f"{done.output} {done.exception}".split())
    assert [each.name for each in tmp_path.iterdir()] == ["model.pkl"]
