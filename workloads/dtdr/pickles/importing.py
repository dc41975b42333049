"""A pickled encoding and the model it is of, as an encoded model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.pickles.reading import MOST_BITS, PickledTensor, read_pickle
from workloads.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import torch

    from workloads.dtdr.codec.tensors import EncodedTensor
    from workloads.dtdr.files.encoding import EncodedModel
    from workloads.dtdr.files.source import SourceModel
    from workloads.models import ModelRef

_MOST_NAMED: Final = 3


def import_pickle(path: Path, model: ModelRef) -> EncodedModel:
    """The tensors of a .pkl file in the format of `reading`, for a model.

    What the file does not have keeps the model's own values, and is plain, as are its whole
    tensors. Number types are the model's. A tensor is read when it is asked for, so the file has to
    stay as it is. A tied tensor may stand in the file under either name or both.

    Raises `InputError`, naming the tensor, where `read_pickle` does, for a tensor that the model
    does not have or has in another shape, and (when that tensor is read) for codes or numbers that
    are not valid.
    """
    from workloads.dtdr.files.architecture import refuse_unfit_weights
    from workloads.dtdr.files.encoding import EncodedModel
    from workloads.dtdr.files.source import SourceModel

    source = SourceModel.of(model)
    refuse_unfit_weights(source)
    pickled = _by_stored_name(read_pickle(path), source)
    for name, tensor in pickled.items():
        check_shape(tensor, source.stored[name].shape)

    def load(name: str) -> EncodedTensor:
        if name in pickled:
            place = source.stored[name]
            tensor = imported_tensor(pickled[name], place.shape, _dtype(place.dtype))
            return replace(tensor, name=name)
        return _as_it_is(name, source.tensor(name), f"{source.ref.given}: tensor {name}")

    contents = {name: file.read_bytes() for name, file in source.files.items()}
    recipe = _recipe(pickled)
    return EncodedModel(list(source.stored), load, recipe, source.tied, contents)


def imported_tensor(
    tensor: PickledTensor, shape: tuple[int, ...], dtype: torch.dtype
) -> EncodedTensor:
    """One tensor of a file, as one of `shape` and `dtype`; a whole one, or of one axis, is plain.

    Raises `InputError`, naming it, if its shape is another or its numbers do not fit into `dtype`.
    """
    import numpy as np
    import torch

    from workloads.dtdr.codec.tensors import EncodedTensor

    check_shape(tensor, shape)
    if tensor.whole is not None:
        native = tensor.values().astype(tensor.values().dtype.newbyteorder("="), order="C")
        return _as_it_is(tensor.name, torch.from_numpy(native).to(dtype), f"{tensor.file}: tensor "
                         f"{tensor.name}")  # fmt: skip
    if not dtype.is_floating_point:
        raise tensor.refused(f"it has blocks of codes, and the model's is of {dtype}")
    parts = {"codes": torch.from_numpy(tensor.codes())}
    limit = torch.finfo(dtype if dtype.itemsize < 4 else torch.float32).max
    for part, bounds in (
        ("low", [block.low for block in tensor.blocks]),
        ("high", [block.high for block in tensor.blocks]),
    ):
        if max(map(abs, bounds)) > limit:
            raise tensor.refused(f"it has numbers beyond {limit:.4g}, the largest of {dtype}")
        parts[part] = torch.from_numpy(np.array(bounds, np.float32))
    if tensor.bits != MOST_BITS:
        parts["levels"] = torch.tensor([(1 << tensor.bits) - 1], dtype=torch.int32)
    recipe = Recipe("none", "minmax", tensor.block_rows)
    matrix = shape if len(shape) > 1 else tensor.shape
    encoded = EncodedTensor(tensor.name, matrix, dtype, recipe, parts)
    if len(shape) > 1:
        return encoded
    decoded = encoded.decoded().reshape(shape)
    return _as_it_is(tensor.name, decoded, f"{tensor.file}: tensor {tensor.name}")


def check_shape(tensor: PickledTensor, shape: tuple[int, ...]) -> None:
    """Refuses (`InputError`) a tensor that is not of the model's shape; blocks have two axes."""
    from math import prod

    if tensor.whole is not None:
        if tensor.shape != shape:
            raise tensor.refused(f"its shape is {list(tensor.shape)}, the model's {list(shape)}")
        return
    expected = (prod(shape[:-1]), shape[-1]) if shape else (1, 1)
    if tensor.shape != expected:
        raise tensor.refused(
            f"its blocks make {tensor.shape[0]} rows of {tensor.shape[1]}, and the model's "
            f"shape is {list(shape)}"
        )


def _by_stored_name(
    pickled: Mapping[str, PickledTensor], source: SourceModel
) -> dict[str, PickledTensor]:
    """By the names under which the model stores them, each once."""
    stored = source.stored
    found = {name: tensor for name, tensor in pickled.items() if name in stored}
    others = {name: tensor for name, tensor in pickled.items() if name not in stored}
    unknown = []
    for name, tensor in others.items():
        owner = source.tied.get(name) or _tied_head(name, tensor, source)
        if owner is None:
            unknown.append(name)
        elif owner not in found:
            found[owner] = tensor
        elif not _alike(found[owner], tensor):
            raise tensor.refused(f"the model ties it to {owner}, and the file has another of that")
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise InputError(
            f"{next(iter(pickled.values())).file}: {source.ref.given} has no tensor {unknown[0]}"
            f"{more}; {_valid(unknown[0], list(stored))}"
        )
    return found


def _tied_head(name: str, tensor: PickledTensor, source: SourceModel) -> str | None:
    """The embedding that an output head stands for, which a model of tied ones does not store."""
    config = source.config
    if "head" not in name or not config.get("tie_word_embeddings", False):
        return None
    rows = config.get("text_config", config).get("vocab_size")
    alike = [
        stored
        for stored, place in source.stored.items()
        if len(place.shape) == 2 and place.shape == tensor.shape and place.shape[0] == rows
    ]
    return alike[0] if len(alike) == 1 else None


def _alike(one: PickledTensor, other: PickledTensor) -> bool:
    """Whether two entries decode to the same numbers."""
    import numpy as np

    if one.shape != other.shape or (one.whole is None) != (other.whole is None):
        return False
    if one.whole is not None:
        return np.array_equal(one.values(), other.values())
    ranges = [
        [(block.low, block.high, block.rows) for block in each.blocks] for each in (one, other)
    ]
    same = ranges[0] == ranges[1] and one.bits == other.bits
    return same and np.array_equal(one.codes(), other.codes())


def _valid(name: str, names: list[str]) -> str:
    words = did_you_mean(name, names)
    if len(names) <= _MOST_NAMED:
        return words
    near = words.split("?")[0] + "?" if words.startswith("did") else f"valid: {names[0]}, …"
    return f"{near} (it has {len(names)}); is this the model that the file is of?"


def _as_it_is(name: str, values: torch.Tensor, what: str) -> EncodedTensor:
    import torch

    from workloads.dtdr.codec.tensors import EncodedTensor

    bad = int((~torch.isfinite(values)).sum()) if values.is_floating_point() else 0
    if bad:
        raise InputError(
            f"{what}: {bad} of {values.numel()} numbers are not finite as {values.dtype}"
        )
    return EncodedTensor(name, tuple(values.shape), values.dtype, None, {"values": values})


def _recipe(pickled: Mapping[str, PickledTensor]) -> Recipe:
    """That of the tensor with the most blocks."""
    blockwise = [tensor for tensor in pickled.values() if tensor.whole is None]
    most = max(blockwise, key=lambda tensor: len(tensor.blocks), default=None)
    return Recipe("none", "minmax", most.block_rows) if most else Recipe("none", "none")


def _dtype(name: str) -> torch.dtype:
    import torch

    from workloads.dtdr.files.safetensors_files import DTYPES

    dtype: torch.dtype = getattr(torch, DTYPES[name])
    return dtype
