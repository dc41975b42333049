"""What stands for what is missing, against the formulas it is defined by."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workloads.dtdr.small_models import SHAPES, another_model, encoded_model, rebuilt
from workloads.dtdr.anchors import Anchor
from workloads.dtdr.asking import Asked, Domain, Fill
from workloads.dtdr.codec.recipe import Recipe
from workloads.dtdr.codec.tensors import EncodedTensor, encode_tensor
from workloads.dtdr.codec.transforms import transformed
from workloads.dtdr.files.encoding import EncodedModel
from workloads.dtdr.fills import (
    column_moments,
    gaussian,
    kept_spread,
    leading_spread,
    spread,
)
from workloads.dtdr.keeping import kept, kept_rows
from workloads.errors import InputError

FILLS: tuple[Fill, ...] = ("zero", "random", "guided", "matched")
CPU = torch.device("cpu")


def one_tensor(rows: int, columns: int, block_rows: int = 8) -> EncodedModel:
    tensor = torch.randn(rows, columns, generator=torch.Generator().manual_seed(5)) * 0.02
    encoded = encode_tensor("w", tensor, Recipe("hadamard", "row", block_rows))
    return EncodedModel.of({"w": encoded}, {}, {})


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 0.99), st.sampled_from(FILLS))
def test_kept_blocks_have_the_bits_of_the_full_decode_in_every_mode(
    fraction: float, fill: Fill
) -> None:
    encoded = encoded_model()
    full = rebuilt(encoded, Asked())
    point = rebuilt(encoded, Asked(fraction, fill=fill), another_model())
    for name in SHAPES:
        tensor = encoded[name]
        keep = kept_rows(tensor, fraction)
        ours = point[name].reshape(tensor.rows, -1)
        assert torch.equal(ours[:keep], full[name].reshape(tensor.rows, -1)[:keep])


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 0.99), st.sampled_from(["leading", "random", "largest"]))
def test_kept_coefficients_are_those_of_the_encoding_and_the_others_are_zero(
    fraction: float, domain: Domain
) -> None:
    encoded = one_tensor(9, 64)
    known = encoded["w"].coefficients()
    found = transformed(rebuilt(encoded, Asked(fraction, domain))["w"], "hadamard")
    is_kept = found.abs() > 1e-6
    assert (found - torch.where(is_kept, known, 0.0)).abs().max() < 1e-6
    assert (is_kept.sum(dim=1) <= kept(64, fraction)).all()
    if domain == "leading":
        assert not is_kept[:, kept(64, fraction) :].any()
    if domain == "largest":
        least = torch.where(is_kept, known.abs(), torch.inf).amin(dim=1)
        assert (torch.where(is_kept, 0.0, known.abs()).amax(dim=1) <= least + 1e-6).all()


def test_missing_rows_are_zero() -> None:
    encoded = encoded_model()
    for name, tensor in rebuilt(encoded, Asked(0.5)).items():
        if name in SHAPES:
            keep = kept_rows(encoded[name], 0.5)
            assert not tensor.reshape(encoded[name].rows, -1)[keep:].any()


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5])
def test_random_rows_are_as_spread_as_the_first_six_kept_blocks(fraction: float) -> None:
    encoded = one_tensor(800, 128)
    full = rebuilt(encoded, Asked())["w"]
    keep = kept(encoded["w"].blocks, fraction)
    sigma = float(full[: 8 * min(keep, 6)].std(correction=0))
    filled = rebuilt(encoded, Asked(fraction, fill="random"))["w"][8 * keep :]
    assert float(filled.std()) == pytest.approx(sigma, rel=0.05)
    assert abs(float(filled.mean())) < 0.02 * sigma


@pytest.mark.parametrize("domain", ["leading", "random", "largest"])
def test_random_coefficients_are_as_spread_as_the_kept_ones(domain: Domain) -> None:
    encoded = one_tensor(300, 128)
    known = encoded["w"].coefficients()
    point = Asked(0.25, domain, "random")
    found = transformed(rebuilt(encoded, point)["w"], "hadamard")
    is_kept = (found - known).abs() < 1e-6
    sigma = float(known[is_kept].std(correction=0))
    assert float(found[~is_kept].std()) == pytest.approx(sigma, rel=0.05)


def test_rows_without_any_spread_are_filled_with_that_of_one() -> None:
    tensor = torch.zeros(64, 64)
    encoded = EncodedModel.of({"w": encode_tensor("w", tensor, Recipe("none", "none", 1))}, {}, {})
    filled = rebuilt(encoded, Asked(0.5, fill="random"))["w"][32:]
    assert float(filled.std()) == pytest.approx(1.0, rel=0.05)
    assert spread(torch.empty(0)) == 1.0


def test_the_spread_of_leading_columns_needs_no_more_than_their_moments() -> None:
    numbers = torch.randn(50, 30, generator=torch.Generator().manual_seed(2)) * 3 + 1
    moments = column_moments(numbers.split(7))
    for columns in (1, 13, 30):
        expected = float(np.std(numbers[:, :columns].double().numpy()))  # of all, not of a sample
        assert leading_spread(moments, columns, 50) == pytest.approx(expected, rel=1e-6)
    assert leading_spread(column_moments([torch.full((3, 7), 0.1)]), 7, 3) == 1.0


def test_the_spread_among_zeros_is_that_of_the_numbers_alone() -> None:
    numbers = torch.randn(7, 64, generator=torch.Generator().manual_seed(0)) + 0.5
    among = torch.where(torch.arange(64) < 20, numbers, 0.0)
    found = kept_spread(among.split(3), 7 * 20)
    assert found == pytest.approx(spread(numbers[:, :20]), rel=1e-6)
    assert kept_spread([torch.full((3, 7), 0.1)], 21) == 1.0
    assert kept_spread([torch.zeros(3, 7)], 0) == 1.0
    assert math.isnan(kept_spread([torch.tensor([[math.nan, 1.0]])], 2))


def test_a_random_fill_is_the_same_again_and_another_with_another_draw() -> None:
    encoded = encoded_model()
    point = Asked(0.3, fill="random")
    first, again = rebuilt(encoded, point)["up"], rebuilt(encoded, point)["up"]
    assert torch.equal(first, again)
    assert not torch.equal(first, rebuilt(encoded, Asked(0.3, fill="random", draw=1))["up"])


def test_a_tensors_noise_does_not_depend_on_other_tensors() -> None:
    whole, alone = encoded_model(), encoded_model()["up"]
    point = Asked(0.3, fill="random")
    part = rebuilt(EncodedModel.of({"up": alone}, {}, {}), point)
    assert torch.equal(part["up"], rebuilt(whole, point)["up"])
    shape = (alone.rows, alone.length)
    assert not torch.equal(gaussian(shape, 0, "up", CPU), gaussian(shape, 0, "down", CPU))


@pytest.mark.parametrize("scale", [0.15, 1.0])
def test_guided_rows_are_exactly_the_scaled_anchor(scale: float) -> None:
    encoded, anchor = encoded_model(), another_model()
    point = rebuilt(encoded, Asked(0.4, fill="guided", scale=scale), anchor)
    for name in SHAPES:
        tensor = encoded[name]
        keep = kept_rows(tensor, 0.4)
        expected = scale * anchor.values(name, tensor)[keep:]
        assert torch.equal(point[name].reshape(tensor.rows, -1)[keep:], expected)


@pytest.mark.parametrize("domain", ["leading", "random", "largest"])
def test_guided_coefficients_are_the_scaled_anchors_at_the_same_places(domain: Domain) -> None:
    encoded = one_tensor(9, 64)
    other = encode_tensor("w", torch.randn(9, 64), Recipe("none", "none", 1))
    anchor = Anchor("another model", {"w": other}.__getitem__)
    found = transformed(rebuilt(encoded, Asked(0.3, domain, "guided"), anchor)["w"], "hadamard")
    is_kept = (found - encoded["w"].coefficients()).abs() < 1e-6
    assert (is_kept.sum(dim=1) == kept(64, 0.3)).all()
    guided = 0.15 * anchor.coefficients("w", encoded["w"])
    assert (found - guided)[~is_kept].abs().max() < 1e-6


def test_an_anchor_that_is_the_model_itself_unscaled_gives_the_model() -> None:
    encoded = encoded_model()
    anchor = Anchor("itself", encoded.__getitem__)
    full = rebuilt(encoded, Asked())
    for name, tensor in rebuilt(encoded, Asked(0.1, fill="guided", scale=1.0), anchor).items():
        assert torch.equal(tensor, full[name])


@pytest.mark.parametrize("shuffled", [False, True])
def test_matched_noise_has_the_norm_of_the_scaled_anchor_in_each_tensor(shuffled: bool) -> None:
    encoded, anchor = encoded_model(), another_model()
    noise = rebuilt(encoded, Asked(0.4, fill="matched", scale=0.3, shuffled=shuffled), anchor)
    guided = rebuilt(encoded, Asked(0.4, fill="guided", scale=0.3, shuffled=shuffled), anchor)
    for name in SHAPES:
        tensor = encoded[name]
        keep = kept_rows(tensor, 0.4)
        ours, theirs = (point[name].reshape(tensor.rows, -1)[keep:] for point in (noise, guided))
        assert float(ours.norm()) == pytest.approx(float(theirs.norm()), rel=1e-5)
        if keep < tensor.rows:
            assert not torch.equal(ours, theirs)


@pytest.mark.parametrize("domain", ["leading", "random", "largest"])
def test_matched_coefficients_have_the_norm_of_the_scaled_anchors(domain: Domain) -> None:
    encoded, anchor = one_tensor(30, 64), Anchor("itself", one_tensor(30, 64).__getitem__)
    zero = transformed(rebuilt(encoded, Asked(0.3, domain))["w"], "hadamard")
    norms = []
    for fill in ("matched", "guided"):
        point = rebuilt(encoded, Asked(0.3, domain, fill), anchor)["w"]
        norms.append(float((transformed(point, "hadamard") - zero).norm()))
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_a_shuffled_anchor_gives_its_numbers_in_other_places() -> None:
    encoded = one_tensor(16, 64, block_rows=1)
    anchor = Anchor("itself", encoded.__getitem__)
    asked = Asked(0.1, fill="guided", scale=1.0, shuffled=True, draw=2)
    filled = rebuilt(encoded, asked, anchor)["w"][1:]
    full = rebuilt(encoded, Asked())["w"]
    assert torch.isin(filled, full).all()
    assert not torch.equal(filled, full[1:])


@pytest.mark.parametrize("fill", ["guided", "matched"])
def test_a_fill_that_needs_an_anchor_says_so_where_there_is_none(fill: Fill) -> None:
    with pytest.raises(InputError, match=f"fill: {fill} takes its values from an anchor"):
        rebuilt(encoded_model(), Asked(0.5, fill=fill))


def test_an_anchor_of_another_shape_is_refused_by_the_tensors_name() -> None:
    def other(name: str) -> EncodedTensor:
        return encode_tensor(name, torch.ones(3, 3), Recipe("none", "none", 1))

    for domain in ("rows", "leading"):
        with pytest.raises(InputError, match="embed"):
            rebuilt(encoded_model(), Asked(0.5, domain, "guided"), Anchor("other", other))
