"""A suite tells of each step what the probes would, and training does not notice it."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import nn

from telemetry.probes import MonitorSuite, SVDProbe, implied_cosine
from telemetry.probes.monitors import Monitor
from telemetry.probes.probes import EntropyProbe, LayerDeltaProbe, MarginProbe
from tests.telemetry.probes.test_capture import SlowDevice
from tests.telemetry.probes.tiny_models import ALL, MASK, Toy, adapted, causal_model, tokens
from workloads import contract


class Given(nn.Module):
    """Passes on what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, hidden: Any) -> Any:
        return self.layer(hidden)


def given(*monitors: Monitor, **options: Any) -> tuple[Given, MonitorSuite]:
    model = Given()
    return model, MonitorSuite.attach(model, monitors or ("svd_ratio",), layer="layer", **options)


def test_a_suite_agrees_with_the_probes() -> None:
    model = adapted().train()
    suite = MonitorSuite.attach(model, ALL, window=3)
    svd, delta, entropy, margin = SVDProbe(3), LayerDeltaProbe(), EntropyProbe(), MarginProbe()
    blocks = model.get_base_model().model.layers
    outputs: dict[int, torch.Tensor] = {}
    for at in (-2, -1):
        blocks[at].register_forward_hook(
            lambda _m, _a, out, at=at: outputs.__setitem__(at, out.detach())
        )
    for step in range(5):
        logits = model(tokens(2, 6, seed=step), attention_mask=MASK).logits
        status = suite.observe(step)
        seen = {"hidden_states": (outputs[-2], outputs[-1]), "attention_mask": MASK}
        expected = svd.observe({"last_hidden_state": outputs[-1], "attention_mask": MASK})
        figures = {**delta.observe(seen), **entropy.observe({"logits": logits, **seen})}
        figures |= margin.observe({"logits": logits, **seen})
        values = suite.values()
        assert status.step == step
        assert values["health/svd_ratio"] == expected.get("sv_ratio") == status.svd_ratio
        assert values["health/rank"] == expected.get("rank")
        for name in ("layer_delta", "entropy", "margin"):
            assert values[f"health/{name}"] == pytest.approx(figures[name], abs=1e-6)
        energy = outputs[-1][0, 3].norm().item()
        assert values["health/activation_energy"] == pytest.approx(energy, rel=1e-6)
    assert status.svd_ratio is not None
    assert suite.values()["health/implied_cosine"] == implied_cosine(status.svd_ratio, 3)
    assert status.state == "healthy"
    assert status.raw_obs["sv_ratio"] == status.svd_ratio


def test_while_the_window_fills_nothing_is_said_of_it() -> None:
    model, suite = given("svd_ratio", "activation_energy", window=3)
    rows = torch.eye(3)
    for step in range(2):
        model(rows[step])
        assert suite.observe(step).state == "buffering"
        assert suite.values() == {
            "health/svd_ratio": None,
            "health/activation_energy": 1.0,
            "health/collapsed": None,
            "health/nonfinite": 0.0,
        }
    model(rows[2])
    assert suite.observe(2).svd_ratio == pytest.approx(1 / 3)
    assert suite.values()["health/collapsed"] == 0


def test_identical_rows_are_collapse_whatever_their_length() -> None:
    model, suite = given("svd_ratio", "rank", window=4)
    for step in range(4):
        model(torch.full((1, 2, 8), 100.0))
        suite.observe(step)
    assert suite.status.state == "collapse"
    assert suite.values() == pytest.approx(
        {
            "health/svd_ratio": 1.0,
            "health/rank": 1.0,
            "health/collapsed": 1.0,
            "health/nonfinite": 0.0,
        }
    )


def test_a_study_can_switch_on_every_monitor_there_is() -> None:
    assert get_args(Monitor) == get_args(contract.Monitor) == ALL


def test_only_monitors_with_a_window_say_collapsed() -> None:
    model, suite = given("activation_energy")
    model(torch.ones(4))
    suite.observe(0)
    assert suite.values() == {"health/activation_energy": 2.0, "health/nonfinite": 0.0}
    assert suite.status.reason == "none of the monitors has a window, so there is no ratio"
    assert suite.status.state == "unmeasured"


def test_a_nan_is_told_until_it_has_left_the_window_and_is_never_healthy() -> None:
    model, suite = given(window=2)
    draw = torch.Generator().manual_seed(0)
    states = []
    for step in range(6):
        row = torch.randn(8, generator=draw)
        model(row * math.nan if step == 2 else row)
        states.append((suite.observe(step).state, suite.values()))
    assert [state for state, _ in states] == [
        "buffering",
        "healthy",
        "nonfinite",
        "nonfinite",
        "healthy",
        "healthy",
    ]
    for _, values in states[2:4]:
        assert math.isnan(values["health/svd_ratio"] or 0)
        assert values["health/collapsed"] is None
        assert values["health/nonfinite"] == 1
    assert states[4][1]["health/nonfinite"] == 0
    assert suite.status.reason is None


def test_a_step_that_can_not_be_read_does_not_hide_a_nan_in_the_window() -> None:
    model, suite = given("svd_ratio", window=2)
    model(torch.ones(1, 1, 3, 3))
    suite.observe(0)
    assert suite.values() == dict.fromkeys(suite.values())  # nothing is known, nor that all is well
    model(torch.full((3,), math.nan))
    suite.observe(1)
    model(torch.ones(1, 1, 3, 3))
    assert suite.observe(2).state == "nonfinite"
    assert suite.values()["health/nonfinite"] == 1


def test_without_a_window_a_nan_is_told_of_its_own_step_alone() -> None:
    model, suite = given("activation_energy")
    flags = []
    for step, value in enumerate((1.0, math.inf, 1.0)):
        model(torch.full((4,), value))
        suite.observe(step)
        flags.append(suite.values()["health/nonfinite"])
    assert flags == [0, 1, 0]


def test_a_window_of_zeros_has_no_ratio_and_says_why() -> None:
    model, suite = given(window=2)
    for step in range(2):
        model(torch.zeros(4))
        suite.observe(step)
    assert suite.status.svd_ratio is None
    assert suite.status.state == "unmeasured"
    assert suite.status.reason == "the window holds only zeros"
    assert suite.values()["health/svd_ratio"] is None


def test_a_dead_layer_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    model, suite = given(window=2)
    with caplog.at_level(logging.WARNING):
        for step in range(4):
            model(torch.zeros(4))
            suite.observe(step)
    assert [record.getMessage() for record in caplog.records] == [
        "monitors can't read all that they watch: the window holds only zeros"
    ]


@pytest.mark.parametrize("mask", [[[0] * 6, [1] * 6], [[0] * 6, [0] * 6]])
def test_a_first_sample_of_nothing_but_padding_is_not_measured(mask: list[list[int]]) -> None:
    suite = MonitorSuite.attach(model := causal_model(), ALL, window=2)
    words = tokens(2, 6)
    model(words, attention_mask=MASK)
    suite.observe(0)
    model(words, attention_mask=torch.tensor(mask))
    status = suite.observe(1)
    assert (status.step, status.state) == (1, "unmeasured")
    assert status.reason == "the first sample has no token that is no padding"
    assert set(suite.values().values()) == {None}
    model(tokens(2, 6, seed=1), attention_mask=MASK)
    assert suite.observe(2).svd_ratio is not None  # of the two steps that had a token
    assert None not in suite.values().values()


def test_the_newest_forward_pass_is_the_step_and_those_before_are_passed_over() -> None:
    model, suite = given("activation_energy")
    for value in (1.0, 5.0, 3.0):
        model(torch.tensor([value, 0.0]))
    suite.observe(7)
    assert suite.drain() == [(7, {"health/activation_energy": 3.0, "health/nonfinite": 0.0})]
    assert suite.observe(8).step == 7
    assert suite.drain() == []


def test_before_the_first_forward_pass_the_status_says_so() -> None:
    _, suite = given()
    status = suite.observe(0)
    assert (status.state, status.step) == ("unmeasured", None)
    assert status.reason == "no forward pass has been seen yet"
    assert set(suite.values().values()) == {None}


def test_figures_come_with_their_own_step_however_late_they_come() -> None:
    model, suite = given("activation_energy")
    device = SlowDevice()
    suite._copies = device
    for step in range(4):
        model(torch.tensor([float(step), 0.0]))
        if step == 2:
            device.marks[0].passed = device.marks[1].passed = True
        late = suite.observe(step)
        assert late.step == (None, None, 1, 1)[step]
    assert [step for step, _ in suite.drain()] == [0, 1]
    assert len(device.marks) == 4  # one copy a step
    assert suite.flush().step == 3
    assert [rows["health/activation_energy"] for _, rows in suite.drain()] == [2, 3]


def test_what_can_not_be_read_is_warned_of_once_and_never_raises(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, suite = given("svd_ratio", window=2)
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            model(torch.zeros(1, 2, 3, 4))
            status = suite.observe(step)
    assert status.state == "unmeasured"
    assert "unsupported shape [1, 2, 3, 4]" in (status.reason or "")
    assert len(caplog.records) == 1
    assert suite.drain()[-1] == (
        2,
        {"health/svd_ratio": None, "health/collapsed": None, "health/nonfinite": None},
    )
    model, _ = given(strict=True)
    with pytest.raises(ValueError, match=r"unsupported shape \[1, 2, 3, 4\]"):
        model(torch.zeros(1, 2, 3, 4))


def test_a_model_without_logits_still_tells_the_rest() -> None:
    model = causal_model().base_model
    suite = MonitorSuite.attach(model, ("activation_energy", "entropy"))
    model(tokens(1, 4))
    status = suite.observe(0)
    assert suite.values()["health/entropy"] is None
    assert (suite.values()["health/activation_energy"] or 0) > 0
    assert "without logits; attach to the model with its head" in (status.reason or "")


def test_logits_given_as_a_plain_tensor_are_understood() -> None:
    model = Toy().eval()
    suite = MonitorSuite.attach(model, ("entropy",))
    logits = model(tokens(2, 5))
    suite.observe(0)
    expected = torch.distributions.Categorical(logits=logits[0, -1].detach()).entropy()
    assert suite.values()["health/entropy"] == pytest.approx(expected.item(), rel=1e-6)


def test_a_layer_that_changes_nothing_has_a_delta_of_0_and_never_less() -> None:
    model, suite = given("layer_delta")
    draw = torch.Generator().manual_seed(0)
    for step in range(30):
        model(torch.randn(33, generator=draw))
        suite.observe(step)
        assert 0 <= (suite.values()["health/layer_delta"] or 0.0) < 1e-12


def test_a_layer_that_changes_the_width_has_no_delta() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    suite = MonitorSuite.attach(model, ("layer_delta",), layer="0")
    model(torch.ones(2, 4))
    assert "input has 4 values and its output 3" in (suite.observe(0).reason or "")
    assert suite.values()["health/layer_delta"] is None


def test_rows_of_another_width_start_the_window_anew() -> None:
    model, suite = given(window=2)
    for step, width in enumerate((3, 4, 4)):
        model(torch.eye(width)[step])
        suite.observe(step)
    assert suite.status.svd_ratio == pytest.approx(0.5)


def test_a_window_goes_on_from_its_state_bit_for_bit() -> None:
    rows = torch.randn(9, 8, generator=torch.Generator().manual_seed(0))
    model, whole = given("svd_ratio", "effective_rank", window=4)
    for step in range(9):
        model(rows[step])
        whole.observe(step)
    expected = whole.drain()
    model, first = given("svd_ratio", "effective_rank", window=4)
    for step in range(6):
        model(rows[step])
        first.observe(step)
    state = first.to_state()
    before = first.drain()
    model, second = given("svd_ratio", "effective_rank", window=4)
    second.restore(state)
    for step in range(6, 9):
        model(rows[step])
        second.observe(step)
    assert before + second.drain() == expected


def test_the_state_goes_through_a_file_and_one_of_another_window_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from safetensors.torch import load_file, save_file

    model, suite = given(window=3)
    model(torch.ones(4))
    suite.observe(0)
    save_file(suite.to_state(), tmp_path / "monitors.safetensors")
    _, other = given(window=2)
    with caplog.at_level(logging.WARNING):
        other.restore(load_file(tmp_path / "monitors.safetensors"))
    assert "start with an empty window" in caplog.text
    _, empty = given("activation_energy")
    assert empty.to_state() == {}
    empty.restore({})


def test_the_state_of_nothing_and_of_another_layer_starts_an_empty_window_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = causal_model()
    options: dict[str, Any] = {"window": 2}
    first = MonitorSuite.attach(model, layer="model.layers.0", **options)
    last = MonitorSuite.attach(model, **options)
    for step in range(2):
        model(tokens(1, 4, seed=step))
        first.observe(step)
        last.observe(step)
    again = MonitorSuite.attach(adapted(), layer="model.layers.2", **options)
    with caplog.at_level(logging.WARNING):
        again.restore(last.to_state())  # within PEFT it is the same layer
    assert not caplog.records
    assert len(again._window) == 2
    for state, reason in (
        (first.to_state(), "of the output of model.layers.0, watched is the output of model.layer"),
        ({}, "'rows', 'gram' and 'pushed'"),
    ):
        caplog.clear()
        last.restore(state)
        assert "start with an empty window" in caplog.text
        assert reason in caplog.text
        assert len(last._window) == 0


@pytest.mark.parametrize("monitors", [None, 3])
def test_what_are_no_names_of_monitors_is_refused_in_words(monitors: Any) -> None:
    with pytest.raises(TypeError, match=f"monitors is {monitors}, .*; give names .* svd_ratio"):
        MonitorSuite.attach(Given(), monitors, layer="layer")


def test_a_threshold_that_is_no_number_is_refused_in_words() -> None:
    with pytest.raises(TypeError, match="the threshold is 'x', a str; give a number from"):
        given(threshold="x")


def test_a_window_that_never_fills_is_told_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    model, suite = given(window=50)
    for step in range(3):
        model(torch.ones(4))
        suite.observe(step)
    with caplog.at_level(logging.WARNING):
        suite.close()
        suite.close()
    (record,) = caplog.records
    assert "it takes 50 steps, and 3 were observed" in record.getMessage()


def test_leaving_the_block_takes_the_hooks_off() -> None:
    model = causal_model()
    with MonitorSuite.attach(model, ALL) as suite:
        model(tokens(1, 4))
        assert suite.observe(0).step == 0
    model(tokens(1, 4))
    assert suite.observe(1).step == 0
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())
    suite.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"monitors": ("svd_ration",)}, "'svd_ration' is no monitor; did you mean svd_ratio"),
        ({"monitors": ()}, "no monitor is named; there are svd_ratio"),
        ({"window": 1}, "the window is 1; give a whole number of steps of at least 2"),
        ({"threshold": 0.05}, "the threshold is 0.05; in a window of 10 the ratio lies from 0.1"),
        ({"capture": "outputs"}, "capture is 'outputs'; valid: output, input"),
        ({"monitors": ("layer_delta",), "capture": "input"}, "leave one of the two out"),
        ({"layer": "encoder.1"}, "no module 'encoder.1'; nearest: encoder.0"),
    ],
)
def test_what_is_asked_for_wrongly_is_refused_before_any_hook(
    options: dict[str, Any], said: str
) -> None:
    model = Toy()
    with pytest.raises(ValueError, match=said):
        MonitorSuite.attach(model, **options)
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())
