"""What `inspect` tells of an encoded folder: sizes, errors, damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.workloads.dtdr.files.models import odd_tensors, saved_model
from tests.workloads.dtdr.files.test_decoding import damage
from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.files import EncodedModel, encode_model, inspect_model
from workloads.dtdr.files.inspecting import Sums
from workloads.errors import InputError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved_model(tmp_path / "model", odd_tensors())


@pytest.fixture
def encoded(tmp_path: Path, model: Path) -> Path:
    encode_model(model, Recipe("hadamard", "row", 4), tmp_path / "encoded")
    return tmp_path / "encoded"


def test_errors_are_those_of_the_decoded_weights(model: Path, encoded: Path) -> None:
    found = {tensor.name: tensor for tensor in inspect_model(encoded, model).tensors}
    decoded = EncodedModel.open(encoded)
    for name in ("matrix", "half", "brain", "kernel"):
        ours, original = decoded[name].decoded().double(), odd_tensors()[name].double()
        told = found[name].errors
        assert told is not None
        assert told.relative_l2 == pytest.approx(float((ours - original).norm() / original.norm()))
        assert told.largest == pytest.approx(float((ours - original).abs().max()))
        cosine = torch.nn.functional.cosine_similarity(ours.flatten(), original.flatten(), dim=0)
        assert told.cosine == pytest.approx(float(cosine))
    assert found["matrix"].original_bytes == 10 * 6 * 4
    assert found["matrix"].bytes == 10 * 8 + 10 * 4  # codes of padded rows, a scale for each
    assert found["matrix"].blocks == 3


def test_the_error_of_the_whole_counts_compressed_tensors_alone(model: Path, encoded: Path) -> None:
    inspected = inspect_model(encoded, model)
    pairs = [
        (EncodedModel.open(encoded)[name].decoded().double(), odd_tensors()[name].double())
        for name in ("matrix", "half", "brain", "kernel")
    ]
    errors = sum(float((ours - theirs).square().sum()) for ours, theirs in pairs)
    norms = sum(float(theirs.square().sum()) for _, theirs in pairs)
    assert inspected.errors is not None
    assert inspected.errors.relative_l2 == pytest.approx((errors / norms) ** 0.5)


def test_without_an_original_errors_are_not_measured(encoded: Path) -> None:
    inspected = inspect_model(encoded)
    assert inspected.errors is None
    told = json.loads(json.dumps(inspected.to_json(), allow_nan=False))
    assert told["relative_l2"] is None
    assert {tensor["cosine"] for tensor in told["tensors"]} == {None}


def test_a_tensor_of_nothing_but_zeros_has_no_relative_error(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "model", {"zeros": torch.zeros(4, 4)})
    encode_model(folder, Recipe(), tmp_path / "encoded")
    (tensor,) = inspect_model(tmp_path / "encoded", folder).tensors
    assert tensor.to_json()["relative_l2"] is None
    assert tensor.to_json()["max_error"] == 0.0


def test_damage_is_told_where_it_is(encoded: Path) -> None:
    damage(encoded, "matrix", 9 * 8)
    inspected = inspect_model(encoded)
    assert {t.name: t.damaged for t in inspected.tensors if t.damaged} == {"matrix": (2,)}
    assert inspected.damaged_files == ("encoded-00001.safetensors",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": torch.ones(3, 4, 6)}, r"kernel is \[3, 4, 6\] in .* and \[3, 4, 5\]"),
        ({"more": torch.ones(2, 2)}, "tensor more of .* is not in the encoding"),
    ],
)
def test_another_model_is_refused_naming_the_tensor(
    tmp_path: Path, encoded: Path, change: dict[str, torch.Tensor], message: str
) -> None:
    other = saved_model(tmp_path / "other", {**odd_tensors(), **change})
    with pytest.raises(InputError, match=message):
        inspect_model(encoded, other)


def test_a_tensor_that_the_original_lacks_is_named(tmp_path: Path, encoded: Path) -> None:
    tensors = odd_tensors()
    del tensors["matrix"]
    with pytest.raises(InputError, match="tensor matrix is not in"):
        inspect_model(encoded, saved_model(tmp_path / "other", tensors))


def test_a_largest_error_that_is_not_a_number_is_not_passed_over() -> None:
    nan = Sums(largest=float("nan"))
    for both in (nan + Sums(largest=2.0), Sums(largest=2.0) + nan):
        assert both.largest != both.largest
