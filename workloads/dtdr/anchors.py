"""Anchors: what a guided fill takes its values from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workloads.errors import InputError
from workloads.training.streams import generator, stream_seed

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from workloads.dtdr.codec.tensors import EncodedTensor
    from workloads.models import ModelRef

Shape = tuple[int, ...]
_WHAT_TO_DO: Final = "give an anchor of the same shape as the model"


@dataclass(frozen=True)
class Anchor:
    """A model alike whose values stand, scaled, for missing ones.

    Nothing is kept: each call reads or decodes anew, and raises `InputError`, naming the tensor,
    where the anchor does not have it, has it in another shape, or has numbers in it that are not
    finite.

    Attributes:
        what: what it is, for errors.
        load: the anchor's tensor of a name; KeyError where it has none.
        shuffling: the draw by which it is permuted; None as it is.
        shape: that of the tensor of a name, without its numbers, given the model's; KeyError
            where it has none. None: nothing is known before it is read.
        remedy: what to do about numbers that are not finite.
    """

    what: str
    load: Callable[[str], EncodedTensor]
    shuffling: int | None = None
    shape: Callable[[str, Shape], Shape] | None = None
    remedy: str = "give another anchor"

    @classmethod
    def damaged(cls, encoded: Mapping[str, EncodedTensor], rate: float, seed: int) -> Anchor:
        """The encoding itself, with a share `rate` of its codes xor 0x7F (see `damaged_codes`)."""
        from workloads.dtdr.damage import damaged_codes

        draw = stream_seed(seed, "dtdr/anchor")  # what a point damages with this draw is elsewhere
        return cls(
            f"the model's own encoding, damaged at {rate:g} with seed {seed},",
            lambda name: damaged_codes(encoded[name], rate, draw),
            remedy="give another anchor, a lower anchor_rate or another anchor_seed",
        )

    @classmethod
    def of_model(cls, model: ModelRef | Path) -> Anchor:
        """A model's weights as they are."""
        from workloads.dtdr.codec.tensors import EncodedTensor
        from workloads.dtdr.files.source import SourceModel

        source = SourceModel.of(model)

        def load(name: str) -> EncodedTensor:
            values = source.tensor(name)
            return EncodedTensor(name, tuple(values.shape), values.dtype, None, {"values": values})

        return cls(
            f"anchor {source.ref.given}",
            load,
            shape=lambda name, _: source.tensors[name].shape,
        )

    @classmethod
    def of_folder(cls, folder: Path) -> Anchor:
        """An encoded folder."""
        from workloads.dtdr.files.encoding import EncodedModel

        encoded = EncodedModel.open(folder)
        index = encoded.index
        assert index is not None
        return cls(
            f"anchor {folder}",
            lambda name: encoded[encoded.tied.get(name, name)],
            shape=lambda name, _: index.tensors[encoded.tied.get(name, name)].shape,
        )

    @classmethod
    def of_pickle(cls, path: Path, alike: Mapping[str, EncodedTensor]) -> Anchor:
        """A .pkl file, whose numbers get the types of the model `alike`."""
        from workloads.dtdr.pickles.importing import check_shape, imported_tensor
        from workloads.dtdr.pickles.reading import read_pickle

        tensors = read_pickle(path)

        def shape(name: str, expected: Shape) -> Shape:
            check_shape(tensors[name], expected)  # blocks have two axes, whatever the model's has
            return expected

        return cls(
            f"anchor {path}",
            lambda name: imported_tensor(tensors[name], alike[name].shape, alike[name].dtype),
            shape=shape,
        )

    @classmethod
    def open(cls, given: str, alike: Mapping[str, EncodedTensor]) -> Anchor:
        """What a person names: a model's folder or hub name, an encoded folder, a .pkl file.

        Raises `InputError` for anything else.
        """
        from workloads.dtdr.files.index import is_encoded
        from workloads.models import resolve_model

        path = Path(given).expanduser()
        if path.is_file():
            return cls.of_pickle(path, alike)
        return cls.of_folder(path) if is_encoded(path) else cls.of_model(resolve_model(given))

    def shuffled(self, draw: int) -> Anchor:
        """The anchor with its numbers permuted within each tensor: values where values are asked
        for, coefficients where coefficients are. The same numbers, each in no place of its own."""
        return replace(self, shuffling=draw)

    def check(self, encoded: Mapping[str, EncodedTensor]) -> None:
        """Refuses an anchor that does not fit, before it is used. Decodes it, tensor by tensor."""
        for name, tensor in encoded.items():
            if not tensor.plain:
                self.values(name, tensor)

    def check_shapes(self, shapes: Mapping[str, Shape]) -> None:
        """Refuses an anchor that lacks a tensor of these, or has it in another shape. Reads no
        numbers."""
        if self.shape is None:
            return
        for name, shape in shapes.items():
            try:
                own = self.shape(name, shape)
            except KeyError as error:
                raise self._lacking(name) from error
            self._refuse_other_shape(name, own, shape)

    def values(self, name: str, encoded: EncodedTensor) -> Tensor:
        """The anchor's decoded values of a tensor, [rows, length], in the tensor's dtype."""
        return self._permuted(name, self._values(name, encoded))

    def coefficients(self, name: str, encoded: EncodedTensor) -> Tensor:
        """The anchor's coefficients under the tensor's transform, float32 [rows, padded].

        Those it was encoded to, if that was by the same transform; else those of its values.
        """
        from workloads.dtdr.codec.transforms import transformed

        assert encoded.recipe is not None
        own = self._fitting(name, encoded)
        if own.recipe is not None and own.recipe.transform == encoded.recipe.transform:
            coefficients = own.coefficients().to(_device(encoded))
        else:
            values = self._values(name, encoded).float()
            coefficients = transformed(values, encoded.recipe.transform)
        self._refuse_non_finite(name, coefficients)
        return self._permuted(name, coefficients)

    def _values(self, name: str, encoded: EncodedTensor) -> Tensor:
        own = self._fitting(name, encoded)
        values = own.decoded(slice(0, own.rows)).to(_device(encoded), encoded.dtype)
        self._refuse_non_finite(name, values)
        return values

    def _fitting(self, name: str, encoded: EncodedTensor) -> EncodedTensor:
        try:
            own = self.load(name)
        except KeyError as error:
            raise self._lacking(name) from error
        self._refuse_other_shape(name, own.shape, encoded.shape)
        return own

    def _lacking(self, name: str) -> InputError:
        return InputError(f"{self.what} has no tensor {name}; {_WHAT_TO_DO}")

    def _refuse_other_shape(self, name: str, own: Shape, expected: Shape) -> None:
        if own != expected:
            raise InputError(
                f"{self.what} has {name} as {list(own)}, and the model as "
                f"{list(expected)}; {_WHAT_TO_DO}"
            )

    def _refuse_non_finite(self, name: str, numbers: Tensor) -> None:
        from workloads.dtdr.codec.tensors import not_finite

        if bad := not_finite(numbers):
            raise InputError(
                f"{self.what} has {bad} of {numbers.numel()} numbers of {name} that are NaN or "
                f"infinite; {self.remedy}"
            )

    def _permuted(self, name: str, numbers: Tensor) -> Tensor:
        import torch

        if self.shuffling is None:
            return numbers
        stream = generator(self.shuffling, f"dtdr/shuffle/{name}")
        order = torch.randperm(numbers.numel(), generator=stream).to(numbers.device)
        return numbers.reshape(-1)[order].reshape(numbers.shape)


def anchor_for(
    given: str | None, encoded: Mapping[str, EncodedTensor], rate: float, seed: int
) -> Anchor:
    """The anchor that is named, or where none is the encoding itself, damaged. Raises
    `InputError`."""
    return Anchor.damaged(encoded, rate, seed) if given is None else Anchor.open(given, encoded)


def _device(encoded: EncodedTensor) -> torch.device:
    return next(iter(encoded.parts.values())).device
