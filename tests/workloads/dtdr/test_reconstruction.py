"""A model in memory that goes from point to point, against one rebuilt from scratch."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.workloads.dtdr.small_models import (
    SHAPES,
    another_model,
    blank,
    encoded_model,
    rebuilt,
    weights,
)
from workloads.dtdr.anchors import Anchor
from workloads.dtdr.asking import Asked, Domain, Fill
from workloads.dtdr.codec.recipe import Quantiser, Transform
from workloads.dtdr.codec.transforms import restored
from workloads.dtdr.columns import PartialSum
from workloads.dtdr.files.encoding import EncodedModel
from workloads.dtdr.keeping import kept_rows
from workloads.dtdr.reconstruction import Incremental
from workloads.errors import InputError

TRANSFORMS: tuple[Transform, ...] = ("none", "hadamard", "dct", "hadamard+dct")
QUANTISERS: tuple[Quantiser, ...] = ("none", "row", "block", "minmax")
DOMAINS: tuple[Domain, ...] = ("rows", "leading", "random", "largest")
FILLS: tuple[Fill, ...] = ("zero", "random", "guided", "matched")

POINTS = st.builds(
    Asked,
    fraction=st.sampled_from([0.001, 0.1, 0.35, 0.5, 0.7, 0.99, 1.0]),
    domain=st.sampled_from(DOMAINS),
    fill=st.sampled_from(FILLS),
    scale=st.sampled_from([0.0, 0.15, 1.0]),
    shuffled=st.booleans(),
    noise=st.sampled_from([0.0, 0.0, 0.0, 0.1]),
    draw=st.integers(0, 2),
)


def assert_there(encoded: EncodedModel, parameters: dict[str, Tensor], asked: Asked) -> None:
    expected = rebuilt(encoded, asked, another_model())
    in_place = asked.domain == "rows" or asked.fraction == 1
    for name, tensor in parameters.items():
        if in_place:
            assert torch.equal(tensor, expected[name]), (name, asked)
        elif expected[name].is_floating_point():
            norm = max(float(expected[name].norm()), 1e-3)
            assert float((tensor - expected[name]).norm()) < 1e-5 * norm, (name, asked)


@settings(max_examples=25, deadline=None)
@given(st.lists(POINTS, min_size=1, max_size=6), st.sampled_from(TRANSFORMS))
def test_from_any_point_to_any_other_is_as_from_scratch(
    points: list[Asked], transform: Transform
) -> None:
    encoded = encoded_model(transform)
    parameters = blank(encoded)
    model = Incremental(encoded, another_model(), parameters)
    for asked in points:
        model.move_to(asked)
        assert_there(encoded, parameters, asked)


@pytest.mark.parametrize(("domain", "fill"), product(DOMAINS, FILLS))
def test_along_a_path_and_back_each_point_is_as_from_scratch(domain: Domain, fill: Fill) -> None:
    encoded = encoded_model()
    parameters = blank(encoded)
    model = Incremental(encoded, another_model(), parameters)
    up = [0.005, 0.1, 0.4, 0.65, 0.8, 1.0]
    for fraction in up + up[::-1]:
        asked = Asked(fraction, domain, fill)
        model.move_to(asked)
        assert_there(encoded, parameters, asked)


@pytest.mark.parametrize(("transform", "quantiser"), product(TRANSFORMS, QUANTISERS))
def test_the_fraction_one_is_the_full_decode_bit_for_bit_from_anywhere(
    transform: Transform, quantiser: Quantiser
) -> None:
    encoded = encoded_model(transform, quantiser)
    parameters = blank(encoded)
    model = Incremental(encoded, another_model(), parameters)
    for domain, fill in product(DOMAINS, FILLS):
        model.move_to(Asked(0.4, domain, fill))
        assert model.relative_l2() > 0
        model.move_to(Asked(1.0, domain, fill))
        assert model.relative_l2() == 0
        for name, tensor in encoded.items():
            assert torch.equal(parameters[name], tensor.decoded())


def test_what_is_not_compressed_is_whole_at_every_point() -> None:
    encoded = encoded_model()
    parameters = blank(encoded)
    model = Incremental(encoded, another_model(), parameters)
    asked = Asked(0.001, "leading", "random", noise=0.1, damage="bytes", rate=0.3)
    model.move_to(asked)
    for name in ("norm", "empty", "steps"):
        assert torch.equal(parameters[name], weights()[name])
        assert torch.equal(rebuilt(encoded, asked)[name], weights()[name])


def test_a_sum_that_is_moved_often_stays_as_exact_as_one_from_scratch() -> None:
    source = torch.randn(8, 1024, generator=torch.Generator().manual_seed(0))
    for transform, behind in product(("hadamard", "dct"), (False, True)):
        moved = PartialSum(source, transform, 900 if transform == "hadamard" else 1024, behind)
        for step in range(150):
            edge = 1 + (step * 397) % 1023 if step % 3 else 1 + (step * 7) % 1023
            rows = moved.at(edge)
        columns = torch.arange(1024)
        alone = torch.where(columns >= edge if behind else columns < edge, source, 0.0)
        expected = restored(alone, transform, rows.shape[1])
        assert float((rows - expected).norm()) < 1e-5 * float(expected.norm())


def test_a_sum_forgets_what_is_not_finite_once_it_is_not_in_it() -> None:
    source = torch.ones(2, 256)
    source[0, 200] = torch.nan
    partial = PartialSum(source, "hadamard", 256, behind=False)
    assert partial.at(256).isnan().any()
    assert partial.at(190).isfinite().all()


def test_noise_and_damage_come_and_go() -> None:
    encoded = encoded_model()
    parameters = blank(encoded)
    model = Incremental(encoded, another_model(), parameters)
    for asked in (
        Asked(0.5, noise=0.2),
        Asked(0.5),
        Asked(damage="bytes", rate=0.01),
        Asked(0.5, fill="random"),
        Asked(0.7, "largest", "guided", damage="bits", rate=0.001, checksums=True),
        Asked(),
    ):
        model.move_to(asked)
        expected = rebuilt(encoded, asked, another_model())
        for name, tensor in parameters.items():
            assert torch.allclose(tensor, expected[name], rtol=1e-5, equal_nan=True)


def test_blocks_known_to_be_damaged_are_filled_and_the_others_are_whole() -> None:
    encoded = encoded_model(block_rows=1)
    asked = Asked(damage="bytes", rate=0.01, checksums=True)
    full, unfilled = rebuilt(encoded, Asked()), rebuilt(encoded, asked)
    same = (unfilled["up"] == full["up"]).all(dim=1)
    zero = (unfilled["up"] == 0).all(dim=1)
    assert (same ^ zero).all()
    assert 0 < int(zero.sum()) < len(zero)
    guided = rebuilt(encoded, Asked(damage="bytes", rate=0.01, checksums=True, fill="guided"),
                     another_model())  # fmt: skip
    anchor = another_model().values("up", encoded["up"])
    assert torch.equal(guided["up"][zero], 0.15 * anchor[zero])


@pytest.mark.parametrize("quantiser", QUANTISERS)
def test_the_encoding_is_never_written_to(quantiser: Quantiser) -> None:
    encoded = encoded_model("none", quantiser)
    before = {
        name: {part: values.clone() for part, values in tensor.parts.items()}
        for name, tensor in encoded.items()
    }
    model = Incremental(encoded, another_model(), blank(encoded))
    for domain, fill in product(DOMAINS, FILLS):
        for asked in (
            Asked(0.4, domain, fill, noise=0.2),
            Asked(0.4, domain, fill),
            Asked(0.7, domain, fill, damage="bits", rate=0.01, checksums=True),
        ):
            model.move_to(asked)
            rebuilt(encoded, asked, another_model())
    for name, tensor in encoded.items():
        for part, values in tensor.parts.items():
            assert torch.equal(values, before[name][part])


def test_gaussian_noise_is_as_large_as_asked() -> None:
    encoded = encoded_model("dct")
    full, noisy = rebuilt(encoded, Asked()), rebuilt(encoded, Asked(noise=0.1))
    for name in ("embed", "up"):
        relative = (noisy[name] - full[name]).norm() / full[name].norm()
        assert float(relative) == pytest.approx(0.1, rel=0.1)


def test_relative_l2_is_that_of_all_compressed_tensors_together() -> None:
    encoded = encoded_model()
    parameters = blank(encoded)
    model = Incremental(encoded, another_model(), parameters)
    for asked in (Asked(0.4), Asked(0.4, "leading", "guided"), Asked(0.6, fill="random")):
        model.move_to(asked)
        full = torch.cat([encoded[name].decoded().flatten() for name in SHAPES])
        here = torch.cat([parameters[name].flatten() for name in SHAPES])
        expected = float((here - full).norm() / full.norm())
        assert model.relative_l2() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("own", [torch.float32, torch.bfloat16])
def test_a_model_in_half_precision_has_the_bits_of_a_decoding_in_it(own: torch.dtype) -> None:
    encoded = encoded_model(dtype=own)
    parameters = blank(encoded, torch.bfloat16)
    model = Incremental(encoded, another_model(), parameters)
    for asked in (Asked(0.4, fill="random"), Asked(0.6, fill="guided"), Asked(fill="matched")):
        model.move_to(asked)
        expected = rebuilt(encoded, asked, another_model(), torch.bfloat16)
        for name, tensor in parameters.items():
            assert torch.equal(tensor, expected[name])


def test_little_memory_changes_no_result() -> None:
    encoded = encoded_model()
    wide, narrow = blank(encoded), blank(encoded)
    models = [
        Incremental(encoded, another_model(), wide),
        Incremental(encoded, another_model(), narrow, memory_bytes=20_000),
    ]
    for domain, fill, fraction in product(DOMAINS, FILLS, (0.3, 0.6)):
        for model in models:
            model.move_to(Asked(fraction, domain, fill))
        for name, tensor in wide.items():
            assert torch.allclose(tensor, narrow[name], rtol=1e-5, atol=1e-6)


def test_an_anchor_that_is_refused_half_way_leaves_no_wrong_weights_behind() -> None:
    encoded = encoded_model()
    parameters = blank(encoded)
    lacking = Anchor("lacking", {"embed": encoded["embed"], "up": encoded["embed"]}.__getitem__)
    model = Incremental(encoded, lacking, parameters)
    model.move_to(Asked(0.2))
    for fraction, domain in ((0.6, "rows"), (0.6, "leading"), (0.1, "rows")):
        with pytest.raises(InputError, match="up"):
            model.move_to(Asked(fraction, domain, "guided"))
        for asked in (Asked(0.4), Asked(0.7)):
            model.move_to(asked)
            assert_there(encoded, parameters, asked)


def test_parameters_of_another_shape_are_refused_by_name() -> None:
    encoded = encoded_model()
    parameters = blank(encoded) | {"up": torch.zeros(3, 3)}
    with pytest.raises(InputError, match=r"up is \[3, 3\] in the model and \[33, 100\]"):
        Incremental(encoded, None, parameters)


def test_parameters_that_the_encoding_lacks_are_left_alone() -> None:
    encoded = encoded_model()
    parameters = blank(encoded) | {"head": torch.full((2, 2), 7.0)}
    Incremental(encoded, None, parameters).move_to(Asked(0.4))
    assert (parameters["head"] == 7).all()


def test_every_point_of_whole_weights_is_finite() -> None:
    encoded = encoded_model()
    for domain, fill in product(DOMAINS, FILLS):
        for tensor in rebuilt(encoded, Asked(0.3, domain, fill), another_model()).values():
            assert math.isfinite(float(tensor.double().abs().sum()))
            assert kept_rows(encoded["one"], 0.3) == 1
