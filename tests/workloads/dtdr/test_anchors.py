"""Anchors: from every source, in both domains, and those that do not fit."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.workloads.dtdr.files.models import odd_tensors, saved_model
from workloads.dtdr.anchors import Anchor, anchor_for
from workloads.dtdr.checking import check_config
from workloads.dtdr.codec.recipe import Quantiser, Recipe, Transform
from workloads.dtdr.codec.tensors import EncodedTensor, encode_tensor
from workloads.dtdr.codec.transforms import transformed
from workloads.dtdr.config import DtdrConfig
from workloads.dtdr.damage import damaged_codes
from workloads.dtdr.files.encoding import encode_model
from workloads.dtdr.pickles.writing import write_pickle
from workloads.errors import InputError
from workloads.models import ModelRef, resolve_model
from workloads.training.streams import stream_seed

HADAMARD = Recipe("hadamard", "row", 16)
UP = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def model() -> ModelRef:
    return resolve_model("embedded:llama")


@pytest.fixture(scope="module")
def weights(model: ModelRef) -> dict[str, torch.Tensor]:
    assert model.path is not None
    return load_file(model.path / "model.safetensors")


@pytest.fixture(scope="module")
def encoded(weights: dict[str, torch.Tensor]) -> dict[str, EncodedTensor]:
    return {name: encode_tensor(name, tensor, HADAMARD) for name, tensor in weights.items()}


def own(shape: tuple[int, int] = (48, 40), recipe: Recipe = HADAMARD) -> dict[str, EncodedTensor]:
    stream = torch.Generator().manual_seed(1)
    return {"w": encode_tensor("w", torch.randn(shape, generator=stream), recipe)}


def test_without_a_name_the_anchor_is_the_encoding_damaged(
    encoded: Mapping[str, EncodedTensor],
) -> None:
    anchor = anchor_for(None, encoded, 1e-3, 5)
    tensor = encoded[UP]
    expected = damaged_codes(tensor, 1e-3, stream_seed(5, "dtdr/anchor"))
    assert torch.equal(anchor.values(UP, tensor), expected.decoded())
    assert torch.equal(anchor.coefficients(UP, tensor), expected.coefficients())
    assert not torch.equal(anchor.values(UP, tensor), tensor.decoded())
    assert not torch.equal(
        anchor.values(UP, tensor), anchor_for(None, encoded, 1e-3, 6).values(UP, tensor)
    )
    whole = anchor_for(None, encoded, 0.0, 0)
    assert torch.equal(whole.values(UP, tensor), tensor.decoded())


@pytest.mark.parametrize("transform", ["none", "hadamard"])
@pytest.mark.parametrize("quantiser", ["none", "row", "block", "minmax"])
def test_a_damaged_anchor_is_nearly_the_model_whatever_it_is_encoded_by(
    transform: Transform, quantiser: Quantiser
) -> None:
    """Scales and exponents stay whole: a few hits would make rows of any size of them."""
    alike = own((128, 256), Recipe(transform, quantiser, 16))
    whole = alike["w"].decoded()
    errors = []
    for rate in (1e-4, 1e-2):
        values = anchor_for(None, alike, rate, 0).values("w", alike["w"])
        errors.append(float((values - whole).norm() / whole.norm()))
    assert 0 < errors[0] < 0.05
    assert 0.05 < errors[1] < 0.4


def test_a_model_is_an_anchor_with_its_own_values(
    weights: dict[str, torch.Tensor], encoded: Mapping[str, EncodedTensor]
) -> None:
    anchor = anchor_for("embedded:llama", encoded, 0, 0)
    anchor.check(encoded)
    assert torch.equal(anchor.values(UP, encoded[UP]), weights[UP])
    assert torch.allclose(
        anchor.coefficients(UP, encoded[UP]), transformed(weights[UP], "hadamard"), atol=1e-6
    )


@pytest.mark.parametrize("recipe", [HADAMARD, Recipe("dct", "minmax", 8)], ids=str)
def test_an_encoded_folder_is_an_anchor(
    recipe: Recipe, model: ModelRef, weights: dict[str, torch.Tensor],
    encoded: Mapping[str, EncodedTensor], tmp_path: Path,
) -> None:  # fmt: skip
    encode_model(model, recipe, tmp_path / "encoded")
    anchor = anchor_for(str(tmp_path / "encoded"), encoded, 0, 0)
    expected = encode_tensor(UP, weights[UP], recipe)
    assert torch.equal(anchor.values(UP, encoded[UP]), expected.decoded())
    coefficients = anchor.coefficients(UP, encoded[UP])
    if recipe.transform == "hadamard":
        assert torch.equal(coefficients, expected.coefficients())
    else:
        assert torch.allclose(coefficients, transformed(expected.decoded(), "hadamard"))


def test_a_pickled_file_is_an_anchor(
    weights: dict[str, torch.Tensor], encoded: Mapping[str, EncodedTensor], tmp_path: Path
) -> None:
    path = tmp_path / "anchor.pkl"
    write_pickle(path, {name: tensor.numpy() for name, tensor in weights.items()}, 16)
    anchor = anchor_for(str(path), encoded, 0, 0)
    anchor.check(encoded)
    values = anchor.values(UP, encoded[UP])
    assert values.shape == (encoded[UP].rows, encoded[UP].length)
    assert 0 < float((values - weights[UP]).norm() / weights[UP].norm()) < 0.02


def test_values_have_the_type_and_rows_of_the_tensor_they_stand_in() -> None:
    stream = torch.Generator().manual_seed(2)
    deep = torch.randn(4, 12, 40, generator=stream)
    tensor = encode_tensor("w", deep.bfloat16(), HADAMARD)
    anchor = Anchor("anchor", {"w": encode_tensor("w", deep, Recipe("none", "none"))}.__getitem__)
    values = anchor.values("w", tensor)
    assert values.shape == (48, 40)
    assert torch.equal(values, deep.bfloat16().reshape(48, 40))
    assert anchor.coefficients("w", tensor).shape == (48, 64)


def test_a_shuffled_anchor_has_the_same_numbers_in_other_places() -> None:
    alike = own()
    plain = Anchor("anchor", alike.__getitem__)
    tensor = alike["w"]
    for what in (Anchor.values, Anchor.coefficients):
        straight, mixed = what(plain, "w", tensor), what(plain.shuffled(0), "w", tensor)
        assert not torch.equal(straight, mixed)
        assert torch.equal(straight.flatten().sort().values, mixed.flatten().sort().values)
        assert torch.equal(mixed, what(plain.shuffled(0), "w", tensor))
        assert not torch.equal(mixed, what(plain.shuffled(1), "w", tensor))
        cosine = torch.nn.functional.cosine_similarity(straight.flatten(), mixed.flatten(), 0)
        assert abs(float(cosine)) < 0.1


@pytest.mark.parametrize("shape", [(48, 41), (47, 40)])
def test_an_anchor_of_another_shape_is_refused_by_name(shape: tuple[int, int]) -> None:
    anchor = Anchor("anchor other", own(shape).__getitem__)
    for ask in (anchor.values, anchor.coefficients):
        with pytest.raises(InputError, match=r"anchor other has w as \[4\d, 4\d\], and the model"):
            ask("w", own()["w"])


def test_an_anchor_without_a_tensor_is_refused_by_name(
    encoded: Mapping[str, EncodedTensor], weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "anchor.pkl"
    write_pickle(path, {name: t.numpy() for name, t in weights.items() if name != UP})
    with pytest.raises(InputError, match=rf"anchor\.pkl has no tensor {UP}"):
        anchor_for(str(path), encoded, 0, 0).check(encoded)


def test_an_anchor_with_numbers_that_are_not_finite_is_refused_by_name() -> None:
    tensor = encode_tensor("w", torch.ones(8, 8), Recipe("none", "none"))
    parts = {"values": tensor.parts["values"].clone()}
    parts["values"][2, 3] = float("nan")
    broken = EncodedTensor("w", tensor.shape, tensor.dtype, tensor.recipe, parts)
    anchor = Anchor("anchor it", {"w": broken}.__getitem__)
    with pytest.raises(InputError, match="anchor it has 1 of 64 numbers of w"):
        anchor.values("w", tensor)
    with pytest.raises(InputError, match="anchor it has 1 of 64 numbers of w"):
        anchor.coefficients("w", tensor)


def test_a_model_with_numbers_that_are_not_finite_is_no_anchor(tmp_path: Path) -> None:
    weights = odd_tensors()
    weights["matrix"][2, 3] = float("nan")
    anchor = Anchor.of_model(saved_model(tmp_path / "m", weights))
    fine = encode_tensor("matrix", odd_tensors()["matrix"], HADAMARD)
    with pytest.raises(InputError, match=r"1 of 60 numbers of matrix .*; give another anchor$"):
        anchor.values("matrix", fine)


def test_a_plan_refuses_a_pickled_anchor_that_does_not_fit(
    weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    arrays = {name: tensor.numpy() for name, tensor in weights.items()}
    good, narrow, short = (tmp_path / f"{name}.pkl" for name in ("good", "narrow", "short"))
    write_pickle(good, arrays)
    write_pickle(narrow, {**arrays, UP: arrays[UP][:, :32]})
    write_pickle(short, {name: array for name, array in arrays.items() if name != UP})
    check_config(DtdrConfig(anchor=str(good)))
    with pytest.raises(InputError, match=rf"{UP}: its blocks make 128 rows of 32"):
        check_config(DtdrConfig(anchor=str(narrow)))
    with pytest.raises(InputError, match=rf"has no tensor {UP}"):
        check_config(DtdrConfig(anchor=str(short)))


def test_a_model_of_other_shapes_is_refused(
    model: ModelRef, encoded: Mapping[str, EncodedTensor], tmp_path: Path
) -> None:
    assert model.path is not None
    shutil.copytree(model.path, tmp_path / "other")
    file = tmp_path / "other" / "model.safetensors"
    save_file({name: t[..., :32].contiguous() for name, t in load_file(file).items()}, file)
    with pytest.raises(InputError, match=r"and the model as \["):
        anchor_for(str(tmp_path / "other"), encoded, 0, 0).check(encoded)


def test_shapes_are_checked_before_any_number_is_read(
    model: ModelRef, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """The same of a model, of its encoding, of a .pkl: their heads say enough."""
    encode_model(model, HADAMARD, tmp_path / "e")
    write_pickle(tmp_path / "w.pkl", {name: t.numpy() for name, t in weights.items()})
    own_shapes = {name: tuple(t.shape) for name, t in weights.items() if t.dim() > 1}
    for given in ("embedded:llama", str(tmp_path / "e"), str(tmp_path / "w.pkl")):
        anchor = replace(Anchor.open(given, {}), load=lambda name: pytest.fail(f"read {name}"))
        anchor.check_shapes(own_shapes)
        with pytest.raises(InputError, match=rf"{UP}.*\b65\b"):
            anchor.check_shapes({UP: (128, 65)})
        with pytest.raises(InputError, match="has no tensor another"):
            anchor.check_shapes({"another": (2, 2)})


def test_what_is_no_anchor_is_refused(encoded: Mapping[str, EncodedTensor], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model at"):
        anchor_for(str(tmp_path / "nothing"), encoded, 0, 0)
    (tmp_path / "file.pkl").write_bytes(b"no pickle")
    with pytest.raises(InputError, match=r"file\.pkl"):
        anchor_for(str(tmp_path / "file.pkl"), encoded, 0, 0)
