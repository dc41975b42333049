"""Hosts with slots: what is named is there, what is not changes no number."""

from __future__ import annotations

import copy
import itertools
import json

import pytest
import torch
from torch.nn import functional

from workloads.morphogenesis.body import blueprints_for, slot_names
from workloads.morphogenesis.body.hosts import build_host
from workloads.morphogenesis.body.life import EpochFacts
from workloads.morphogenesis.config import MorphogenesisConfig, SlotSettings
from workloads.switching import (
    Segment,
    all_coalitions,
    check_segments,
    evaluate_coalitions,
    segment_passes,
    undisturbed,
)

NAMES = ("early", "mid", "late")
OPEN = SlotSettings()
GPT = {"host": "gpt", "layers": 3, "width": 24, "heads": 2, "context": 8}
SEEDS = {"cnn": ("conv_light", "attention", "norm"), "gpt": ("attention", "lora", "norm")}
CLASSES = 7


def config(host="cnn", slots=NAMES, **more):
    shape = GPT if host == "gpt" else {"channels": 4}
    return MorphogenesisConfig(**{**shape, "slots": dict.fromkeys(slots, OPEN), **more})


def built(host="cnn", seed=0, **more):
    return build_host(config(host, **more), CLASSES, (1, 8, 8), seed)


def batch(host="cnn", index=0):
    stream = torch.Generator().manual_seed(index)
    if host == "gpt":
        x = torch.randint(0, CLASSES, (4, 8), generator=stream)
        return x, x
    return torch.randn(4, 1, 8, 8, generator=stream), torch.randint(
        0, CLASSES, (4,), generator=stream
    )


def loss_of(model, x, y):
    return functional.cross_entropy(model(x).flatten(0, -2), y.flatten())


def train(model, host="cnn", steps=3):
    """Plain gradient descent on everything."""
    model.train()
    for step in range(steps):
        model.zero_grad(set_to_none=True)
        loss_of(model, *batch(host, step)).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad
    return model


def with_seeds(host="cnn", stages=("TRAINING", "BLENDING", "PROBATIONARY"), blend="gated", **more):
    """A host whose slots are at these stages, after some training."""
    model = built(host, **more)
    epochs = {"TRAINING": 3, "BLENDING": 8, "PROBATIONARY": 11, "FOSSILIZED": 11}
    for slot, stage, blueprint in zip(model.slots.values(), stages, SEEDS[host], strict=False):
        slot.germinate(blueprint, blend, 5, 40.0, 0)
        for epoch in range(epochs[stage]):
            slot.end_epoch(EpochFacts(epoch, 41.0, 2.0, 1.0, enforce=False))
        if stage == "FOSSILIZED":
            slot.fossilize(2.0, healthy=True)
    return train(model, host)


def equal(one, other):
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ({}, NAMES),
        ({"blocks": 1}, ("slot0",)),
        ({"blocks": 4}, ("slot0", "slot1", "slot2", "slot3")),
        ({"host": "gpt"}, NAMES),
        ({"host": "gpt", "layers": 12}, NAMES),
        ({"host": "gpt", "layers": 2}, ("slot0", "slot1")),
    ],
)
def test_slots_are_named_by_the_shape_of_the_host(shape, names) -> None:
    assert slot_names(MorphogenesisConfig(**shape)) == names


def test_only_named_slots_are_there_and_in_the_order_of_the_network() -> None:
    given = {"late": OPEN, "mid": None, "early": OPEN}
    model = build_host(MorphogenesisConfig(slots=given), CLASSES, (1, 8, 8), 0)
    assert list(model.slots) == ["early", "late"]
    assert [slot.width for slot in model.slots.values()] == [8, 32]
    assert built(slots=()).slots == {}


def test_a_slot_that_the_host_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(ValueError, match="no slot slot0; its slots: early, mid, late"):
        built(slots=("slot0",))


def test_shapes_that_make_no_host_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images \[channels, height, width\], not \[64\]"):
        build_host(config(), CLASSES, (64,), 0)
    with pytest.raises(ValueError, match=r"heads \(7\) must divide width \(24\)"):
        built("gpt", heads=7)
    with pytest.raises(ValueError, match="9 tokens, but the host's context is 8"):
        built("gpt")(torch.zeros(1, 9, dtype=torch.long))


@pytest.mark.parametrize("blocks", [1, 3, 8])
@pytest.mark.parametrize("side", [3, 8, 32])
def test_a_cnn_takes_images_of_any_size_at_any_depth(blocks, side) -> None:
    model = build_host(MorphogenesisConfig(blocks=blocks), CLASSES, (3, side, side), 0)
    assert model(torch.randn(2, 3, side, side)).shape == (2, CLASSES)


def test_a_gpt_gives_logits_for_each_token_and_sees_none_that_is_later() -> None:
    model = with_seeds("gpt").eval()
    x, _ = batch("gpt")
    other = x.clone()
    other[:, 5:] = (other[:, 5:] + 1) % CLASSES
    assert model(x).shape == (4, 8, CLASSES)
    assert torch.equal(model(x)[:, :5], model(other)[:, :5])


@pytest.mark.parametrize("host", ["cnn", "gpt"])
def test_a_host_is_drawn_from_its_seed_alone_and_uses_up_no_random_numbers(host) -> None:
    before = torch.get_rng_state()
    first = built(host, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert equal(first.state_tensors(), built(host, seed=3).state_tensors())
    assert not equal(first.state_tensors(), built(host, seed=4).state_tensors())


@pytest.mark.parametrize("host", ["cnn", "gpt"])
def test_seeds_in_training_change_neither_the_loss_nor_any_gradient_of_the_host(host) -> None:
    plain, grown = built(host), built(host)
    for slot, blueprint in zip(grown.slots.values(), SEEDS[host], strict=True):
        slot.germinate(blueprint, "sigmoid", 5, None, 0)
        slot.end_epoch(EpochFacts(0, 50.0))
        assert slot.stage == "TRAINING"
    losses = []
    for model in (plain, grown):
        loss = loss_of(model, *batch(host))
        loss.backward()
        losses.append(loss)
    assert torch.equal(*losses)
    for one, other in zip(plain.host_parameters(), grown.host_parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    for slot in grown.slots.values():
        assert sum(float(p.grad.abs().sum()) for p in slot.parameters()) > 0
        assert slot.isolation.take() == (0, 0.0)


@pytest.mark.parametrize("fourth", [OPEN, None, "planted and switched off"])
def test_a_fourth_slot_that_is_off_changes_no_number(fourth) -> None:
    three = ("slot0", "slot1", "slot2")
    slots = dict.fromkeys(three, OPEN)
    if fourth is not None:
        slots["slot3"] = OPEN
    base = with_seeds(slots=three, blocks=4)
    more = config(blocks=4).model_copy(update={"slots": slots})
    model = build_host(more, CLASSES, (1, 8, 8), 0)
    if isinstance(fourth, str):
        model.slots["slot3"].germinate("conv_light", "linear", 9, None, 0)
        model.slots["slot3"].end_epoch(EpochFacts(0, 50.0))
    for name in three:
        model.slots[name].restore_lifecycle(base.slots[name].lifecycle())
    with model.switched(frozenset(three)):
        train(model)
        ours = model.state_tensors()
        assert all(torch.equal(ours[name], value) for name, value in base.state_tensors().items())
        assert torch.equal(model(batch()[0]), base(batch()[0]))


@pytest.mark.parametrize("host", ["cnn", "gpt"])
@pytest.mark.parametrize("slots", [NAMES, ("early", "late"), ("mid",), ()])
def test_segments_run_one_after_the_other_give_what_the_host_gives_for_every_coalition(
    host, slots
) -> None:
    model = with_seeds(host, ("PROBATIONARY",) * 3, slots=slots).eval()
    segments = model.segments()
    assert all(isinstance(segment, Segment) for segment in segments)
    check_segments(segments, len(slots))
    x, _ = batch(host)
    outputs = []
    with torch.no_grad():
        for on in itertools.product((False, True), repeat=len(slots)):
            h = x
            for segment in segments:
                h = segment.run(h, tuple(on[index] for index in segment.factors))
            names = frozenset(itertools.compress(model.slots, on))
            with model.switched(names):
                assert torch.equal(model(x), h)
            outputs.append(h)
    assert len({tuple(output.flatten().tolist()) for output in outputs}) == 2 ** len(slots)


@pytest.mark.parametrize("host", ["cnn", "gpt"])
def test_the_switching_engine_measures_a_host_as_its_own_forward_pass_does(host) -> None:
    model = with_seeds(host).eval()
    x, y = batch(host)

    def score(logits, target):
        by_token = functional.cross_entropy(
            logits.flatten(0, -2), target.flatten(), reduction="none"
        )
        losses = by_token.view(len(target), -1).mean(1)
        return -losses, losses

    coalitions = all_coalitions(3)
    with undisturbed(model):
        measured = evaluate_coalitions(model.segments(), coalitions, [(x, y)], score)
        for coalition, found in zip(coalitions, measured, strict=True):
            with model.switched(frozenset(itertools.compress(NAMES, coalition))):
                _, losses = score(model(x), y)
            assert found.error is None
            assert found.losses.tolist() == losses.tolist()


def test_every_slot_stands_at_the_beginning_of_its_segment() -> None:
    segments = built().segments()
    assert [segment.factors for segment in segments] == [(), (0,), (1,), (2,)]
    everyone = list(itertools.product((False, True), repeat=3))
    assert segment_passes(segments, everyone) == 2**4 - 1
    assert [s.factors for s in built(slots=("mid",)).segments()] == [(), (), (0,), ()]


@pytest.mark.parametrize("host", ["cnn", "gpt"])
def test_looking_at_all_coalitions_leaves_everything_as_it_was(host) -> None:
    model = with_seeds(host).eval()
    tensors = copy.deepcopy(model.state_tensors())
    buffers = [buffer.clone() for buffer in model.buffers()]
    life, random = copy.deepcopy(model.lifecycle()), torch.get_rng_state()
    x, _ = batch(host)
    before = model(x)
    with torch.no_grad():
        for size in range(4):
            for on in itertools.combinations(NAMES, size):
                with model.switched(frozenset(on)):
                    model(x)
    assert equal(model.state_tensors(), tensors)
    assert all(map(torch.equal, model.buffers(), buffers))
    assert model.lifecycle() == life
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(model(x), before)


def test_with_all_slots_off_the_trained_host_is_left_and_not_the_untrained_one() -> None:
    model = with_seeds(stages=("PROBATIONARY",) * 3).eval()
    alone = train(built()).eval()
    x, _ = batch()
    with model.switched(frozenset()):
        bare = model(x)
    assert not torch.equal(bare, alone(x))


def test_a_slot_that_there_is_not_cannot_be_switched_on() -> None:
    switched = built().switched(frozenset({"slot9"}))
    with pytest.raises(ValueError, match="no slot slot9; slots: early, mid, late"), switched:
        pass


@pytest.mark.parametrize("host", ["cnn", "gpt"])
@pytest.mark.parametrize(
    "stages",
    [
        ("TRAINING", "BLENDING", "PROBATIONARY"),
        ("FOSSILIZED", "TRAINING"),
        (),
    ],
)
def test_a_state_put_back_goes_on_with_the_same_numbers(host, stages) -> None:
    model = with_seeds(host, stages)
    tensors = copy.deepcopy(model.state_tensors())
    lifecycle = json.loads(json.dumps(model.lifecycle()))
    again = built(host, seed=99)
    before = torch.get_rng_state()
    again.restore(tensors, lifecycle)
    assert torch.equal(torch.get_rng_state(), before)
    assert again.lifecycle() == model.lifecycle()
    assert equal(train(model, host).state_tensors(), train(again, host).state_tensors())


def test_a_state_put_back_plants_and_takes_out_seeds_as_needed() -> None:
    model = with_seeds(stages=("TRAINING",))
    kept = model.state()
    model.slots["early"].cull()
    model.slots["late"].germinate("norm", "linear", 1, None, 0)
    after = model.state()
    model.load_state(kept)
    assert [s.stage for s in model.slots.values()] == ["TRAINING", "DORMANT", "DORMANT"]
    assert equal(model.state_tensors(), kept["tensors"])
    model.load_state(after)
    assert [s.stage for s in model.slots.values()] == ["CULLED", "DORMANT", "GERMINATED"]
    assert [s.seed is None for s in model.slots.values()] == [True, True, False]


def test_a_copied_state_does_not_change_with_the_model() -> None:
    model = with_seeds()
    kept = model.state()
    before = copy.deepcopy(kept["tensors"])
    train(model)
    assert equal(kept["tensors"], before)


def test_the_host_keeps_its_parameters_when_a_state_is_put_back() -> None:
    model = with_seeds()
    before = list(model.host_parameters())
    model.load_state(model.state())
    assert all(one is other for one, other in zip(before, model.host_parameters(), strict=True))


def test_a_state_of_another_host_is_refused() -> None:
    model = with_seeds()
    with pytest.raises(ValueError, match="this one lacks late, mid"):
        built(slots=("early",)).restore(model.state_tensors(), model.lifecycle())
    with pytest.raises(RuntimeError, match=r"slot_modules\.late"):
        built().restore(model.state_tensors(), {"early": model.lifecycle()["early"]})


def test_parameters_are_counted_apart() -> None:
    model = with_seeds(stages=("FOSSILIZED", "TRAINING"))
    early, mid, _ = model.slots.values()
    assert model.fossilized_params == early.seed_params > 0
    assert model.seed_params == early.seed_params + mid.seed_params
    assert model.total_params == sum(p.numel() for p in model.parameters())
    assert model.host_params == built(slots=()).host_params


@pytest.mark.parametrize("host", ["cnn", "gpt"])
def test_a_host_learns_in_half_precision_with_every_blueprint(host) -> None:
    for first in range(0, len(blueprints_for(host)), 3):
        names = blueprints_for(host)[first : first + 3]
        model = built(host)
        for slot, blueprint, alpha_steps in zip(
            model.slots.values(), names, (1, 8, 11), strict=False
        ):
            slot.germinate(blueprint, "gated", 5, 40.0, 0)
            for epoch in range(alpha_steps):
                slot.end_epoch(EpochFacts(epoch, 41.0, enforce=False))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_of(model, *batch(host))
        loss.backward()
        assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())
        assert all(p.grad is not None for p in model.host_parameters())


def test_seeds_are_planted_where_their_host_is() -> None:
    model = built().to("meta")
    for slot in model.slots.values():
        slot.germinate("conv_light", "gated", 5, None, 0)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_a_copied_host_lives_on_by_itself() -> None:
    model = with_seeds()
    kept = model.state()
    other = copy.deepcopy(model)
    train(other)
    other.slots["early"].cull()
    assert model.lifecycle() == kept["lifecycle"]
    assert equal(model.state_tensors(), kept["tensors"])
    assert not equal(other.state_tensors(), kept["tensors"])
