"""From an encoded model to a Hugging Face folder, whole or in part, tensor by tensor."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from workloads.dtdr.asking import Asked
from workloads.dtdr.files.checksums import damaged_blocks
from workloads.dtdr.files.encoding import EncodedModel, Progress, refuse_own_folder
from workloads.dtdr.files.ownership import written_files
from workloads.dtdr.files.source import DECODING
from workloads.dtdr.files.writing import SHARD_BYTES, Shards, new_folder
from workloads.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import torch

    from workloads.dtdr.anchors import Anchor

Damaged = Literal["refuse", "fill", "keep"]
"""What becomes of stored tensors that are not what was written: nothing is decoded; their damaged
blocks count as missing and are filled; they are decoded as they are."""
DTYPES: Final = ("float64", "float32", "bfloat16", "float16")
_STEM: Final = "model"


@dataclass(frozen=True)
class Decoding:
    """What a decoding came to. `damaged`: tensors that are not what was written -> the numbers of
    their damaged blocks. `non_finite`: those of them that are kept as they are and decode to NaN or
    infinity -> how many such numbers. `bytes` are those of tensors; `seconds` by the clock."""

    folder: Path
    asked: Asked
    tensors: int
    bytes: int
    damaged: Mapping[str, tuple[int, ...]]
    non_finite: Mapping[str, int]
    seconds: float

    @property
    def mb_per_s(self) -> float:
        """Megabytes (10^6) of decoded tensors in a second."""
        return self.bytes / 1e6 / max(self.seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "folder": str(self.folder),
            "asked": asdict(self.asked),
            "tensors": self.tensors,
            "bytes": self.bytes,
            "damaged": {name: list(blocks) for name, blocks in self.damaged.items()},
            "non_finite": dict(self.non_finite),
            "seconds": self.seconds,
            "mb_per_s": self.mb_per_s,
        }


def decode_model(
    encoded: EncodedModel,
    out: Path,
    asked: Asked,
    anchor: Anchor | None = None,
    progress: Progress | None = None,
    damaged: Damaged = "refuse",
    *,
    dtype: str | None = None,
    force: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> Decoding:
    """Writes the model that is `asked` for into a new folder, which `from_pretrained` loads.

    Args:
        dtype: of all tensors of floats; None: each its own.
        damaged: a folder opened without `verify` is as one that says "keep".
        force: replaces a folder that was encoded or decoded before.

    Raises `InputError`: a damaged tensor (named), a fill that lacks its anchor, an anchor that
    does not fit, numbers that are not finite (but those of damage that is kept), a folder in place;
    `OSError` where the disk refuses.
    """
    import torch

    from workloads.dtdr.codec.tensors import not_finite
    from workloads.dtdr.reconstruction import Reconstruction

    start = time.perf_counter()
    _check(dtype, damaged)
    if encoded.folder is not None:
        refuse_own_folder(out, encoded.folder)
    source, missing = _as_stored(encoded, damaged)
    lost = missing if damaged == "fill" else {}
    _check_fill(source, asked, anchor, lost)
    wanted = None if dtype is None else getattr(torch, dtype)
    aliases: dict[str, list[str]] = {}
    for alias, name in encoded.tied.items():
        aliases.setdefault(name, []).append(alias)
    names = [*encoded, *encoded.tied]
    where: dict[str, str] = {}
    broken: dict[str, int] = {}
    size = 0
    with new_folder(out, force=force, written=written_files) as folder:
        with Shards(folder, _STEM, names, shard_bytes) as shards:
            for name, tensor in Reconstruction(source, anchor, wanted).tensors(asked, lost):
                if count := not_finite(tensor):
                    if damaged != "keep" or name not in missing:
                        raise _overflow(name, count, tensor)
                    broken[name] = count
                for each in (name, *aliases.get(name, ())):
                    where[each] = shards.add(each, tensor).file
                    size += tensor.numel() * tensor.element_size()
                if progress is not None:
                    progress(name, len(where), len(names))
        weights = _name_weights(folder, shards.paths, where, size)
        _write_files(folder, encoded.config_files, dtype)
        note = {"source": encoded.source, "asked": asdict(asked), "damaged": damaged}
        note["files"] = [*weights, *encoded.config_files]
        note["blocks"] = {name: list(blocks) for name, blocks in missing.items()}
        (folder / DECODING).write_text(json.dumps(note, indent=1) + "\n")
    return Decoding(out, asked, len(where), size, missing, broken, time.perf_counter() - start)


def _check(dtype: str | None, damaged: str) -> None:
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r} is not known; {did_you_mean(dtype, DTYPES)}")
    if damaged not in get_args(Damaged):
        raise InputError(f"damaged: {damaged!r}; {did_you_mean(damaged, get_args(Damaged))}")


def _as_stored(
    encoded: EncodedModel, damaged: Damaged
) -> tuple[EncodedModel, dict[str, tuple[int, ...]]]:
    """The model without a refusal of what is damaged, where that is wanted, and what is damaged."""
    if damaged == "refuse" or encoded.folder is None:
        return encoded, {}
    stored = EncodedModel.open(encoded.folder, verify=False)
    found = {name: damaged_blocks(stored[name], stored.checksums(name)) for name in stored}
    return stored, {name: blocks for name, blocks in found.items() if blocks}


def _check_fill(
    encoded: EncodedModel, asked: Asked, anchor: Anchor | None, lost: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuses what would be refused later, after hours of decoding. Reads no numbers."""
    for name in lost:
        if encoded[name].plain:
            raise InputError(
                f"tensor {name} is damaged and stored as it is: there is no block of it to fill; "
                "copy the folder again, or take it as it is with --damaged keep"
            )
    if anchor is not None and asked.anchored and (asked.incomplete or lost):
        anchor.check_shapes(encoded.compressed_shapes())


def _overflow(name: str, count: int, tensor: torch.Tensor) -> InputError:
    return InputError(
        f"tensor {name}: {count:,} of {tensor.numel():,} numbers come out NaN or infinite as "
        f"{str(tensor.dtype).removeprefix('torch.')}; ask for less noise, a lower scale or a wider "
        "--dtype"
    )


def _name_weights(
    folder: Path, paths: list[Path], where: Mapping[str, str], size: int
) -> list[str]:
    """Gives the files the names that `from_pretrained` looks for, and an index if they are many.
    Names of what is there then."""
    if len(paths) == 1:
        paths[0].rename(folder / f"{_STEM}.safetensors")
        return [f"{_STEM}.safetensors"]
    names = {
        path.name: f"{_STEM}-{number:05d}-of-{len(paths):05d}.safetensors"
        for number, path in enumerate(paths, start=1)
    }
    for path in paths:
        path.rename(folder / names[path.name])
    index = {
        "metadata": {"total_size": size},
        "weight_map": {name: names[file] for name, file in where.items()},
    }
    listing = f"{_STEM}.safetensors.index.json"
    (folder / listing).write_text(json.dumps(index, indent=1) + "\n")
    return [listing, *names.values()]


def _write_files(folder: Path, files: Mapping[str, bytes], dtype: str | None) -> None:
    for name, content in files.items():
        if name == "config.json" and dtype is not None:
            config = {**json.loads(content), "dtype": dtype}
            config.pop("torch_dtype", None)  # an older name of the same
            content = (json.dumps(config, indent=2) + "\n").encode()
        (folder / name).write_bytes(content)
