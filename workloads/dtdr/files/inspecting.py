"""What is in an encoded folder: sizes, ratios, damage, and errors against the original."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.files.checksums import damaged_blocks, file_checksum
from workloads.dtdr.files.encoding import EncodedModel, Progress
from workloads.dtdr.files.index import INDEX
from workloads.dtdr.files.source import SourceModel
from workloads.errors import InputError

if TYPE_CHECKING:
    import torch

    from workloads.dtdr.codec.tensors import EncodedTensor
    from workloads.models import ModelRef

_AT_ONCE: Final = 1 << 22
"""Numbers that are compared at once, so that errors take little memory."""


@dataclass(frozen=True)
class Sums:
    """Sums over numbers: of squared errors, of squares of both, of products; the largest error."""

    errors: float = 0.0
    original: float = 0.0
    decoded: float = 0.0
    products: float = 0.0
    largest: float = 0.0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.errors + other.errors,
            self.original + other.original,
            self.decoded + other.decoded,
            self.products + other.products,
            _larger(self.largest, other.largest),
        )

    @property
    def relative_l2(self) -> float | None:
        """Norm of the error over that of the original; None where that is all zero."""
        return math.sqrt(self.errors / self.original) if self.original else None

    @property
    def cosine(self) -> float | None:
        """Of original and decoded numbers; None where either is all zero."""
        norms = math.sqrt(self.original) * math.sqrt(self.decoded)
        return self.products / norms if norms else None


@dataclass(frozen=True)
class TensorInspection:
    """One tensor of an encoded model. `errors`: None where it was compared with nothing.
    `damaged`: numbers of the blocks that are not what was written."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    recipe: Recipe | None
    blocks: int
    original_bytes: int
    bytes: int
    errors: Sums | None
    damaged: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain data; what was not measured is None."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "recipe": None if self.recipe is None else asdict(self.recipe),
            "blocks": self.blocks,
            "original_bytes": self.original_bytes,
            "bytes": self.bytes,
            "ratio": _ratio(self.original_bytes, self.bytes),
            **_figures(self.errors),
            "damaged": list(self.damaged),
        }


@dataclass(frozen=True)
class Inspection:
    """An encoded folder, tensor by tensor.

    `damaged_files`: names of files that are not what was written (a damaged header of weights
    damages no tensor). `against`: what it was compared with. `disk_bytes`: of all files.
    """

    folder: Path
    recipe: Recipe
    tensors: tuple[TensorInspection, ...]
    tied: dict[str, str]
    damaged_files: tuple[str, ...]
    against: str | None
    disk_bytes: int

    @property
    def original_bytes(self) -> int:
        """Of all tensors, tied ones once."""
        return sum(tensor.original_bytes for tensor in self.tensors)

    @property
    def bytes(self) -> int:
        """Of all encoded tensors."""
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def ratio(self) -> float | None:
        """Size of the original over that of the encoding."""
        return _ratio(self.original_bytes, self.bytes)

    @property
    def errors(self) -> Sums | None:
        """Over all tensors that are not plain; None where nothing was compared."""
        found = [t.errors for t in self.tensors if t.errors is not None and t.recipe is not None]
        return sum(found, Sums()) if found else None

    def to_json(self) -> dict[str, Any]:
        """As plain data; what was not measured is None."""
        return {
            "folder": str(self.folder),
            **asdict(self.recipe),
            "original_bytes": self.original_bytes,
            "bytes": self.bytes,
            "disk_bytes": self.disk_bytes,
            "ratio": self.ratio,
            **_figures(self.errors),
            "against": self.against,
            "tied": self.tied,
            "damaged_files": list(self.damaged_files),
            "tensors": [tensor.to_json() for tensor in self.tensors],
        }


def inspect_model(
    folder: Path, against: ModelRef | Path | None = None, progress: Progress | None = None
) -> Inspection:
    """Reads an encoded folder tensor by tensor and tells what is in it, damage too.

    Raises `InputError` where the index is damaged, and where a tensor of `against` is missing here
    or there, or has another shape.
    """
    encoded = EncodedModel.open(folder, verify=False)
    assert encoded.index is not None
    index = encoded.index
    original = None if against is None else SourceModel.of(against)
    if original is not None:
        _check_same(encoded, original)
    found: list[TensorInspection] = []
    for number, (name, tensor) in enumerate(encoded.items(), start=1):
        found.append(
            TensorInspection(
                name,
                tuple(tensor.shape),
                str(tensor.dtype).removeprefix("torch."),
                tensor.recipe,
                tensor.blocks,
                tensor.original_bytes,
                tensor.bytes,
                None if original is None else _sums(tensor, original.tensor(name)),
                damaged_blocks(tensor, encoded.checksums(name)),
            )
        )
        if progress is not None:
            progress(name, number, len(encoded))
    files = {**index.weights, **index.files}
    wrong = tuple(name for name in files if file_checksum(folder / name) != files[name].sha256)
    given = None if original is None else original.ref.given
    disk = sum(entry.bytes for entry in files.values()) + (folder / INDEX).stat().st_size
    return Inspection(folder, encoded.recipe, tuple(found), encoded.tied, wrong, given, disk)


def _check_same(encoded: EncodedModel, original: SourceModel) -> None:
    assert encoded.index is not None
    for name, entry in encoded.index.tensors.items():
        place = original.tensors.get(name)
        if place is None:
            raise InputError(f"tensor {name} is not in {original.ref.given}; compare the original")
        if place.shape != entry.shape:
            raise InputError(
                f"tensor {name} is {list(place.shape)} in {original.ref.given} and "
                f"{list(entry.shape)} in the encoding; compare the original"
            )
    for name in original.tensors:
        if name not in encoded and name not in encoded.tied:
            raise InputError(f"tensor {name} of {original.ref.given} is not in the encoding")


def _sums(encoded: EncodedTensor, original: torch.Tensor) -> Sums:
    if not original.numel():
        return Sums()
    if encoded.plain:
        return _compared(encoded.decoded().reshape(-1), original.reshape(-1))
    rows = original.reshape(encoded.rows, encoded.length)
    step = max(1, _AT_ONCE // encoded.length)
    total = Sums()
    for start in range(0, encoded.rows, step):
        part = slice(start, min(start + step, encoded.rows))
        total += _compared(encoded.decoded(part), rows[part])
    return total


def _compared(decoded: torch.Tensor, original: torch.Tensor) -> Sums:
    ours, theirs = decoded.double(), original.double()
    errors = ours - theirs
    return Sums(
        float(errors.square().sum()),
        float(theirs.square().sum()),
        float(ours.square().sum()),
        float((ours * theirs).sum()),
        float(errors.abs().max()),
    )


def _larger(one: float, other: float) -> float:
    """NaN where either is: `max` may pass over it."""
    return math.nan if math.isnan(one) or math.isnan(other) else max(one, other)


def _figures(sums: Sums | None) -> dict[str, float | None]:
    """Errors as JSON has them, which has no number for what is not finite (after damage)."""
    if sums is None:
        return {"relative_l2": None, "max_error": None, "cosine": None}
    told = {"relative_l2": sums.relative_l2, "max_error": sums.largest, "cosine": sums.cosine}
    return {
        name: value if value is not None and math.isfinite(value) else None
        for name, value in told.items()
    }


def _ratio(original: int, encoded: int) -> float | None:
    return original / encoded if encoded else None
