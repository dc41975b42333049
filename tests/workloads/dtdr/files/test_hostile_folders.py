"""Folders that someone made to do harm: refused in one line, and nothing outside is touched."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.workloads.dtdr.files.models import odd_tensors, saved_llama, saved_model
from workloads.dtdr.asking import Asked
from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.files import EncodedModel, decode_model, encode_model, is_encoded
from workloads.dtdr.files.index import _own_hash
from workloads.errors import InputError

Change = Callable[[dict[str, Any]], object]


def _place(content: dict[str, Any]) -> dict[str, Any]:
    place: dict[str, Any] = content["tensors"]["matrix"]["parts"]["codes"]
    return place


def _last(content: dict[str, Any]) -> str:
    def begins(name: str) -> int:
        return max(place["begin"] for place in content["tensors"][name]["parts"].values())

    return max(content["tensors"], key=begins)


def _moved(name: str) -> Change:
    return lambda content: content["files"].update({name: content["files"]["config.json"]})


HARM: dict[str, Change] = {
    "a file above": _moved("../config.json"),
    "a file anywhere": _moved("/tmp/config.json"),
    "the folder above": _moved(".."),
    "weights as a copied file": _moved("model.safetensors"),
    "weights elsewhere": lambda content: content["weights"].update(
        {"../w": {"bytes": 1, "sha256": ""}}
    ),
    "a tensor in a file that is not listed": lambda content: _place(content).update(
        file="../config.json"
    ),
    "a tensor in front of the file": lambda content: _place(content).update(begin=-4),
    "a tensor behind the file": lambda content: _place(content).update(begin=1 << 40),
    "an enormous tensor": lambda content: _place(content).update(shape=[1 << 20, 1 << 30]),
    "a negative size": lambda content: _place(content).update(shape=[-10, -8]),
    "a negative shape": lambda content: content["tensors"]["matrix"].update(shape=[-10, 6]),
    "blocks of no rows": lambda content: content.update(block_rows=0),
    "too few checksums": lambda content: content["tensors"]["matrix"].update(crc32=[1]),
    "an unknown type": lambda content: content["tensors"]["matrix"].update(dtype="F99"),
    "a matrix of whole numbers": lambda content: content["tensors"]["matrix"].update(dtype="I64"),
    "codes of floats": lambda content: _place(content).update(dtype="F32"),
    "no tensors": lambda content: content.update(tensors={}),
    "a tensor left out": lambda content: content["tensors"].pop("kernel"),
    "the last tensor left out": lambda content: content["tensors"].pop(_last(content)),
    "one tensor twice": lambda content: content["tensors"].update(
        again=content["tensors"]["matrix"]
    ),
    "a tie to nothing": lambda content: content["tied"].update(head="nothing"),
}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("hostile")
    encode_model(saved_model(folder / "m", odd_tensors()), Recipe(block_rows=4), folder / "e")
    return folder / "e", (folder / "e" / "index.json").read_text()


@pytest.mark.parametrize("what", HARM)
def test_an_index_that_reaches_elsewhere_is_refused(text: tuple[Path, str], what: str) -> None:
    folder, good = text
    content = json.loads(good)
    HARM[what](content)
    content["sha256"] = _own_hash(content)  # whoever makes it makes this too
    (folder / "index.json").write_text(json.dumps(content))
    before = sorted(os.listdir(folder.parent))
    with pytest.raises(InputError, match=r"index\.json is damaged"):
        decode_model(EncodedModel.open(folder), folder.parent / "d", Asked())
    assert sorted(os.listdir(folder.parent)) == before


def test_a_checksum_that_was_changed_is_not_called_damage_of_no_block(
    text: tuple[Path, str],
) -> None:
    folder, good = text
    content = json.loads(good)
    content["tensors"]["matrix"]["sha256"] = "0" * 64
    content["sha256"] = _own_hash(content)
    (folder / "index.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"tensor matrix .*index\.json was changed"):
        EncodedModel.open(folder)["matrix"]


def test_brackets_without_end_are_refused(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "m", odd_tensors())
    deep = b"[" * 200_000
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(deep)) + deep)
    with pytest.raises(InputError, match="not a readable safetensors file"):
        encode_model(folder, Recipe(), tmp_path / "out")
    (folder / "index.json").write_bytes(deep)
    assert not is_encoded(folder)
    with pytest.raises(InputError, match="is damaged"):
        EncodedModel.open(folder)


def _header(entries: dict[str, Any], data: bytes = bytes(64)) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


def _entry(begin: int, end: int, shape: list[int]) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"a": _entry(-16, 0, [2, 2])}, "tensor a .* begins at byte -16"),
        ({"a": _entry(0, 16, [2, 2]), "b": _entry(8, 24, [2, 2])}, "tensor b .* begins at byte 8"),
        ({"a": _entry(0, 16, [-2, -2])}, r"tensor a has the shape \[-2, -2\]"),
        ({"a": _entry(16, 0, [2, 2])}, "tensor a .* has -16 bytes"),
        ({"a": {"dtype": "F32", "shape": [2, 2]}}, "does not say where its tensors lie"),
        ({"a": _entry(0, 1 << 40, [1 << 19, 1 << 19])}, "cut off"),
    ],
)
def test_a_header_that_no_writer_writes_is_refused(
    tmp_path: Path, entries: dict[str, Any], message: str
) -> None:
    folder = saved_model(tmp_path / "m", odd_tensors())
    (folder / "model.safetensors").write_bytes(_header(entries))
    with pytest.raises(InputError, match=message):
        encode_model(folder, Recipe(), tmp_path / "out")
    assert os.listdir(tmp_path) == ["m"]


def test_a_model_whose_index_names_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = saved_llama(tmp_path / "m")
    path = folder / "model.safetensors.index.json"
    names = json.loads(path.read_text())
    first = next(iter(names["weight_map"]))
    (folder / names["weight_map"][first]).rename(tmp_path / "elsewhere.safetensors")
    moved = names["weight_map"][first]
    names["weight_map"] = {
        name: "../elsewhere.safetensors" if file == moved else file
        for name, file in names["weight_map"].items()
    }
    path.write_text(json.dumps(names))
    with pytest.raises(InputError, match=r"names '\.\./elsewhere\.safetensors'"):
        encode_model(folder, Recipe(), tmp_path / "out")
