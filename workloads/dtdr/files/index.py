"""The index of an encoded model, `index.json`. Reading it loads neither torch nor weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, get_args

from workloads.dtdr.codec.recipe import Quantiser, Recipe, Transform
from workloads.dtdr.files.safetensors_files import DTYPES, Place
from workloads.errors import InputError

INDEX: Final = "index.json"
FORMAT: Final = "orrery-encoded-model"
VERSION: Final = 1


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
    except (OSError, ValueError):
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
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
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
    tensors = {}
    for name, said in content["tensors"].items():
        own = None if said.get("plain") else _recipe(said["recipe"]) if "recipe" in said else recipe
        parts = {part: _place(place) for part, place in said["parts"].items()}
        tensors[name] = TensorEntry(
            said["dtype"], tuple(said["shape"]), own, parts, said["sha256"], tuple(said["crc32"])
        )
    return Index(
        recipe,
        tensors,
        dict(content["tied"]),
        {name: FileEntry(**entry) for name, entry in content["weights"].items()},
        {name: FileEntry(**entry) for name, entry in content["files"].items()},
        content["source"],
    )


def _recipe(said: Mapping[str, Any]) -> Recipe:
    transform, quantiser = said["transform"], said["quantiser"]
    if transform not in get_args(Transform) or quantiser not in get_args(Quantiser):
        raise ValueError(f"it names the codec {transform} {quantiser}")
    return Recipe(transform, quantiser, int(said["block_rows"]))


def _place(said: Mapping[str, Any]) -> Place:
    file, dtype = said["file"], said["dtype"]
    if Path(file).name != file or dtype not in DTYPES:
        raise ValueError(f"it names the file {file!r} and the type {dtype!r}")
    return Place(file, int(said["begin"]), dtype, tuple(said["shape"]))


def _own_hash(content: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in content.items() if key != "sha256"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
