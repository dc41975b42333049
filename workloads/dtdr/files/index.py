"""The index of an encoded model, `index.json`. Reading it loads neither torch nor weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, get_args

from workloads.dtdr.codec.recipe import Quantiser, Recipe, Transform
from workloads.dtdr.files.safetensors_files import DTYPES, Place, stored_bytes
from workloads.errors import InputError

INDEX: Final = "index.json"
FORMAT: Final = "orrery-encoded-model"
VERSION: Final = 1
_PART_TYPES: Final = {
    "codes": ("I8", "U8"),
    "scale": ("F32",),
    "low": ("F32",),
    "high": ("F32",),
    "levels": ("I32",),
}


@dataclass(frozen=True)
class TensorEntry:
    """What the index says of one tensor.

    Attributes:
        dtype: of the original, as safetensors name it (`BF16`).
        recipe: None of a plain tensor.
        parts: where the parts of its encoding lie.
        sha256: over the bytes of all parts, in alphabetical order of their names.
        crc32: of each block of rows; of a plain tensor one, of the whole.
    """

    dtype: str
    shape: tuple[int, ...]
    recipe: Recipe | None
    parts: Mapping[str, Place]
    sha256: str
    crc32: tuple[int, ...]


@dataclass(frozen=True)
class FileEntry:
    """Size and hash of a file beside the index."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Index:
    """All that is known of an encoded model but its numbers.

    `tied`: names of tensors that share memory with another -> the other's name. `source`: what
    was encoded, by content (`ModelRef.fingerprint`). `weights` and `files`: the safetensors files
    and the copied ones (configuration, tokenizer), by name.
    """

    recipe: Recipe
    tensors: Mapping[str, TensorEntry]
    tied: Mapping[str, str]
    weights: Mapping[str, FileEntry]
    files: Mapping[str, FileEntry]
    source: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file, with a hash of itself."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            **asdict(self.recipe),
            "source": self.source,
            "tensors": {name: self._tensor(entry) for name, entry in self.tensors.items()},
            "tied": dict(self.tied),
            "weights": {name: asdict(entry) for name, entry in self.weights.items()},
            "files": {name: asdict(entry) for name, entry in self.files.items()},
        }
        return {**content, "sha256": _own_hash(content)}

    def _tensor(self, entry: TensorEntry) -> dict[str, Any]:
        said: dict[str, Any] = {"dtype": entry.dtype, "shape": list(entry.shape)}
        if entry.recipe is None:
            said["plain"] = True
        elif entry.recipe != self.recipe:
            said["recipe"] = asdict(entry.recipe)
        parts = {name: asdict(place) for name, place in entry.parts.items()}
        return {**said, "parts": parts, "sha256": entry.sha256, "crc32": list(entry.crc32)}


def is_encoded(folder: Path) -> bool:
    """Whether the folder has an index of an encoded model (be it damaged elsewhere)."""
    try:
        loaded = json.loads((folder / INDEX).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(loaded, dict) and loaded.get("format") == FORMAT


def write_index(folder: Path, index: Index) -> None:
    """Writes `index.json`. Raises `OSError`."""
    text = json.dumps(index.to_json(), ensure_ascii=False, separators=(",", ":"))
    (folder / INDEX).write_text(text + "\n", encoding="utf-8")


def read_index(folder: Path) -> Index:
    """Reads `index.json`. Raises `InputError` where it is missing, damaged or of a later version,
    and where a file that it names is missing or has another size."""
    path = folder / INDEX
    if not path.is_file():
        raise InputError(
            f"{folder} is no encoded model: it has no {INDEX}; make one with "
            "orrery encode MODEL --out DIR"
        )
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError(f"{path} is no index of an encoded model; orrery encode writes one")
        if content.get("version") != VERSION:
            raise InputError(
                f"{path} is of format version {content.get('version')}, and this program reads "
                f"{VERSION}; encode the model again"
            )
        if content.pop("sha256", None) != _own_hash(content):
            raise ValueError("its content is not what was written")
        index = _parsed(content)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}); copy the folder again") from error
    _refuse_other_sizes(folder, index)
    return index


def _refuse_other_sizes(folder: Path, index: Index) -> None:
    for name, entry in {**index.weights, **index.files}.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{folder} lacks {name}, which its index names; copy it too")
        if path.stat().st_size != entry.bytes:
            raise InputError(
                f"{path} has {path.stat().st_size} bytes and its index says {entry.bytes}; "
                "copy it again"
            )


def _parsed(content: Mapping[str, Any]) -> Index:
    recipe = _recipe(content)
    weights = _entries(content["weights"])
    files = _entries(content["files"])
    taken = [name for name in files if name == INDEX or name.endswith(".safetensors")]
    if taken:
        raise ValueError(f"it lists {taken[0]} as a file that is copied")
    tensors = {
        name: _tensor(name, said, recipe, weights) for name, said in content["tensors"].items()
    }
    if not tensors:
        raise ValueError("it names no tensor")
    _refuse_gaps(tensors, weights)
    tied = dict(content["tied"])
    for alias, name in tied.items():
        if name not in tensors or alias in tensors:
            raise ValueError(f"it ties {alias} to {name}")
    return Index(recipe, tensors, tied, weights, files, content["source"])


def _tensor(
    name: str, said: Mapping[str, Any], recipe: Recipe, weights: Mapping[str, FileEntry]
) -> TensorEntry:
    own = None if said.get("plain") else _recipe(said["recipe"]) if "recipe" in said else recipe
    parts = {part: _place(place) for part, place in said["parts"].items()}
    for place in parts.values():
        if (
            place.file not in weights
            or place.begin + stored_bytes(place) > weights[place.file].bytes
        ):
            raise ValueError(f"tensor {name} lies outside the files that it lists")
    for part, place in parts.items():
        if place.dtype not in _PART_TYPES.get(part, (said["dtype"],) if part == "values" else ()):
            raise ValueError(f"tensor {name} has a part {part} of type {place.dtype}")
    shape, sums = _shape(said["shape"]), tuple(int(value) for value in said["crc32"])
    if own is not None and (len(shape) < 2 or "F" not in said["dtype"]):
        raise ValueError(f"tensor {name}, {said['dtype']} {list(shape)}, is none that is encoded")
    blocks = -(-prod(shape[:-1]) // own.block_rows) if own is not None else 1
    if said["dtype"] not in DTYPES or len(sums) != blocks:
        raise ValueError(f"tensor {name} is of type {said['dtype']} with {len(sums)} checksums")
    return TensorEntry(said["dtype"], shape, own, parts, said["sha256"], sums)


def _refuse_gaps(tensors: Mapping[str, TensorEntry], weights: Mapping[str, FileEntry]) -> None:
    """Each byte behind a file's header is of one tensor; else one was left out, or stands twice."""
    spans: dict[str, list[tuple[int, int]]] = {name: [] for name in weights}
    for entry in tensors.values():
        for place in entry.parts.values():
            spans[place.file].append((place.begin, place.begin + stored_bytes(place)))
    for file, found in spans.items():
        free = min(found)[0] if found else 0
        for begin, end in [*sorted(found), (weights[file].bytes, weights[file].bytes)]:
            if begin != free:
                number = "no tensor" if begin > free else "two tensors"
                raise ValueError(f"byte {min(begin, free)} of {file} is of {number}")
            free = end


def _recipe(said: Mapping[str, Any]) -> Recipe:
    transform, quantiser = said["transform"], said["quantiser"]
    block_rows = int(said["block_rows"])
    if transform not in get_args(Transform) or quantiser not in get_args(Quantiser):
        raise ValueError(f"it names the codec {transform} {quantiser}")
    if block_rows < 1:
        raise ValueError(f"it has blocks of {block_rows} rows")
    return Recipe(transform, quantiser, block_rows)


def _place(said: Mapping[str, Any]) -> Place:
    file, dtype, begin = said["file"], said["dtype"], int(said["begin"])
    if dtype not in DTYPES or begin < 0:
        raise ValueError(f"it names byte {begin} of {file!r} and the type {dtype!r}")
    return Place(file, begin, dtype, _shape(said["shape"]))


def _shape(said: Any) -> tuple[int, ...]:
    shape = tuple(int(size) for size in said)
    if any(size < 0 for size in shape):
        raise ValueError(f"it has the shape {list(shape)}")
    return shape


def _entries(said: Mapping[str, Any]) -> dict[str, FileEntry]:
    """Files beside the index: never one elsewhere, which would be read, and written by a decode."""
    for name in said:
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise ValueError(f"it names the file {name!r}, which is not beside it")
    return {name: FileEntry(int(one["bytes"]), str(one["sha256"])) for name, one in said.items()}


def _own_hash(content: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in content.items() if key != "sha256"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
