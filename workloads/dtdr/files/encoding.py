"""Encoded models, in memory or in a folder, and how a model is encoded tensor by tensor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.files.checksums import block_checksums, file_checksum, tensor_checksum
from workloads.dtdr.files.damage import refuse_damaged
from workloads.dtdr.files.index import (
    INDEX,
    FileEntry,
    Index,
    TensorEntry,
    read_index,
    write_index,
)
from workloads.dtdr.files.ownership import written_files
from workloads.dtdr.files.safetensors_files import DTYPES, dtype_name, read_tensor
from workloads.dtdr.files.source import SourceModel
from workloads.dtdr.files.writing import Shards, new_folder
from workloads.errors import InputError

if TYPE_CHECKING:
    from workloads.dtdr.codec.tensors import EncodedTensor
    from workloads.models import ModelRef

Progress = Callable[[str, int, int], None]
"""Told after each tensor: its name, how much is done, and of how much (0: that is not known)."""

_STEM: Final = "encoded"
_PARTS: Final = ("codes", "low", "high", "levels")
"""The most that a tensor has, with the longest names: so much room a header needs."""
_SHARD_BYTES: Final = 1 << 30
"""Of files of an encoding: a file is hashed when it is closed, the last one after all work."""
_PLAIN: Final = Recipe("none", "none")


@dataclass(frozen=True)
class Encoding:
    """What an encoding came to. Bytes are those of tensors, tied ones once; `padding_bytes` are
    those of `bytes` that a transform of rows of another length would not need; `disk_bytes` those
    of all files, with headers, index and tokenizer; `seconds` by the clock from reading the first
    tensor to the last byte on the disk."""

    folder: Path
    recipe: Recipe
    tensors: int
    plain: int
    original_bytes: int
    bytes: int
    padding_bytes: int
    disk_bytes: int
    seconds: float

    @property
    def ratio(self) -> float:
        """Size of the original over that of the encoding; 1 for a model without numbers."""
        return self.original_bytes / self.bytes if self.bytes else 1.0

    @property
    def mb_per_s(self) -> float:
        """Megabytes (10^6) of the original in a second."""
        return self.original_bytes / 1e6 / max(self.seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "folder": str(self.folder),
            "transform": self.recipe.transform,
            "quantiser": self.recipe.quantiser,
            "block_rows": self.recipe.block_rows,
            "tensors": self.tensors,
            "plain": self.plain,
            "original_bytes": self.original_bytes,
            "bytes": self.bytes,
            "padding_bytes": self.padding_bytes,
            "disk_bytes": self.disk_bytes,
            "ratio": self.ratio,
            "seconds": self.seconds,
            "mb_per_s": self.mb_per_s,
        }


class EncodedModel(Mapping[str, "EncodedTensor"]):
    """The tensors of an encoded model by name, tied ones once, in the order of the model's files.

    Opened from a folder, each is read when it is asked for, and not kept.

    Attributes:
        recipe: how its tensors are encoded, but for plain ones.
        tied: other names of tensors that are among them -> the name they have here.
        config_files: the model's configuration and tokenizer: file name -> content.
        source: what was encoded, by content; empty where that is not known.
    """

    def __init__(
        self,
        names: Iterable[str],
        load: Callable[[str], EncodedTensor],
        recipe: Recipe,
        tied: Mapping[str, str],
        config_files: Mapping[str, bytes],
        source: str = "",
        index: Index | None = None,
        folder: Path | None = None,
    ) -> None:
        self._names = dict.fromkeys(names)
        self._load = load
        self.recipe, self.tied, self.config_files = recipe, dict(tied), config_files
        self.source, self.index, self.folder = source, index, folder

    @classmethod
    def of(
        cls,
        tensors: Mapping[str, EncodedTensor],
        tied: Mapping[str, str],
        files: Mapping[str, bytes],
        source: str = "",
    ) -> EncodedModel:
        """One in memory. Its recipe is that of the first tensor that is not plain."""
        recipes = (tensor.recipe for tensor in tensors.values() if tensor.recipe is not None)
        kept = dict(tensors)
        return cls(kept, kept.__getitem__, next(recipes, _PLAIN), tied, dict(files), source)

    @classmethod
    def open(cls, folder: Path, verify: bool = True) -> EncodedModel:
        """One in a folder; reads its index alone.

        With `verify` a tensor that is read is held against its checksum: `DamagedTensorError`, an
        `InputError`, names it and its damaged blocks. Raises `InputError` if the index is damaged
        or files are missing or of another size.
        """
        index = read_index(folder)

        def load(name: str) -> EncodedTensor:
            tensor = _read(folder, name, index.tensors[name])
            if verify:
                refuse_damaged(folder, tensor, index.tensors[name])
            return tensor

        files = _Files(folder, index.files, verify)
        return cls(
            index.tensors, load, index.recipe, index.tied, files, index.source, index, folder
        )

    def __getitem__(self, name: str) -> EncodedTensor:
        if name not in self._names:
            raise KeyError(name)
        return self._load(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def compressed_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that are not plain; of a folder without reading their numbers."""
        if self.index is not None:
            entries = self.index.tensors.items()
            return {name: entry.shape for name, entry in entries if entry.recipe is not None}
        return {name: tensor.shape for name, tensor in self.items() if not tensor.plain}

    def checksums(self, name: str) -> tuple[int, ...]:
        """CRC-32 of each block of rows of a tensor: as stored, or of what it is in memory."""
        if self.index is not None:
            return self.index.tensors[name].crc32
        return block_checksums(self[name])


def encode_model(
    source: ModelRef | Path,
    recipe: Recipe,
    out: Path,
    progress: Progress | None = None,
    *,
    force: bool = False,
) -> Encoding:
    """Encodes a model into a new folder, tensor by tensor; the folder appears once it is whole.

    `force` replaces a folder that was encoded or decoded before. Raises `InputError` (naming the
    tensor) for weights that cannot be encoded or are not those of the model's architecture, files
    that cannot be read, and a folder in place; `OSError` where the disk refuses.
    """
    from workloads.dtdr.codec.tensors import encode_tensor
    from workloads.dtdr.files.architecture import refuse_unfit_weights

    model = SourceModel.of(source)
    refuse_own_folder(out, model.folder)
    refuse_unfit_weights(model)
    stored = model.stored

    def tensors() -> Iterator[EncodedTensor]:
        for name in stored:
            yield encode_tensor(name, model.tensor(name), recipe)

    contents = {name: path.read_bytes() for name, path in model.files.items()}
    return _written(
        tensors(), list(stored), recipe, model.tied, contents, model.ref.fingerprint, model.bytes,
        out, progress, force,
    )  # fmt: skip


def write_encoded(
    encoded: EncodedModel, out: Path, progress: Progress | None = None, *, force: bool = False
) -> Encoding:
    """Writes an encoded model into a new folder, as `encode_model` does."""
    if encoded.folder is not None:
        refuse_own_folder(out, encoded.folder)
    return _written(
        encoded.values(), list(encoded), encoded.recipe, encoded.tied, encoded.config_files,
        encoded.source, 0, out, progress, force,
    )  # fmt: skip


def refuse_own_folder(out: Path, folder: Path) -> None:
    """Raises `InputError` if `out` is the folder that is read, or has it inside."""
    if folder.resolve().is_relative_to(out.resolve()):
        raise InputError(f"--out {out} is where the model is read from; give another folder")


def _written(
    tensors: Iterable[EncodedTensor],
    names: list[str],
    recipe: Recipe,
    tied: Mapping[str, str],
    files: Mapping[str, bytes],
    source: str,
    total: int,
    out: Path,
    progress: Progress | None,
    force: bool,
) -> Encoding:
    start = time.perf_counter()
    entries: dict[str, TensorEntry] = {}
    original = size = padding = 0
    with new_folder(out, force=force, written=written_files) as folder:
        keys = [f"{name}:{part}" for name in names for part in _PARTS]
        with _Checksums() as checksums:
            with Shards(folder, _STEM, keys, _SHARD_BYTES) as shards:
                for tensor in tensors:
                    entries[tensor.name] = _added(shards, tensor)
                    checksums.tensor(tensor)
                    checksums.files(shards.paths[:-1])
                    original += tensor.original_bytes
                    size += tensor.bytes
                    padding += _padding_bytes(tensor)
                    if progress is not None:
                        progress(tensor.name, original, total)
            checksums.files(shards.paths)
            for name, content in files.items():
                (folder / name).write_bytes(content)
            kept = {name: _file_entry(folder / name) for name in files}
            entries = {name: checksums.of_tensor(name, entry) for name, entry in entries.items()}
            weights = {path.name: checksums.of_file(path) for path in shards.paths}
        write_index(folder, Index(recipe, entries, tied, weights, kept, source))
        listed = [*weights.values(), *kept.values()]
        disk = sum(entry.bytes for entry in listed) + (folder / INDEX).stat().st_size
    plain = sum(entry.recipe is None for entry in entries.values())
    seconds = time.perf_counter() - start
    return Encoding(out, recipe, len(entries), plain, original, size, padding, disk, seconds)


class _Checksums:
    """Checksums made beside the encoding, in a thread: they take as long as it does. At most one
    tensor waits, so that memory does not grow."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "checksums")
        self._tensors: dict[str, Future[tuple[str, tuple[int, ...]]]] = {}
        self._files: dict[Path, Future[FileEntry]] = {}
        self._last: Future[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def tensor(self, tensor: EncodedTensor) -> None:
        """Begins with a tensor, once that before it is done."""
        if self._last is not None:
            self._last.result()
        self._last = self._tensors[tensor.name] = self._thread.submit(
            lambda: (tensor_checksum(tensor.parts), block_checksums(tensor))
        )

    def files(self, written: Sequence[Path]) -> None:
        """Begins with those files that were not begun with."""
        for path in written:
            if path not in self._files:
                self._files[path] = self._thread.submit(_file_entry, path)

    def of_tensor(self, name: str, entry: TensorEntry) -> TensorEntry:
        """The entry with its checksums."""
        sha256, crc32 = self._tensors[name].result()
        return replace(entry, sha256=sha256, crc32=crc32)

    def of_file(self, path: Path) -> FileEntry:
        """Size and checksum of a file."""
        return self._files[path].result()


def _added(shards: Shards, tensor: EncodedTensor) -> TensorEntry:
    """Writes a tensor; its entry, still without checksums."""
    parts = {part: shards.add(f"{tensor.name}:{part}", tensor.parts[part]) for part in tensor.parts}
    return TensorEntry(dtype_name(tensor.dtype), tuple(tensor.shape), tensor.recipe, parts, "", ())


def _padding_bytes(tensor: EncodedTensor) -> int:
    if tensor.plain:
        return 0
    numbers = tensor.parts["codes" if "codes" in tensor.parts else "values"]
    return tensor.rows * (tensor.columns - tensor.length) * numbers.element_size()


def _read(folder: Path, name: str, entry: TensorEntry) -> EncodedTensor:
    import torch

    from workloads.dtdr.codec.tensors import EncodedTensor

    parts = {part: read_tensor(folder, place) for part, place in entry.parts.items()}
    dtype = getattr(torch, DTYPES[entry.dtype])
    return EncodedTensor(name, entry.shape, dtype, entry.recipe, parts)


def _file_entry(path: Path) -> FileEntry:
    return FileEntry(path.stat().st_size, file_checksum(path))


class _Files(Mapping[str, bytes]):
    """The files beside an index, read when they are asked for."""

    def __init__(self, folder: Path, entries: Mapping[str, FileEntry], verify: bool) -> None:
        self._folder, self._entries, self._verify = folder, entries, verify

    def __getitem__(self, name: str) -> bytes:
        content, path = self._entries[name], self._folder / name
        if self._verify and file_checksum(path) != content.sha256:
            raise InputError(f"{path} is not what was written; copy it again")
        return path.read_bytes()

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
