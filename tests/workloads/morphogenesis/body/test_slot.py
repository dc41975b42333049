"""What a slot gives for an activation at each stage, and where gradients flow."""

from __future__ import annotations

import copy

import pytest
import torch

from workloads.morphogenesis.body.life import EpochFacts, LifeTerms
from workloads.morphogenesis.body.sizes import blueprints_for
from workloads.morphogenesis.body.slot import Slot
from workloads.morphogenesis.body.stages import IllegalTransition
from workloads.morphogenesis.config import SlotSettings

CNN = [("cnn", name) for name in blueprints_for("cnn")]
GPT = [("gpt", name) for name in blueprints_for("gpt")]
LEARNING = [(host, name) for host, name in CNN + GPT if name != "noop"]
SHAPES = {"cnn": (3, 8, 4, 4), "gpt": (3, 5, 24)}


def activation(host="cnn"):
    numbers = torch.randn(SHAPES[host], generator=torch.Generator().manual_seed(0))
    return numbers.requires_grad_()


def seed_output(slot):
    """The seed's output of each forward pass, with its gradient kept."""
    outputs = []

    def keep(module, inputs, output):
        output.retain_grad()
        outputs.append(output)

    slot.seed.register_forward_hook(keep)
    return outputs


@pytest.mark.parametrize("stage", ["GERMINATED", "TRAINING"])
@pytest.mark.parametrize(("host", "blueprint"), CNN + GPT)
def test_straight_through_gives_the_very_numbers_of_the_host(grown, host, blueprint, stage) -> None:
    slot = grown.slot(stage, blueprint, host=host)
    h = activation(host)
    assert torch.equal(slot(h), h)
    assert torch.equal(slot.eval()(h), h)


@pytest.mark.parametrize(("host", "blueprint"), LEARNING)
def test_straight_through_gives_the_seed_a_gradient_and_the_host_that_without_it(
    grown, host, blueprint
) -> None:
    slot = grown.slot("TRAINING", blueprint, host=host)
    weights = torch.randn(SHAPES[host], generator=torch.Generator().manual_seed(1))
    h = activation(host)
    (slot(h) ** 2 * weights).sum().backward()
    alone = activation(host)
    (alone**2 * weights).sum().backward()
    assert torch.equal(h.grad, alone.grad)
    assert sum(float(p.grad.abs().sum()) for p in slot.parameters()) > 0


@pytest.mark.parametrize(("host", "blueprint"), CNN + GPT)
def test_a_fully_blended_seed_gives_its_own_output(grown, host, blueprint) -> None:
    for stage in ("PROBATIONARY", "FOSSILIZED"):
        slot = grown.slot(stage, blueprint, "gated", host=host)
        h = activation(host)
        assert torch.equal(slot(h), slot.seed(h))


@pytest.mark.parametrize(("epochs", "alpha"), [(1, 0.2), (2, 0.4), (4, 0.8)])
def test_blending_shares_the_gradient_as_1_minus_alpha_and_alpha(grown, epochs, alpha) -> None:
    slot = grown.slot("BLENDING", "conv_light", "linear", epochs)
    outputs = seed_output(slot)
    h = activation()
    slot(h).sum().backward()
    assert slot.alpha == pytest.approx(alpha)
    torch.testing.assert_close(h.grad, torch.full_like(h, 1 - alpha))
    torch.testing.assert_close(outputs[0].grad, torch.full_like(h, alpha))


def test_blending_gives_the_mean_of_host_and_seed_weighted_by_alpha(grown) -> None:
    slot = grown.slot("BLENDING", "conv_light", "linear", epochs=2)
    h = activation()
    torch.testing.assert_close(slot(h), 0.6 * h + 0.4 * slot.seed(h))


def test_the_first_epoch_of_blending_is_at_alpha_0_and_still_teaches_the_seed(grown) -> None:
    slot = grown.slot("BLENDING", "conv_light")
    h = activation()
    out = slot(h)
    out.sum().backward()
    assert slot.alpha == 0
    assert torch.equal(out, h)
    assert any(float(p.grad.abs().sum()) > 0 for p in slot.parameters())


def test_a_cnn_lets_nothing_back_through_a_seed_that_is_being_blended_in_but_a_gpt_does(
    grown,
) -> None:
    for host, blueprint in (("cnn", "noop"), ("gpt", "norm")):
        # Both seeds give out their input, so that what flows back through them is alpha.
        slot = grown.slot("BLENDING", blueprint, "linear", epochs=2, host=host)
        h = activation(host)
        slot(h).sum().backward()
        expected = 0.6 if host == "cnn" else 1.0
        torch.testing.assert_close(h.grad, torch.full_like(h, expected))


@pytest.mark.parametrize("stage", ["PROBATIONARY", "FOSSILIZED"])
def test_the_host_learns_through_a_seed_that_is_blended_in(grown, stage) -> None:
    slot = grown.slot(stage, "conv_light")
    h = activation()
    slot(h).sum().backward()
    alone = activation()
    slot.seed(alone).sum().backward()
    torch.testing.assert_close(h.grad, alone.grad)
    assert slot.isolation.take() == (0, 0.0)


@pytest.mark.parametrize("host", ["cnn", "gpt"])
def test_a_gate_weighs_between_alpha_squared_and_alpha(grown, host) -> None:
    slot = grown.slot("BLENDING", blueprints_for(host)[1], "gated", epochs=2, host=host)
    for parameter in slot.seed.parameters():  # zeros would make every blend alike
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(3))
    h = activation(host)
    s = slot.seed(h)
    torch.testing.assert_close(slot(h), torch.lerp(h, s, 0.4 * (0.4 + 0.6 * 0.5)))
    for bias, weight in ((-40.0, 0.16), (40.0, 0.4)):
        torch.nn.init.constant_(slot.gate.weigh.bias, bias)
        torch.testing.assert_close(slot(h), torch.lerp(h, s, weight))


def test_a_gate_learns_and_tells_samples_apart(grown) -> None:
    slot = grown.slot("BLENDING", "conv_light", "gated", epochs=2)
    slot(activation()).square().sum().backward()
    assert float(slot.gate.weigh.weight.grad.abs().sum()) > 0
    torch.nn.init.ones_(slot.gate.weigh.weight)
    weights = slot.gate(activation())
    assert weights.shape == (3, 1, 1, 1)
    assert len(set(weights.flatten().tolist())) == 3


@pytest.mark.parametrize("stage", ["TRAINING", "BLENDING", "PROBATIONARY"])
@pytest.mark.parametrize("blueprint", blueprints_for("gpt"))
def test_no_seed_of_a_gpt_tells_of_later_tokens(grown, blueprint, stage) -> None:
    slot = grown.slot(stage, blueprint, "gated", epochs=2, host="gpt").eval()
    for parameter in slot.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(3))
    before = activation("gpt").detach()
    after = before.clone()
    after[:, 3:] += 1.0
    assert torch.equal(slot(before)[:, :3], slot(after)[:, :3])


def test_a_slot_that_is_switched_off_gives_the_host_and_is_on_again_afterwards(grown) -> None:
    slot = grown.slot("PROBATIONARY", "conv_light")
    h = activation()
    grown_output = slot(h)
    with slot.switched(False):
        assert slot(h) is h
        with slot.switched(True):
            assert torch.equal(slot(h), grown_output)
    assert torch.equal(slot(h), grown_output)


def test_a_slot_is_on_again_after_an_error(grown) -> None:
    slot = grown.slot("PROBATIONARY", "conv_light")
    with pytest.raises(RuntimeError), slot.switched(False):
        raise RuntimeError
    assert not torch.equal(slot(activation()), activation())


def test_on_means_the_current_alpha_and_not_1(grown) -> None:
    slot = grown.slot("BLENDING", "conv_light", "linear", epochs=1).eval()
    h = activation()
    with slot.switched(True):
        assert slot.alpha == 0.2
        torch.testing.assert_close(slot(h), torch.lerp(h, slot.seed(h), 0.2))
    assert torch.equal(slot.run(h, on=True), slot(h))
    assert slot.run(h, on=False) is h


def test_evaluation_leaves_parameters_buffers_random_numbers_and_life_as_they_were(grown) -> None:
    slot = grown.slot("BLENDING", "conv_light", "gated", epochs=2).eval()
    state, life = copy.deepcopy(slot.state_dict()), slot.lifecycle()
    random = torch.get_rng_state()
    with torch.no_grad():
        for on in (True, False):
            slot.run(activation(), on)
    assert torch.equal(torch.get_rng_state(), random)
    assert slot.lifecycle() == life
    assert all(torch.equal(slot.state_dict()[name], value) for name, value in state.items())


def test_planting_draws_from_its_own_stream_and_from_no_other() -> None:
    def planted(stream, blend="sigmoid", name="mid"):
        slot = Slot(name, "cnn", 8, LifeTerms(5, 5, 5))
        slot.germinate("conv_light", blend, stream, None, 0)
        return torch.cat([p.flatten() for p in slot.seed.parameters()])

    before = torch.get_rng_state()
    first = planted(1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(planted(1), first)
    assert torch.equal(planted(1, "gated"), first)
    assert not torch.equal(planted(2), first)
    assert not torch.equal(planted(1, name="late"), first)


@pytest.mark.parametrize(
    ("blueprint", "blend", "said"),
    [
        ("lora", "sigmoid", "no blueprint 'lora' for the host cnn; blueprints: noop, norm"),
        ("norm", "cubic", "no blend 'cubic'; blends: linear, sigmoid, gated"),
    ],
)
def test_an_unknown_blueprint_or_blend_is_refused_and_plants_nothing(
    blueprint, blend, said
) -> None:
    slot = Slot("mid", "cnn", 8, LifeTerms(5, 5, 5))
    with pytest.raises(ValueError, match=said):
        slot.germinate(blueprint, blend, 1, None, 0)
    assert (slot.stage, slot.seed) == ("DORMANT", None)


def test_a_cull_takes_out_the_seed_and_leaves_its_record_to_be_seen(grown) -> None:
    slot = grown.slot("TRAINING", "norm", "gated")
    slot.cull()
    assert (slot.stage, slot.seed, slot.gate, slot.seed_params) == ("CULLED", None, None, 0)
    assert slot.blueprint == "norm"
    assert slot.view().stage == "CULLED"
    with pytest.raises(IllegalTransition):
        slot.cull()


def test_a_seed_that_is_culled_of_itself_is_taken_out_too(grown) -> None:
    slot = grown.slot("PROBATIONARY", "norm")
    slot.end_epoch(EpochFacts(12, 50.0, contribution=0.0))
    assert (slot.stage, slot.seed) == ("CULLED", None)


def test_what_is_grown_at_once_is_the_same_seed_fully_on() -> None:
    slots = [Slot("mid", "cnn", 8, LifeTerms(5, 5, 5)) for _ in range(2)]
    slots[0].grow_at_once("conv_light", "sigmoid", 4)
    slots[1].germinate("conv_light", "sigmoid", 4, None, 0)
    assert (slots[0].stage, slots[0].alpha) == ("FOSSILIZED", 1.0)
    pairs = zip(slots[0].parameters(), slots[1].parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_view_tells_improvements_and_what_the_configuration_fixes() -> None:
    slot = Slot("mid", "cnn", 8, LifeTerms(5, 5, 5), SlotSettings(blueprint="norm"))
    assert slot.view().total_improvement is None
    slot.germinate("norm", "linear", 1, accuracy=50.0, epoch=3)
    assert slot.view().total_improvement is None
    slot.end_epoch(EpochFacts(3, 52.0))
    slot.end_epoch(EpochFacts(4, 53.5, contribution=0.25, gradient_ratio=0.5))
    view = slot.view()
    assert (view.stage, view.epochs_in_stage, view.active) == ("TRAINING", 1, True)
    assert (view.total_improvement, view.stage_improvement) == (3.5, 1.5)
    assert (view.contribution, view.gradient_ratio) == (0.25, 0.5)
    assert (view.seed_params, view.blueprint, view.allowed_blueprint) == (17, "norm", "norm")
    assert view.allowed_blend is None


def test_an_accuracy_that_was_not_measured_is_no_improvement_of_0() -> None:
    slot = Slot("mid", "cnn", 8, LifeTerms(5, 5, 5))
    slot.germinate("norm", "linear", 1, accuracy=None, epoch=0)
    slot.end_epoch(EpochFacts(0, 52.0))
    assert slot.view().total_improvement is None
    slot.end_epoch(EpochFacts(1, None))
    assert slot.view().stage_improvement is None


def test_half_precision_activations_stay_half_precision(grown) -> None:
    for stage, epochs in (("TRAINING", 0), ("BLENDING", 2), ("PROBATIONARY", 0)):
        slot = grown.slot(stage, "conv_light", "gated", epochs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert slot(activation().bfloat16()).dtype == torch.bfloat16
