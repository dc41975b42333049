"""Counts by formula are those of the modules, and about those that are known."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from workloads.morphogenesis.body.blueprints import make_seed
from workloads.morphogenesis.body.hosts import build_host
from workloads.morphogenesis.body.sizes import (
    blueprints_for,
    grown_parameters,
    host_parameters,
    host_widths,
    parameter_count,
    slot_layers,
    slot_widths,
    widths_of_size,
)
from workloads.morphogenesis.config import MorphogenesisConfig, SlotSettings

KNOWN = {
    ("cnn", 64): {
        "noop": 0,
        "norm": 130,
        "attention": 2_000,
        "depthwise": 4_800,
        "conv_light": 37_000,
        "conv_heavy": 74_000,
    },
    ("gpt", 384): {
        "norm": 800,
        "lora": 6_000,
        "attention": 50_000,
        "mlp": 1_200_000,
        "flex_attention": 55_000,
    },
}


def counted(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("host", "width"), list(KNOWN))
def test_seeds_are_about_as_large_as_the_catalogue_says(host, width) -> None:
    known = KNOWN[host, width]
    assert tuple(known) == blueprints_for(host)
    for blueprint, size in known.items():
        assert parameter_count(blueprint, host, width) == pytest.approx(size, rel=0.05)


@pytest.mark.parametrize("width", [4, 8, 22, 48])
@pytest.mark.parametrize("host", ["cnn", "gpt"])
def test_the_formula_of_a_seed_counts_its_parameters(grown, host, width) -> None:
    for blueprint in blueprints_for(host):
        assert parameter_count(blueprint, host, width) == counted(make_seed(blueprint, host, width))
    slot = grown.slot("TRAINING", "norm", "gated", host=host)
    assert slot.seed_params == parameter_count("norm", host, slot.width, "gated")


@pytest.mark.parametrize("host", ["cnn", "gpt"])
def test_every_seed_keeps_the_shape_at_every_width(host) -> None:
    for width in (4, 7, 8, 40):
        x = torch.randn((2, width, 3, 3) if host == "cnn" else (2, 5, width))
        for blueprint in blueprints_for(host):
            assert make_seed(blueprint, host, width)(x).shape == x.shape


@pytest.mark.parametrize(
    ("config", "classes", "shape"),
    [
        (MorphogenesisConfig(), 10, (1, 8, 8)),
        (MorphogenesisConfig(blocks=7, channels=5), 10, (3, 32, 32)),
        (MorphogenesisConfig(blocks=1, channels=1), 2, (1, 8, 8)),
        (MorphogenesisConfig(host="gpt", layers=2, width=24, heads=2, context=9), 17, ()),
    ],
)
def test_the_formula_of_a_host_counts_its_parameters(config, classes, shape) -> None:
    host = build_host(config, classes, shape, seed=0)
    assert host.host_params == counted(host) == host_parameters(config, classes, shape)


def test_the_first_three_blocks_double_the_channels() -> None:
    assert slot_widths(MorphogenesisConfig()) == {"early": 8, "mid": 16, "late": 32}
    assert list(slot_widths(MorphogenesisConfig(blocks=5, channels=4)).values()) == [
        4,
        8,
        16,
        16,
        16,
    ]


def test_the_slots_of_a_gpt_come_after_each_third_of_its_layers() -> None:
    def after(layers):
        return slot_layers(MorphogenesisConfig(host="gpt", layers=layers))

    assert [after(layers) for layers in (6, 3, 7, 2, 1)] == [
        (2, 4, 6),
        (1, 2, 3),
        (3, 5, 7),
        (1, 2),
        (1,),
    ]


@pytest.mark.parametrize("params", [2_000, 6_274, 7_843, 10_195, 250_000])
def test_a_widened_cnn_is_near_to_what_is_asked_and_keeps_its_form(params) -> None:
    config = MorphogenesisConfig()
    widths = widths_of_size(config, params, 10, (1, 8, 8))
    assert host_parameters(config, 10, (1, 8, 8), widths) == pytest.approx(params, rel=0.03)
    factors = [wide / base for wide, base in zip(widths, host_widths(config), strict=True)]
    assert max(factors) / min(factors) < 1.25


@pytest.mark.parametrize(
    "config", [MorphogenesisConfig(channels=11), MorphogenesisConfig(blocks=9)]
)
def test_the_size_of_a_host_itself_gives_that_host(config) -> None:
    params = host_parameters(config, 10, (3, 32, 32))
    assert widths_of_size(config, params, 10, (3, 32, 32)) == host_widths(config)


def test_the_smallest_host_is_one_channel_wide() -> None:
    assert widths_of_size(MorphogenesisConfig(), 1, 10, (1, 8, 8)) == (1, 1, 1)


def test_a_widened_gpt_keeps_its_heads_and_can_be_built() -> None:
    slots = {"mid": SlotSettings(blueprint="mlp")}
    config = MorphogenesisConfig(
        host="gpt", layers=3, width=24, heads=6, context=16, slots=slots, params_ratio=1.5
    )
    host = build_host(config, 50, (), seed=0)
    grown = grown_parameters(config, 50, ())
    assert host.host_params == pytest.approx(1.5 * grown, rel=0.15)
    assert host(torch.zeros(2, 16, dtype=torch.long)).shape == (2, 16, 50)


def test_a_ratio_counts_the_named_seeds_and_leaves_a_host_without_slots() -> None:
    slots = {"early": SlotSettings(blueprint="conv_light"), "late": SlotSettings(blueprint="norm")}
    config = MorphogenesisConfig(slots=slots)
    grown = grown_parameters(config, 10, (1, 8, 8))
    assert grown == host_parameters(config, 10, (1, 8, 8)) + 592 + 65
    for ratio in (1.0, 1.25, 1.625):
        wide = config.model_copy(update={"params_ratio": ratio})
        host = build_host(wide, 10, (1, 8, 8), seed=0)
        assert host.slots == {}
        assert host.host_params == pytest.approx(ratio * grown, rel=0.03)


def test_a_ratio_needs_every_blueprint_named() -> None:
    config = MorphogenesisConfig(slots={"mid": SlotSettings()}, params_ratio=1.0)
    with pytest.raises(ValueError, match=r"slots.mid names no blueprint"):
        build_host(config, 10, (1, 8, 8), seed=0)


def test_an_unknown_blueprint_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"no blueprint 'conv_light' for the host gpt; .*lora"):
        parameter_count("conv_light", "gpt", 384)


def test_counting_needs_no_torch() -> None:
    code = (
        "import sys; import workloads.morphogenesis.body as body;"
        "from workloads.morphogenesis.config import MorphogenesisConfig as Config;"
        "body.slot_names(Config()); body.host_parameters(Config(), 10, (1, 8, 8));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
